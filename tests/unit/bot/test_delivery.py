from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lib.bot.client import _GONE as GONE
from lib.bot.client import bot_for
from lib.bot.delivery import Delivered, ReplyNotDelivered, deliver
from lib.bot.late_session import LateSession
from lib.bot.sending import send
from lib.settings.plain import TelegramSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aiogram import Bot

MESSAGE = {"message_id": 77, "date": 1_700_000_000, "chat": {"id": 7, "type": "private", "first_name": "A"}}
EDIT = {"method": "editMessageText", "chat_id": 7, "message_id": 5, "text": "t", "parse_mode": "HTML"}
ANSWER = {"method": "answerCallbackQuery", "callback_query_id": "q"}
SEND = {"method": "sendMessage", "chat_id": 7, "text": "t", "parse_mode": "HTML"}
MENU = SEND | {"repeatable": True}
BUTTONS = {
    "inline_keyboard": [[{"text": "Support", "url": "https://https://x"}, {"text": "Menu", "callback_data": "go:menu"}]]
}
WITH_BUTTONS = SEND | {"text": "<b>t &amp; t</b>", "reply_markup": BUTTONS}
PHOTO = {"method": "sendPhoto", "chat_id": 7, "photo": {"qr": "vless://secret@example.org:443"}, "caption": "c"}


def _content(value: object) -> object:
    return value.file.read() if isinstance(value, web.FileField) else value


