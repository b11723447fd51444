from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from lib.bot.delivery import Delivered, ReplyNotDelivered, bot_for, deliver, send
from lib.bot.late_session import LateSession
from lib.settings.plain import TelegramSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiogram import Bot

MESSAGE = {"message_id": 77, "date": 1_700_000_000, "chat": {"id": 7, "type": "private", "first_name": "A"}}
EDIT = {"method": "editMessageText", "chat_id": 7, "message_id": 5, "text": "t", "parse_mode": "HTML"}
ANSWER = {"method": "answerCallbackQuery", "callback_query_id": "q"}
SEND = {"method": "sendMessage", "chat_id": 7, "text": "t", "parse_mode": "HTML"}
PHOTO = {"method": "sendPhoto", "chat_id": 7, "photo": {"qr": "vless://secret@example.org:443"}, "caption": "c"}


def _content(value: object) -> object:
    return value.file.read() if isinstance(value, web.FileField) else value


class BotApi:
    """The Bot API on loopback: answers as it is told, method by method, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, tuple[int, Any]] = {}

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.asked]

    def refuse(self, method: str, code: int, description: str, **parameters: int) -> None:
        body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
        self.answers[method] = (code, body | ({"parameters": parameters} if parameters else {}))

    async def answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        form = await request.post()
        self.asked.append((method, {name: _content(value) for name, value in form.items()}))
        status, body = self.answers.get(
            method, (200, {"ok": True, "result": True if method == "answerCallbackQuery" else MESSAGE})
        )
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))


@asynccontextmanager
async def serving(api: BotApi) -> AsyncIterator[Bot]:
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", api.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    bot = bot_for(TelegramSettings("42:TEST", f"http://{host}:{port}", "atlas_bot", ""))
    try:
        yield bot
    finally:
        await hang_up(bot)
        await runner.cleanup()


async def hang_up(bot: Bot) -> None:
    """Close without the quarter of a second that aiogram's own close waits."""
    assert isinstance(bot.session, LateSession)
    if bot.session.real is not None and bot.session.real._session is not None:
        await bot.session.real._session.close()


@pytest.fixture
def api() -> BotApi:
    return BotApi()


@pytest.fixture
async def bot(api: BotApi) -> AsyncIterator[Bot]:
    async with serving(api) as made:
        yield made


async def test_calls_are_made_in_order_and_the_answer_goes_in_the_response(api: BotApi, bot: Bot) -> None:
    assert await deliver(bot, [EDIT, ANSWER], in_response=True) == Delivered(ANSWER)
    assert api.methods == ["editMessageText"]
    assert await deliver(bot, [EDIT, ANSWER], in_response=False) == Delivered()
    assert api.methods == ["editMessageText", "editMessageText", "answerCallbackQuery"]


async def test_a_lone_message_goes_in_the_response_and_an_edit_never_does(api: BotApi, bot: Bot) -> None:
    assert await deliver(bot, [SEND], in_response=True) == Delivered(SEND)
    assert api.methods == []
    assert await deliver(bot, [EDIT], in_response=True) == Delivered()
    assert await deliver(bot, [EDIT, SEND], in_response=True) == Delivered()
    assert api.methods == ["editMessageText", "editMessageText", "sendMessage"]


async def test_an_empty_reply_makes_no_call(api: BotApi, bot: Bot) -> None:
    assert await deliver(bot, [], in_response=True) == Delivered()
    assert api.asked == []


@pytest.mark.parametrize(
    "reason", ["Bad Request: message to edit not found", "Bad Request: there is no text in the message to edit"]
)
async def test_an_edit_with_nothing_to_edit_becomes_a_message(api: BotApi, bot: Bot, reason: str) -> None:
    api.refuse("editMessageText", 400, reason)
    assert await deliver(bot, [EDIT], in_response=True) == Delivered()
    method, form = api.asked[-1]
    assert method == "sendMessage"
    assert (form["chat_id"], form["text"], form["parse_mode"]) == ("7", "t", "HTML")
    assert "message_id" not in form


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("editMessageText", "Bad Request: message is not modified: specified new message content and reply markup are"),
        ("answerCallbackQuery", "Bad Request: query is too old and response timeout expired or query ID is invalid"),
        ("editMessageText", "Bad Request: can't parse entities: unsupported start tag"),
    ],
)
async def test_a_refusal_that_time_does_not_heal_stops_nothing(api: BotApi, bot: Bot, method: str, reason: str) -> None:
    api.refuse(method, 400, reason)
    assert await deliver(bot, [EDIT, ANSWER], in_response=False) == Delivered()
    assert api.methods == ["editMessageText", "answerCallbackQuery"]


