"""What getWebhookInfo may answer, and that nothing it says breaks the sweep that asks or leaves with the token in it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from lib.domain.webhook_state import Looked
from lib.settings.plain import TelegramSettings
from lib.telegram import webhook_info

TOKEN = "42:TESTTESTTEST"
SETTINGS = TelegramSettings(TOKEN, "https://api.telegram.test", "bot", "")


async def _ask(answer: httpx.Response | Exception) -> Looked:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        try:
            return await webhook_info.ask(client, SETTINGS)
        finally:
            assert [str(one.url) for one in asked] == [f"https://api.telegram.test/bot{TOKEN}/getWebhookInfo"]
            assert asked[0].extensions["timeout"]["read"] == webhook_info.TIMEOUT_S


def _told(**info: Any) -> httpx.Response:
    return httpx.Response(200, content=json.dumps({"ok": True, "result": info}).encode())


async def test_what_telegram_says_of_a_webhook_that_is_refused() -> None:
    looked = await _ask(
        _told(
            url="https://x.test/",
            pending_update_count=7,
            last_error_date=1_790_000_000,
            last_error_message="Wrong response from the webhook: 403 Forbidden",
        )
    )
    assert looked == Looked(
        is_set=True,
        pending=7,
        last_error_at=1_790_000_000,
        last_error="Wrong response from the webhook: 403 Forbidden",
    )


@pytest.mark.parametrize(
    ("info", "looked"),
    [
        ({}, Looked(is_set=False, pending=0, last_error_at=None, last_error=None)),
        (
            {"url": "", "pending_update_count": "7"},
            Looked(is_set=False, pending=0, last_error_at=None, last_error=None),
        ),
        ({"url": "u", "pending_update_count": -1}, Looked(is_set=True, pending=0, last_error_at=None, last_error=None)),
        (
            {"url": "u", "pending_update_count": 2**62, "last_error_date": 2**62, "last_error_message": "e"},
            Looked(is_set=True, pending=2**31 - 1, last_error_at=None, last_error="e"),
        ),
        (
            {"url": "u", "last_error_date": 5, "last_error_message": "a\x00b\ud800" + "c" * 500},
            Looked(is_set=True, pending=0, last_error_at=5, last_error="ab\ufffd" + "c" * 197),
        ),
        (
            {"url": "u", "last_error_date": True, "last_error_message": ["e"]},
            Looked(is_set=True, pending=0, last_error_at=None, last_error=None),
        ),
    ],
)
async def test_odd_values_become_ones_that_the_row_holds(info: dict[str, Any], looked: Looked) -> None:
    assert await _ask(_told(**info)) == looked


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError(f"no route to https://api.telegram.test/bot{TOKEN}/"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("broken"),
        httpx.Response(401, content=b'{"ok":false,"description":"Unauthorized"}'),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b"[]"),
        httpx.Response(200, content=b'{"ok":true,"result":true}'),
        httpx.Response(302, headers={"location": "https://elsewhere.test/"}),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else str(one.status_code),
)
async def test_no_answer_is_one_exception_without_the_token(answer: httpx.Response | Exception) -> None:
    with pytest.raises(webhook_info.NoAnswer) as refused:
        await _ask(answer)
    assert TOKEN not in str(refused.value)
    assert str(refused.value)
