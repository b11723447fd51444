"""G-16: whatever a node, Crypto Pay, Telegram, Cloud Tasks or the metadata server answers, its client ends as its port says.

One server that answers with any bytes, HTTP or not, and every client that reads an answer.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lib import json_reader
from lib.bot.client import bot_for
from lib.bot.late_session import LateSession
from lib.bot.sending import send
from lib.domain.provisioning import Dropped, Node, Work
from lib.nodes import client as node_client
from lib.nodes.client import NodeClient
from lib.nodes.transport import AiohttpTransport, NodeError
from lib.payments import cryptopay, provider
from lib.payments.provider import Invoice, InvoiceOver, ProviderError
from lib.settings.plain import CryptoPaySettings, TasksSettings, TelegramSettings
from lib.tasks import rest
from lib.tasks.google_client import GoogleTaskQueue
from lib.tasks.queue import QueueUnavailable, Task
from lib.tasks.rest import RestTaskQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.domain.provisioning import Heard

ORDER_ID = uuid.UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
WORK = Work(7, 1, ORDER_ID, 3, wanted=True, expires_at=datetime(2030, 1, 1, tzinfo=UTC), claimed_by=ORDER_ID)
TASK = Task("nodes", "a" * 40, "task-provision", b"{}", deadline_s=75)
SEND = {"method": "sendMessage", "chat_id": 7, "text": "t"}
TOKEN = "31337:AAtoken-of-the-app"
BIGGEST = 2**63
TLS = ssl.create_default_context()

# The words of all five protocols, so that what is drawn gets past the first look.
WORDS = [
    *("ok", "result", "error", "name", "error_code", "description", "parameters", "retry_after", "migrate_to_chat_id"),
    *(
        "items",
        "users",
        "client",
        "version",
        "code",
        "held_version",
        "uuid",
        "vless_link",
        "state_id",
        "clock",
        "off_ms",
    ),
    *("dropped", "invoice_id", "bot_invoice_url", "status", "amount", "fiat", "currency_type", "payload", "message_id"),
    *(
        "access_token",
        "expires_in",
        "token_type",
        "chat",
        "id",
        "type",
        "date",
        "paid",
        "expired",
        "private",
        "RUB",
        "7",
    ),
    *("vless://k@node.test:443", str(ORDER_ID), "https://t.me/CryptoBot?start=IV1", "\x00", "\ud800", "\r\nX: y", "é"),
]
SCALARS = (
    st.sampled_from([None, True, False, 0, 1, 3, 7, 200, 409, -1, BIGGEST, -BIGGEST, 10**400, 1.5, 1e308, 149.0])
    | st.sampled_from(WORDS)
    | st.integers()
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=12,
)
ITEM = st.fixed_dictionaries(
    {},
    optional={
        name: SCALARS | st.just(usual)
        for name, usual in {
            "client": "7",
            "version": 3,
            "code": 200,
            "uuid": str(ORDER_ID),
            "vless_link": "vless://k@node.test:443",
            "held_version": 4,
            "invoice_id": 17,
            "bot_invoice_url": "https://t.me/x",
            "status": "paid",
            "amount": 149,
            "fiat": "RUB",
            "currency_type": "fiat",
            "payload": str(ORDER_ID),
        }.items()
    },
)
ENVELOPE = st.fixed_dictionaries(
    {},
    optional={
        "ok": st.booleans() | SCALARS,
        "result": ITEM | st.fixed_dictionaries({"items": st.lists(ITEM | SCALARS, max_size=2)}) | VALUES,
        "error": st.fixed_dictionaries({"name": SCALARS}) | SCALARS,
        "description": SCALARS,
        "parameters": st.fixed_dictionaries({"retry_after": SCALARS, "migrate_to_chat_id": SCALARS}) | SCALARS,
        "items": st.lists(ITEM | SCALARS, max_size=2),
        "users": VALUES,
        "state_id": SCALARS,
        "clock": st.fixed_dictionaries({"off_ms": SCALARS}) | SCALARS,
        "dropped": st.lists(ITEM | SCALARS, max_size=2) | SCALARS,
        "access_token": SCALARS | st.just("ya29.token"),
        "expires_in": SCALARS | st.just(3599),
        "name": SCALARS,
    },
)
BODIES = (
    st.binary(max_size=40)
    | (ENVELOPE | VALUES).map(lambda value: json.dumps(value).encode())
    | st.sampled_from(
        [
            b"-2\r\n",  # a chunk of less than nothing
            b"[" * 100_000,
            b'{"ok":' * 5000 + b"1" + b"}" * 5000,
            b'{"ok": true, "ok": false}',
            b'{"items": [], "items": []}',
            b'{"ok": NaN}',
            b'{"access_token": "t", "expires_in": 1e999}',
            b'{"ok": true, "result": ' + b"9" * 5000 + b"}",
            b'"' * 2_000_000,
            b"<html>Bad Gateway</html>",
            b"\xff\xfe\x00",
            b"",
        ]
    )
)
STATUSES = st.sampled_from([200, 200, 200, 201, 204, 301, 307, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503, 599])
HEADS = st.sampled_from(
    [
        b"Content-Type: application/json\r\n",
        b"Content-Type: text/html; charset=none-such\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Location: http://[::1/\r\n",
        b"Location: /elsewhere\r\n",
        b"Set-Cookie: \xff=;\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Retry-After: x\r\n",
    ]
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """What goes over the wire: an answer over HTTP, one that is cut off, or bytes that are none."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=60) | st.just(b"HTTP/1.1 200 OK\r\n") | st.just(b"HTTP/9 x\r\n\r\n"))
    body = draw(BODIES)
    length = draw(st.sampled_from([str(len(body))] * 12 + [str(len(body) + 5), "-1", "x", "9" * 5000]))
    head = f"HTTP/1.1 {draw(STATUSES)} X\r\nConnection: close\r\nContent-Length: {length}\r\n".encode()
    return head + draw(HEADS) + b"\r\n" + body