class BotApi:
    """The Bot API on loopback: answers as it is told, method by method, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, tuple[int, Any]] = {}
        self.refusals = -1

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.asked]

    def refuse(self, method: str, code: int, description: str, **parameters: int) -> None:
        body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
        self.answers[method] = (code, body | ({"parameters": parameters} if parameters else {}))

    def say_no(self, method: str, code: int, reason: str | None, body: str, *, times: int = -1) -> None:
        """Refuse a method so often (always), in the documented shape or in another."""
        said = {"ok": False, "error_code": code} | ({"description": reason} if body == "documented" else {})
        self.answers[method] = (code, "<html></html>" if body == "no object" else said)
        self.reset(times)

    def reset(self, times: int) -> None:
        self.refusals = times

    async def answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        if method in self.answers and self.refusals != -1:
            if self.refusals == 0:
                self.asked.append((method, dict(await request.post())))
                return web.json_response({"ok": True, "result": MESSAGE})
            self.refusals -= 1
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


async def test_only_what_the_same_tap_brings_again_goes_in_the_response(api: BotApi, bot: Bot) -> None:
    """A refusal of what goes there, and flood control, are seen by neither side."""
    assert await deliver(bot, [MENU], in_response=True) == Delivered(SEND)
    assert api.methods == []
    assert await deliver(bot, [SEND], in_response=True) == Delivered()
    assert await deliver(bot, [EDIT | {"repeatable": True}], in_response=True) == Delivered()
    assert api.methods == ["sendMessage", "editMessageText"]
    api.asked.clear()
    assert await deliver(bot, [EDIT], in_response=True) == Delivered()
    assert await deliver(bot, [EDIT, SEND], in_response=True) == Delivered()
    assert api.methods == ["editMessageText", "editMessageText", "sendMessage"]


async def test_an_empty_reply_makes_no_call(api: BotApi, bot: Bot) -> None:
    assert await deliver(bot, [], in_response=True) == Delivered()
    assert api.asked == []


# Texts that Telegram documents or is known to send, and whatever it may say tomorrow.
REFUSALS = st.sampled_from(
    [
        "Bad Request: message to edit not found",
        "Bad Request: there is no text in the message to edit",
        "Bad Request: message can't be edited",
        "Bad Request: MESSAGE_ID_INVALID",
        "Bad Request: can't parse entities: unsupported start tag",
        "Bad Request: BUTTON_URL_INVALID",
        "Bad Request: wrong HTTP URL",
        "Bad Request: message is too long",
        "Bad Request: query is too old and response timeout expired or query ID is invalid",
        "Bad Request: QUERY_ID_INVALID",
        "Bad Request: canceled by new editMessageMedia request",
    ]
) | st.text(min_size=1, max_size=60).filter(
    lambda text: not any(gone in text.lower() for gone in (*GONE, "not modified"))
)
CODES = st.sampled_from([400, 402, 405, 409, 410, 413, 414, 418, 451, 499])


@pytest.mark.proves("G-20")
@given(code=CODES, reason=REFUSALS | st.none(), body=st.sampled_from(["documented", "no words", "no object"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_an_edit_is_refused_for_the_screen_comes_as_a_message(
    loop: asyncio.Runner, code: int, reason: str | None, body: str
) -> None:
    api = BotApi()
    api.say_no("editMessageText", code, reason, body)
    api.say_no("answerCallbackQuery", code, reason, body)

    async def run() -> Delivered:
        async with serving(api) as bot:
            return await deliver(bot, [EDIT, ANSWER], in_response=False)

    assert loop.run(run()) == Delivered()
    assert api.methods == ["editMessageText", "sendMessage", "answerCallbackQuery"]
    form = api.asked[1][1]
    assert (form["chat_id"], form["text"], form["parse_mode"]) == ("7", "t", "HTML")
    assert "message_id" not in form


@pytest.mark.proves("G-20")
@example(code=400, reason="Too Many Requests: of these buttons", times=3)  # words of flood control, and none
@given(code=CODES, reason=REFUSALS | st.none(), times=st.integers(0, 3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_refused_content_comes_more_plainly_or_is_handed_back(
    loop: asyncio.Runner, code: int, reason: str | None, times: int
) -> None:
    """With its buttons and markup; as plain text with the buttons that come back to us; as text alone; not at all: kept."""
    api = BotApi()
    api.say_no("sendMessage", code, reason, "documented", times=times)

    async def run() -> tuple[Delivered | None, str]:
        async with serving(api) as bot:
            try:
                reply: Delivered | None = await deliver(bot, [WITH_BUTTONS], in_response=True)
            except ReplyNotDelivered as error:
                assert error.outcome.kind == "refused"  # noqa: PT017 -- which way it ends is what is drawn
                reply = None
            api.reset(times)
            return reply, (await send(bot, [WITH_BUTTONS])).kind

    reply, message = loop.run(run())
    assert (reply, message) == ((Delivered(), "sent") if times < 3 else (None, "refused"))
    last = api.asked[-1][1]
    markup = json.loads(last["reply_markup"])["inline_keyboard"] if "reply_markup" in last else []
    texts = [button["text"] for row in markup for button in row]
    assert texts == [["Support", "Menu"], ["Menu"], [], []][times]
    assert last["text"] == ("<b>t &amp; t</b>" if times == 0 else "t & t")


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.proves("G-20")
async def test_an_edit_without_a_change_is_a_success(api: BotApi, bot: Bot) -> None:
    api.refuse("editMessageText", 400, "Bad Request: message is not modified: specified new message content and reply")
    assert await deliver(bot, [EDIT], in_response=False) == Delivered()
    assert api.methods == ["editMessageText"]


async def test_a_bad_text_is_logged(api: BotApi, bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    api.refuse("sendMessage", 400, "Bad Request: can't parse entities: unsupported start tag")
    with pytest.raises(ReplyNotDelivered):
        await deliver(bot, [SEND], in_response=False)
    assert "reply_refused" in caplog.text


@pytest.mark.parametrize("reason", ["Forbidden: bot was blocked by the user", "Forbidden: user is deactivated"])
async def test_a_block_is_reported(api: BotApi, bot: Bot, reason: str) -> None:
    api.refuse("sendMessage", 403, reason)
    assert await deliver(bot, [SEND], in_response=False) == Delivered(unreachable=(7,))


@pytest.mark.parametrize(
    ("code", "body", "retry_after"),
    [
        (429, {"description": "Too Many Requests: retry after 9", "parameters": {"retry_after": 9}}, 9),
        (429, {"description": "Too Many Requests: retry after 0", "parameters": {"retry_after": 0}}, 5),
        (429, {"description": "Too Many Requests", "parameters": {"retry_after": 10**12}}, 86_400),
        (429, {"description": "Too Many Requests", "parameters": {"retry_after": 10**400}}, 5),
        (429, {"description": "Too Many Requests"}, 5),
        (429, {"description": "Slow down"}, 5),
        (429, {"description": None, "parameters": {"retry_after": "9"}}, 5),
        (429, "<html>Too Many Requests</html>", 5),
        (500, {"description": "Internal Server Error"}, 30),
        (500, {"description": None}, 30),
        (502, "<html>Bad Gateway</html>", 3),
        (401, {"description": "Unauthorized"}, 30),
        (404, {"description": "Not Found"}, 30),
        (404, "<html>Not Found</html>", 30),
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
    assert outcome.kind == "bot_refused"
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
    for code, reason, kind in (
        (403, "Forbidden: bot was blocked by the user", "unreachable"),
        (400, "Bad Request: chat not found", "unreachable"),
        (400, "Bad Request: can't parse entities: x", "refused"),
        (500, "Internal Server Error", "server"),
        (401, "Unauthorized", "bot_refused"),
        (404, "Not Found", "bot_refused"),
    ):
        api.refuse("sendMessage", code, reason)
        assert (await send(bot, [SEND])).kind == kind
    api.answers["sendMessage"] = (502, "<html>Bad Gateway</html>")
    assert (await send(bot, [SEND])).kind == "unknown", "a proxy does not know whether the call was taken"


async def test_an_answer_of_a_later_version_counts_as_sent(api: BotApi, bot: Bot) -> None:
    api.answers["sendMessage"] = (200, {"ok": True, "result": {"message_id": "new kind of id"}})
    assert (await send(bot, [SEND])).kind == "sent"
    assert await deliver(bot, [SEND], in_response=False) == Delivered()


async def test_an_answer_that_never_comes_is_unknown(api: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.bot.client.TIMEOUT_S", 0.2)
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
