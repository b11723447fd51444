"""What a token opens is found out by asking, and refused in words that hold no secret."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import pytest

from sandbox.bridge import UnusableBotError, look

if TYPE_CHECKING:
    from tests.sandbox.bridge.conftest import ApiTelegramOrg, Function

TOKEN = "4242424242:AAF-real_looking_secret_0123456789x"
OTHER = "4242424242:AAF-another_secret_0123456789xyzabc"


async def test_the_bot_behind_a_token(far: ApiTelegramOrg) -> None:
    await far.telegram.user(1, "Anna").send("/start")
    bot = await look(TOKEN, f"{far.url}/")
    assert (bot.id, bot.username, bot.waiting, bot.api_base) == (4242424242, "atlas_try_bot", 1, far.url)
    assert "secret" not in repr(bot)
    assert set(far.methods()) == {"getMe", "getWebhookInfo"}


@pytest.mark.parametrize(
    "token", ["", "x", "42:", "42:short", "a:AAF-real_looking_secret", f"{TOKEN}/../x", f"{TOKEN}\n"]
)
async def test_a_malformed_token_is_not_even_sent(far: ApiTelegramOrg, token: str) -> None:
    with pytest.raises(UnusableBotError, match="no bot token") as refused:
        await look(token, far.url)
    assert "real_looking" not in str(refused.value)
    assert far.telegram.calls == []


@pytest.mark.parametrize(
    "base",
    [
        "api.telegram.org",
        "ftp://api.telegram.org",
        "https://",
        "http://api.telegram.org",
        "https://me:pw@x.org",
        "http://[",
        "https://x.org:99999",
        "https://x\x00.org",
        "https://xn--/",
        "https://x.org/a\nb",
        "https://x.org/#bot",
    ],
)
async def test_an_address_that_is_none_or_would_show_the_token_is_refused(base: str) -> None:
    with pytest.raises(UnusableBotError, match="TELEGRAM_API_BASE"):
        await look(TOKEN, base)


async def test_a_wrong_token(far: ApiTelegramOrg) -> None:
    with pytest.raises(UnusableBotError, match="does not know this token") as refused:
        await look(OTHER, far.url)
    assert "another_secret" not in str(refused.value)


async def test_a_bot_with_a_webhook_is_left_alone(far: ApiTelegramOrg, function: Function) -> None:
    assert (await far.call("setWebhook", url=f"{function.url}?key=of-the-webhook"))["ok"]
    with pytest.raises(UnusableBotError, match=r"webhook at 127\.0\.0\.1: ") as refused:
        await look(TOKEN, far.url)
    assert "of-the-webhook" not in str(refused.value)
    assert "telegram-webhook" not in str(refused.value)
    assert (await far.call("getWebhookInfo"))["result"]["url"].startswith(function.url)


async def test_no_network() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        with pytest.raises(UnusableBotError, match="can't be reached") as refused:
            await look(TOKEN, f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert "real_looking" not in str(refused.value)


async def test_a_log_of_everything_holds_no_token(far: ApiTelegramOrg, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await look(TOKEN, far.url)
    assert "real_looking" not in caplog.text


async def test_something_that_is_no_bot_api_server(function: Function) -> None:
    with pytest.raises(UnusableBotError, match="no Bot API server"):
        await look(TOKEN, function.url)