class AnyServer:
    """Answers each request with the same bytes and hangs up."""

    def __init__(self) -> None:
        self.answer = b""
        self.url = ""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"content-length: " in head:
                await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            elif b"chunked" in head:
                await reader.readuntil(b"0\r\n\r\n")
            writer.write(self.answer)
            await writer.drain()
            writer.write_eof()
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError, OSError):
            pass  # the client had enough of it
        finally:
            writer.close()


def is_number(value: object, low: int) -> bool:
    return type(value) is int and low <= value < BIGGEST


async def ask_node(url: str) -> None:
    node = Node(1, "first", url, "XRAY_API_KEY", None, None, None, datetime(2029, 1, 1, tzinfo=UTC))
    transport = AiohttpTransport()
    client = NodeClient(transport, node, ("k",))
    try:
        with ends_with(NodeError):
            said = await client.apply([WORK], [Dropped(7, 2)])
            is_heard(said.heard)
            for answer in said.answers:
                assert answer.applied is (answer.link is not None)
                assert json_reader.is_storable(f"{answer.link}{answer.error}")
                assert answer.held_version is None or is_number(answer.held_version, 1)
        with ends_with(NodeError):
            is_heard(await client.look())
    finally:
        await transport.close()


def is_heard(heard: Heard) -> None:
    assert heard.state_id is None or json_reader.is_storable(heard.state_id)
    assert heard.clock_off_ms is None or is_number(abs(heard.clock_off_ms), 0)
    assert all(is_number(one.subscription_id, 1) and is_number(one.version, 1) for one in heard.dropped)


@contextmanager
def ends_with(*errors: type[Exception]) -> Iterator[None]:
    """Whether it fails is drawn; if so, then with one of these, in words that can be stored and hold no token."""
    try:
        yield
    except errors as error:
        said = str(error)
    else:
        said = ""
    assert json_reader.is_storable(said)
    assert TOKEN not in said


async def ask_cryptopay(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, verify=TLS) as http:
        api = cryptopay.CryptoPay(lambda: http, CryptoPaySettings((TOKEN,), url, ("USDT",)), invoice_seconds=60)
        for call in (
            provider.find(api, ORDER_ID, 14900, "RUB"),
            provider.ask(api, "17", via="sweep", correlation_id="c"),
            api.withdraw("17"),
            api._call("createInvoice", {}),
        ):
            found = None
            with ends_with(ProviderError, InvoiceOver):
                found = await call
            if isinstance(found, Invoice):
                assert found.invoice_id.isascii()
                assert is_number(int(found.invoice_id), 1)
                assert json_reader.is_storable(found.url)


async def ask_telegram(url: str) -> None:
    bot = bot_for(TelegramSettings(TOKEN, url, "", ""))
    try:
        outcome = await send(bot, [SEND])
    finally:
        assert isinstance(bot.session, LateSession)
        if bot.session.real is not None and bot.session.real._session is not None:
            await bot.session.real._session.close()
    assert outcome.message_id is None or is_number(outcome.message_id, 1)
    assert 0 <= outcome.retry_after <= 7 * 86_400
    assert json_reader.is_storable(outcome.error)
    assert TOKEN not in outcome.error


async def ask_queue(queue: RestTaskQueue | GoogleTaskQueue) -> None:
    with ends_with(QueueUnavailable):
        assert await queue.create(TASK) in {True, False}


async def ask_rest(url: str) -> None:
    await ask_queue(RestTaskQueue(TasksSettings(url, "project", "place", "", "https://f.test/{name}")))


async def ask_google(url: str) -> None:
    await ask_queue(GoogleTaskQueue(TasksSettings(url, "project", "place", "", "https://f.test/{name}")))


async def ask_metadata(url: str) -> None:
    queue = RestTaskQueue(TasksSettings("", "project", "place", "", "https://f.test/{name}"))
    queue._metadata, queue._service = rest._Server(url), rest._Server(url)
    await ask_queue(queue)
    assert queue._token.isascii()
    assert queue._token.isprintable()


CLIENTS = {
    "node": ask_node,
    "Crypto Pay": ask_cryptopay,
    "Telegram": ask_telegram,
    "Cloud Tasks over REST": ask_rest,
    "Cloud Tasks by Google's client": ask_google,
    "metadata server": ask_metadata,
}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def server(loop: asyncio.Runner) -> Iterator[AnyServer]:
    made = AnyServer()
    loop.run(made.start())
    yield made
    loop.run(made.stop())


def http(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.proves("G-16")
@pytest.mark.parametrize("name", CLIENTS)
@given(answer=answers())
@example(answer=http(200, b"\xff\xfe"))
@example(answer=http(429, b'{"ok": false, "parameters": {"retry_after": 1' + b"0" * 400 + b"}}"))
@example(answer=http(200, b'{"ok": false, "description": "\\u0000"}'))
@example(
    answer=http(200, b'{"ok": true, "result": {"message_id": %d, "date": 1, "chat": {"id": 7, "type": "x"}}}' % BIGGEST)
)
@example(answer=http(200, b'{"access_token": "a\\r\\nX: y", "expires_in": 3599}'))
@example(answer=http(200, b'{"access_token": "t", "expires_in": 1e308}'))
@example(answer=http(200, b"[" * 100_000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_answer_ends_as_the_port_says(
    name: str, answer: bytes, loop: asyncio.Runner, server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_pause(_seconds: float) -> None:
        return

    monkeypatch.setattr(node_client, "sleep", no_pause)
    server.answer = answer
    loop.run(CLIENTS[name](server.url))