async def test_a_bad_text_is_logged(api: BotApi, bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    api.refuse("editMessageText", 400, "Bad Request: can't parse entities: unsupported start tag")
    await deliver(bot, [EDIT], in_response=False)
    assert "reply_refused" in caplog.text


@pytest.mark.parametrize("reason", ["Forbidden: bot was blocked by the user", "Forbidden: user is deactivated"])
async def test_a_block_is_reported(api: BotApi, bot: Bot, reason: str) -> None:
    api.refuse("sendMessage", 403, reason)
    assert await deliver(bot, [SEND], in_response=False) == Delivered(blocked=(7,))


@pytest.mark.parametrize(
    ("code", "body", "retry_after"),
    [
        (429, {"description": "Too Many Requests: retry after 9", "parameters": {"retry_after": 9}}, 9),
        (500, {"description": "Internal Server Error"}, 3),
        (502, "<html>Bad Gateway</html>", 3),
        (401, {"description": "Unauthorized"}, 30),
    ],
)
async def test_trouble_is_handed_back_to_the_sender(
    api: BotApi, bot: Bot, code: int, body: Any, retry_after: float
) -> None:
    whole = {"ok": False, "error_code": code, **body} if isinstance(body, dict) else body
    api.answers["sendMessage"] = (code, whole)
    with pytest.raises(ReplyNotDelivered) as raised:
        await deliver(bot, [SEND, ANSWER], in_response=False)
    assert raised.value.retry_after == retry_after
    assert api.methods == ["sendMessage"]


async def test_an_address_without_a_listener_is_handed_back_too(unused_port: int) -> None:
    bot = bot_for(TelegramSettings("42:TEST", f"http://127.0.0.1:{unused_port}", "", ""))
    with pytest.raises(ReplyNotDelivered):
        await deliver(bot, [SEND], in_response=False)
    outcome = await send(bot, [SEND])
    assert (outcome.kind, outcome.permanent) == ("refused", False)
    await hang_up(bot)


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return int(port)


async def test_a_picture_is_drawn_when_it_is_sent(api: BotApi, bot: Bot) -> None:
    await deliver(bot, [PHOTO], in_response=False)
    method, form = api.asked[0]
    assert method == "sendPhoto"
    assert form["caption"] == "c"
    assert form["photo"].startswith("attach://")
    content = form[form["photo"].removeprefix("attach://")]
    assert content.startswith(b"\x89PNG")
    assert b"secret" not in content
    assert int.from_bytes(content[16:20], "big") >= 300


async def test_what_became_of_a_message(api: BotApi, bot: Bot) -> None:
    assert (await send(bot, [SEND])).message_id == 77
    api.refuse("sendMessage", 429, "Too Many Requests: retry after 30", retry_after=30)
    flood = await send(bot, [SEND])
    assert (flood.kind, flood.retry_after) == ("flood", 30)
    api.refuse("sendMessage", 403, "Forbidden: bot was blocked by the user")
    assert (await send(bot, [SEND])).kind == "blocked"
    api.refuse("sendMessage", 400, "Bad Request: chat not found")
    assert (await send(bot, [SEND])).kind == "blocked"
    api.refuse("sendMessage", 400, "Bad Request: can't parse entities: x")
    refused = await send(bot, [SEND])
    assert (refused.kind, refused.permanent) == ("refused", True)
    api.refuse("sendMessage", 500, "Internal Server Error")
    assert (await send(bot, [SEND])).kind == "unknown"


async def test_an_answer_of_a_later_version_counts_as_sent(api: BotApi, bot: Bot) -> None:
    api.answers["sendMessage"] = (200, {"ok": True, "result": {"message_id": "new kind of id"}})
    assert (await send(bot, [SEND])).kind == "sent"
    assert await deliver(bot, [SEND], in_response=False) == Delivered()


async def test_an_answer_that_never_comes_is_unknown(api: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.bot.delivery.TIMEOUT_S", 0.2)
    never = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.wait_for(never.wait(), 5)
        return web.Response()

    monkeypatch.setattr(api, "answer", hang)
    async with serving(api) as hanging:
        assert (await send(hanging, [SEND])).kind == "unknown"
        never.set()


async def test_no_error_names_the_token_or_the_link(api: BotApi, bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    api.answers["sendPhoto"] = (200, "not json")
    outcome = await send(bot, [PHOTO])
    assert outcome.kind == "unknown"
    with pytest.raises(ReplyNotDelivered) as raised:
        await deliver(bot, [PHOTO], in_response=False)
    for text in (outcome.error, str(raised.value), caplog.text):
        assert "42:TEST" not in text
        assert "secret" not in text
