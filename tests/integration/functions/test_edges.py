"""G-16: whatever is sent to any function, in whatever pieces, it answers as docs/interface.md says, and logs no traceback."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from functions.public import telegram_webhook
from lib import bootstrap, function_table
from lib.bot import wiring
from lib.db import Database
from lib.domain.webhook_state import Looked
from lib.settings import check, plain
from lib.telegram import webhook_info
from tests.integration.bot.conftest import services_over
from tests.integration.functions import loop_watch
from tests.integration.sweeps.nodes import RememberingNode
from tests.integration.sweeps.runs import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from starlette.responses import Response
    from starlette.types import Message

SECRET, TOKEN, HEALTH_KEY = "hook-secret", "31337:AAtoken-of-the-app", "health-key"
TELEGRAM_ID = 7
BIGGEST = 2**63
FUNCTIONS = function_table.load().functions
DEFINED = {
    "telegram_webhook": {200, 400, 403, 405, 413},
    "cryptobot_webhook": {200, 400, 401, 405, 413},
    "health": {200, 403},  # with its key: no release has brought a sweep that is expected here
    **{name: {200, 400, 405} for name, one in FUNCTIONS.items() if one.trigger == "task"},
    **{name: {200, 400, 405} for name, one in FUNCTIONS.items() if one.trigger == "schedule"},
}

# The names of all edges, so that what is drawn gets past the first look.
IDS: st.SearchStrategy[Any] = st.sampled_from(
    [1, TELEGRAM_ID, 0, -1, True, None, "1", 1.0, 1.5, BIGGEST, BIGGEST - 1, 10**400, [1], {}, "\x00"]
)
TEXTS = st.sampled_from(
    ["/start", "/buy", "/start x", "go:menu", "paid", "RUB", "XTR", "private", "ru", "", "\x00", "\ud800"]
)
WORDS = [
    *(
        "update_id",
        "message",
        "edited_message",
        "callback_query",
        "my_chat_member",
        "pre_checkout_query",
        "inline_query",
    ),
    *(
        "business_message",
        "successful_payment",
        "currency",
        "total_amount",
        "telegram_payment_charge_id",
        "from",
        "chat",
    ),
    *("id", "type", "date", "text", "data", "chat_instance", "message_id", "first_name", "is_bot", "language_code"),
    *("old_chat_member", "new_chat_member", "status", "user", "entities", "offset", "length", "invoice_payload"),
    *("update_type", "payload", "invoice_id", "amount", "fiat", "asset", "currency_type", "paid_asset", "paid_amount"),
    *("outbox_id", "event_id", "subscription_id", "correlation_id", "tick", "cursors", "hop"),
]
SCALARS = st.none() | st.booleans() | IDS | TEXTS | st.integers() | st.floats() | st.text(max_size=6)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=10,
)


def shape(needed: dict[str, Any], optional: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """An object of a usual shape, each part of which may be anything."""
    return st.fixed_dictionaries(
        {name: value | SCALARS if index else value for index, (name, value) in enumerate(needed.items())},
        optional=optional or {},
    )


PERSON = shape(
    {"id": st.just(TELEGRAM_ID) | IDS, "is_bot": st.booleans(), "first_name": TEXTS},
    {"language_code": TEXTS | SCALARS},
)
CHAT = shape({"id": st.just(TELEGRAM_ID) | IDS, "type": st.just("private")})
PAYMENT = shape(
    {"currency": TEXTS, "total_amount": IDS, "telegram_payment_charge_id": TEXTS | st.just("c" * 600) | SCALARS}
)
MESSAGE = shape(
    {"message_id": IDS, "date": st.just(1_700_000_000) | IDS, "chat": CHAT, "from": PERSON},
    {"text": TEXTS | VALUES, "successful_payment": PAYMENT | VALUES, "entities": VALUES, "photo": VALUES},
)
QUERY = shape(
    {"id": TEXTS, "from": PERSON, "chat_instance": TEXTS, "data": TEXTS | st.text(max_size=70)}, {"message": MESSAGE}
)
MEMBER = shape({"chat": CHAT, "from": PERSON, "date": IDS, "old_chat_member": VALUES, "new_chat_member": VALUES})
UPDATE = shape(
    {"update_id": st.integers(1, 10**9) | IDS},
    {
        "message": MESSAGE | VALUES,
        "edited_message": MESSAGE,
        "business_message": MESSAGE,
        "channel_post": VALUES,
        "callback_query": QUERY | VALUES,
        "my_chat_member": MEMBER | VALUES,
        "pre_checkout_query": QUERY | VALUES,
    },
)
INVOICE = shape(
    {"invoice_id": st.integers(1, 10**6) | IDS, "status": TEXTS, "currency_type": st.just("fiat"), "fiat": TEXTS},
    {
        "amount": SCALARS | st.sampled_from(["149", 149.0, "1e999", "9" * 30, 10**30, "٣"]),
        "payload": VALUES,
        "paid_asset": TEXTS | SCALARS,
        "paid_amount": SCALARS,
        "fee_amount": SCALARS,
        "asset": SCALARS,
    },
)
EVENT = shape({"update_type": st.just("invoice_paid") | SCALARS, "payload": INVOICE | VALUES}, {"update_id": SCALARS})
TASK = shape(
    {"outbox_id": IDS},
    dict.fromkeys(("update_id", "event_id", "subscription_id", "message_id"), IDS | SCALARS)
    | {"correlation_id": SCALARS | VALUES},
)
TICK = shape(
    {"tick": TEXTS | VALUES}, {"cursors": st.dictionaries(TEXTS, IDS | SCALARS) | VALUES, "hop": IDS | SCALARS}
)

DEEP, TWICE = b"[" * 100_000, b'{"update_id": 1, "outbox_id": 1, "outbox_id": 2, "update_id": 2}'
RAW = st.binary(max_size=40) | st.sampled_from(
    [
        *(
            b"",
            b" ",
            b"{",
            b"null",
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            DEEP,
            TWICE,
            b"NaN",
            b'{"outbox_id": NaN}',
            b"9" * 5000,
        ),
        *(b'{"update_id": 1e999}', b'{"a":' * 40_000 + b"1" + b"}" * 40_000, b'"' * 90_000, b'"' + b'\\"' * 45_000),
        *(b"x" * 102_401, b"x" * (1024 * 1024 + 1)),
    ]
)
BODIES = {"public": UPDATE | EVENT, "task": TASK, "schedule": TICK}


@st.composite
def requests(draw: st.DrawFn, name: str) -> tuple[str, bytes, bool, str | None]:
    """A method, a body, whether the sender hangs up in the middle of it, and a Content-Length of its own making."""
    usual = {"telegram_webhook": UPDATE, "cryptobot_webhook": EVENT}.get(name, BODIES[FUNCTIONS[name].trigger])
    encoded = (usual | VALUES).map(lambda value: json.dumps(value).encode())
    body = draw(st.one_of(encoded, encoded, encoded, RAW))
    method = draw(st.sampled_from(["POST"] * 12 + ["GET", "PUT", "HEAD"]))
    length = draw(st.sampled_from([None] * 8 + ["-1", "x", "9" * 5000, "٣", "0"]))
    return method, body, draw(st.integers(0, 9)) == 0, length


def request_of(name: str, method: str, body: bytes, *, hangs_up: bool, length: str | None) -> Request:
    digest = hmac.new(hashlib.sha256(TOKEN.encode()).digest(), body, hashlib.sha256).hexdigest()
    headers = {
        "telegram_webhook": [(b"x-telegram-bot-api-secret-token", SECRET.encode())],
        "cryptobot_webhook": [(b"crypto-pay-api-signature", digest.encode())],
        "health": [(b"x-health-key", body[:20] or HEALTH_KEY.encode())],
    }.get(name, [])
    if length is not None:
        headers.append((b"content-length", length.encode()))
    parts = [body[at : at + 60_000] for at in range(0, len(body), 60_000)] or [b""]
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append(
        {"type": "http.disconnect"} if hangs_up else {"type": "http.request", "body": b"", "more_body": False}
    )
    left = iter(messages)

    async def receive() -> Message:
        return next(left)

    scope = {
        "type": "http",
        "method": method,
        "path": "/",
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "server": ("x", 80),
        "client": ("y", 1),
    }
    return Request(scope, receive)


class Edges:
    """The functions in this process, over one database; what they would call stands in."""

    def __init__(self, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
        self._runner = runner
        self._monkeypatch = monkeypatch
        self.left: list[str] = []  # what still ran when the last one had answered

    def ask(self, name: str, request: Request) -> Response:
        self._monkeypatch.setenv("FUNCTION_TARGET", name)
        module = import_module(FUNCTIONS[name].module)

        async def answered() -> tuple[Response, list[str]]:
            response: Response = await getattr(module, name)(request)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            return response, sorted(str(one.get_coro()) for one in others)

        with loop_watch.watched() as blocking:
            response, self.left = self._runner.run(answered())
        assert blocking == [], "S4-6: the event loop was held up"
        return response


@pytest.fixture
def edges(functions_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edges]:
    async def taken(_reply: list[Any], *, closed_until: datetime | None, in_response: bool) -> None:
        assert closed_until is None or in_response in {True, False}

    async def all_delivered(*_: object) -> Looked:
        return Looked(is_set=True, pending=0, last_error_at=None, last_error=None)

    for setting, value in {
        "DATABASE_URL": functions_url,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "TELEGRAM_BOT_TOKEN": "42:AAtoken-of-the-bot",
        "CRYPTOPAY_TOKEN": TOKEN,
        "HEALTH_KEY": HEALTH_KEY,
        "TASKS_PROJECT": "project",
        "TASKS_LOCATION": "place",
        "FUNCTION_URL_TEMPLATE": "https://{name}.test",
        "XRAY_API_KEY": "k",
        "XRAY_API_URL": "http://127.0.0.1",
    }.items():
        monkeypatch.setenv(setting, value)
    for cached in (
        plain.database,
        plain.telegram_secrets,
        plain.cryptopay,
        plain.telegram,
        plain.tasks,
        plain.first_node,
    ):
        cached.cache_clear()
    check.problems_once.cache_clear()
    with asyncio.Runner() as runner:
        database = Database(functions_url, connections=4, application="test")
        queue, node = Queue(), RememberingNode()
        made: dict[str, Callable[[], Any]] = {
            "database": lambda: database,
            "task_queue": lambda: queue,
            "budgeted_queue": lambda: queue,
            "node_transport": lambda: node,
            "invoices": dict,
            "provider_accounts": dict,
            "giving_back": dict,
        }
        for name, make in made.items():
            monkeypatch.setattr(bootstrap, name, make)
        monkeypatch.setattr(wiring, "services", lambda: services_over(database, None))
        monkeypatch.setattr(wiring, "deliver", taken)
        monkeypatch.setattr(webhook_info, "ask", all_delivered)
        monkeypatch.setattr(telegram_webhook, "INLINE_BUDGET_S", 600.0)  # what is drawn counts, not the machine's speed
        monkeypatch.setattr("functions.tasks.task_update.deliver", taken)
        yield Edges(runner, monkeypatch)
        runner.run(database.close())
    for cached in (
        plain.database,
        plain.telegram_secrets,
        plain.cryptopay,
        plain.telegram,
        plain.tasks,
        plain.first_node,
    ):
        cached.cache_clear()
    check.problems_once.cache_clear()


def is_as_defined(name: str, response: Response, lines: list[Any]) -> None:
    assert response.status_code in DEFINED[name], (response.status_code, bytes(response.body))
    said = json.loads(bytes(response.body))
    assert isinstance(said, dict)
    assert [line.getMessage() for line in lines if line.exc_info] == []
    assert "update_kept" not in [line.getMessage() for line in lines], "an update that the bot could not take up"
    if response.status_code >= 400:
        assert re.fullmatch(r"[ -~]{1,200}", said["error"])


@pytest.mark.proves("G-16")
@pytest.mark.parametrize("name", FUNCTIONS)
@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_whatever_comes_has_its_defined_answer(
    name: str, data: st.DataObject, edges: Edges, caplog: pytest.LogCaptureFixture
) -> None:
    method, body, hangs_up, length = data.draw(requests(name))
    caplog.clear()
    response = edges.ask(name, request_of(name, method, body, hangs_up=hangs_up, length=length))
    is_as_defined(name, response, caplog.records)
