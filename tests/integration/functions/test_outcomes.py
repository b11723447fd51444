"""Each answer that docs/interface.md defines for a function, provoked in this process: status, body, Retry-After."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest
from starlette.requests import Request

from functions.public import telegram_webhook
from lib import bootstrap, log
from lib.bot import wiring
from lib.db import Database, Unavailable
from lib.db.lock import LockLost, SweepLock
from lib.domain import flags, health_snapshot, inbox, outbox
from lib.settings import check, plain
from lib.telegram import intake
from tests.integration.bot.conftest import services_over
from tests.integration.domain.test_settlement import open_order
from tests.integration.functions.test_edges import FUNCTIONS, request_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Transaction
    from lib.domain.orders import Order
    from tests.integration.functions.test_edges import Edges

TASKS = sorted(name for name, one in FUNCTIONS.items() if one.trigger == "task")
SWEEPS = sorted(name for name, one in FUNCTIONS.items() if one.trigger == "schedule")
WEBHOOKS = ["cryptobot_webhook", "telegram_webhook"]
ITEM_OF = {
    "task_notify": "message_id",
    "task_provision": "subscription_id",
    "task_settle": "event_id",
    "task_update": "update_id",
}
TOO_MUCH = {"public": 1024 * 1024 + 1, "task": 100 * 1024 + 1, "schedule": 100 * 1024 + 1}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: dict[str, Any]
    retry_after: str | None


class Functions:
    """Asks a function, as its real caller would but for what a test changes."""

    def __init__(self, edges: Edges, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._edges, self._url = edges, url
        self.monkeypatch = monkeypatch

    def __call__(
        self,
        name: str,
        body: bytes | dict[str, Any] = b"",
        method: str = "POST",
        *,
        hangs_up: bool = False,
        trickles: bool = False,
        headers: dict[bytes, bytes] | None = None,
    ) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = request_of(name, method, raw, hangs_up=hangs_up, length=None)
        for key, value in (headers or {}).items():
            request.scope["headers"] = [
                *((one, old) for one, old in request.scope["headers"] if one != key),
                *([(key, value)] if value else []),
            ]
        if trickles:
            request = Request(request.scope, asyncio.Event().wait)  # type: ignore[arg-type] # it never gives a message
        response = self._edges.ask(name, request)
        return Answer(response.status_code, json.loads(bytes(response.body)), response.headers.get("retry-after"))

    @property
    def left(self) -> list[str]:
        """What still ran when the last one had answered."""
        return self._edges.left

    def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """A transaction of the test's own, in the database that the functions use."""

        async def once() -> Any:
            db = Database(self._url, connections=1, application="arranges", guards=False)
            try:
                return await db.run(work, *arguments)
            finally:
                await db.close()

        return asyncio.run(once())

    def setting(self, name: str, value: str) -> None:
        """Change one; functions read them anew."""
        self.monkeypatch.setenv(name, value)
        for cached in (plain.telegram_secrets, plain.cryptopay, plain.first_node, plain.tasks):
            cached.cache_clear()
        check.problems_once.cache_clear()

    def lose_the_database(self) -> None:
        """From now on Postgres can't be had."""

        class Gone:
            async def run(self, *_arguments: object) -> None:
                raise Unavailable("gone")

        self.monkeypatch.setattr(bootstrap, "database", Gone)
        self.monkeypatch.setattr(wiring, "services", lambda: services_over(cast("Database", Gone()), None))


@pytest.fixture
def ask(edges: Edges, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Functions:
    return Functions(edges, database_url, monkeypatch)


def _ids(name: str) -> dict[str, int]:
    return {"outbox_id": 1, ITEM_OF[name]: 1}


def _enqueued(tx: Transaction, target: str, payload: dict[str, int]) -> int:
    """Follow-up work that waits; its id."""
    return int(
        tx.value(
            "insert into outbox (queue, target, payload, correlation_id)"
            " values ('updates', :target, cast(:payload as jsonb), 'c') returning id",
            target=target,
            payload=json.dumps(payload),
        )
    )


def _update(number: int = 1) -> dict[str, Any]:
    chat, person = {"id": 7, "type": "private"}, {"id": 7, "is_bot": False, "first_name": "Anna"}
    sent = {"message_id": number, "date": 1_700_000_000, "chat": chat, "from": person, "text": "/start"}
    return {"update_id": number, "message": sent}


def _invoice(order: Order, amount: str | None = None) -> dict[str, Any]:
    paid = {
        "invoice_id": order.invoice_id,
        "status": "paid",
        "currency_type": "fiat",
        "fiat": order.currency,
        "amount": amount or str(order.price // 100),
        "payload": str(order.purchase_id),
        "paid_asset": "USDT",
        "paid_amount": "1.8625",
        "paid_fiat_rate": "80.0",
        "fee_asset": "USDT",
        "fee_amount": "0.055875",
    }
    return {"update_id": 1, "update_type": "invoice_paid", "payload": paid}


def _numbered_order(tx: Transaction) -> Order:
    """An open order with an invoice whose id is a number, as Crypto Pay gives them."""
    order = open_order(tx, 1)
    tx.execute("update orders set invoice_id = '1' where id = :id", id=order.id)
    return replace(order, invoice_id="1")


# Every function ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*WEBHOOKS, *TASKS, *SWEEPS])
def test_only_post_is_taken(ask: Functions, name: str) -> None:
    assert ask(name, method="GET") == Answer(405, {"ok": False, "error": "POST only"}, None)


@pytest.mark.parametrize("name", [*WEBHOOKS, *TASKS, *SWEEPS])
def test_without_the_database_the_sender_is_asked_to_come_again(ask: Functions, name: str) -> None:
    ask.lose_the_database()
    body = {"telegram_webhook": _update(), "cryptobot_webhook": {}}.get(name) or (_ids(name) if name in TASKS else {})
    answer = ask(name, body)
    assert (answer.status, answer.retry_after) == (503, "2")
    assert answer.body["ok"] is False


@pytest.mark.parametrize("name", [*WEBHOOKS, *TASKS])
def test_a_body_that_ends_early_is_sent_again(ask: Functions, name: str) -> None:
    answer = ask(name, b'{"update_id": 1', hangs_up=True)
    assert answer == Answer(400, {"ok": False, "error": "body ended early"}, None)


# Webhooks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "setting"), [("telegram_webhook", "TELEGRAM_WEBHOOK_SECRET"), ("cryptobot_webhook", "CRYPTOPAY_TOKEN")]
)
def test_a_webhook_that_is_not_configured_says_so(ask: Functions, name: str, setting: str) -> None:
    ask.setting(setting, "")
    assert ask(name, _update()) == Answer(503, {"ok": False, "error": "not configured"}, "2")


@pytest.mark.parametrize("given", [b"", b"wrong", "не он".encode()])
@pytest.mark.parametrize(
    ("name", "header", "status"),
    [
        ("telegram_webhook", b"x-telegram-bot-api-secret-token", 403),
        ("cryptobot_webhook", b"crypto-pay-api-signature", 401),
    ],
)
def test_who_proves_nothing_is_refused(ask: Functions, name: str, header: bytes, status: int, given: bytes) -> None:
    answer = ask(name, _update(), headers={header: given})
    assert (answer.status, answer.body["ok"], answer.retry_after) == (status, False, None)
    assert ask.run(lambda tx: tx.value("select count(*) from accounts")) == 0


def test_a_body_that_does_not_come_is_not_waited_for_long(ask: Functions) -> None:
    ask.monkeypatch.setattr(telegram_webhook, "INLINE_BUDGET_S", 0.05)
    assert ask("telegram_webhook", trickles=True) == Answer(408, {"ok": False, "error": "too slow"}, None)


@pytest.mark.parametrize("name", WEBHOOKS)
def test_more_than_a_mebibyte_is_too_much(ask: Functions, name: str) -> None:
    answer = ask(name, b"x" * TOO_MUCH["public"])
    assert answer == Answer(413, {"ok": False, "error": "over 1 MiB"}, None)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"{}", b'{"update_id": "1"}'])
def test_what_is_no_update_is_refused(ask: Functions, body: bytes) -> None:
    answer = ask("telegram_webhook", body)
    assert (answer.status, answer.body["ok"]) == (400, False)


def test_an_update_has_its_effect_and_comes_again_without_one(ask: Functions) -> None:
    for _ in range(2):
        assert ask("telegram_webhook", _update()).status == 200
    assert ask.run(lambda tx: tx.value("select count(*) from updates where done_at is not null")) == 1


def test_an_update_that_can_not_be_handled_now_is_kept(ask: Functions) -> None:
    ask.monkeypatch.setattr(intake, "handle", _fails)
    assert ask("telegram_webhook", _update()) == Answer(200, {}, None)
    kept = ask.run(lambda tx: tx.value("select last_error from updates where done_at is null"))
    assert kept == "ZeroDivisionError"


def test_every_outcome_of_a_payment_is_named(ask: Functions) -> None:
    order = ask.run(_numbered_order)
    other = replace(order, invoice_id="2", purchase_id=uuid4())

    def outcome(body: bytes | dict[str, Any]) -> Any:
        answer = ask("cryptobot_webhook", body)
        assert (answer.status, answer.body["ok"], answer.retry_after) == (200, True, None)
        return answer.body["outcome"]

    with ask.monkeypatch.context() as broken:
        broken.setattr(inbox, "settle", _fails)
        assert outcome(_invoice(order)) == "kept"
    assert outcome(_invoice(order)) == "settled"
    assert outcome(_invoice(order)) == "repeated"
    assert outcome(_invoice(replace(order, invoice_id="3"))) == "duplicate"
    assert outcome(_invoice(other)) == "unmatched"
    assert outcome(b"no JSON") == "unmatched"
    assert outcome(b"no JSON") == "repeated"
    assert outcome({"update_type": "of another kind"}) == "no_money"
    assert outcome(_invoice(order) | {"request_date": "later"}) == "repeated"
    assert outcome(_invoice(order, "1")) == "differs"


def _fails(*_arguments: object, **_more: object) -> None:
    raise ZeroDivisionError


# Tasks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TASKS, *SWEEPS])
def test_wrong_settings_are_all_named(ask: Functions, name: str) -> None:
    ask.setting("LOG_LEVEL", "LOUD")
    ask.setting("TASKS_LOCATION", "")
    answer = ask(name, _ids(name) if name in TASKS else {})
    assert answer.status == 500
    assert answer.body["error"].startswith("configuration: ")
    assert {"LOG_LEVEL", "TASKS_LOCATION"} <= {word.strip(":;,") for word in answer.body["error"].split()}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"{}", b'{"outbox_id": 1}', b'{"outbox_id": 0}', b"x" * TOO_MUCH["task"]],
    ids=["empty", "cut", "no text", "no ids", "one id", "no id", "too long"],
)
def test_a_task_that_can_not_be_read_is_poisoned(ask: Functions, name: str, body: bytes) -> None:
    answer = ask(name, body)
    assert (answer.status, answer.body["ok"]) == (200, True)
    assert answer.body["poisoned"]


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"task_provision"}))
def test_a_task_of_an_item_that_is_gone_is_poisoned_and_over(ask: Functions, name: str) -> None:
    outbox_id = ask.run(_enqueued, name, {ITEM_OF[name]: 404})
    answer = ask(name, {"outbox_id": outbox_id, ITEM_OF[name]: 404})
    assert (answer.status, answer.body["ok"]) == (200, True)
    assert answer.body["poisoned"].startswith("no such ")
    assert ask.run(lambda tx: tx.value("select done_at is not null from outbox where id = :id", id=outbox_id))


@pytest.mark.parametrize("name", TASKS)
def test_a_task_that_fails_is_to_be_tried_again(ask: Functions, name: str) -> None:
    ask.monkeypatch.setattr(bootstrap, "database", _fails)
    assert ask(name, _ids(name)) == Answer(500, {"ok": False, "error": "ZeroDivisionError"}, None)


def test_a_kept_update_is_done_by_its_task(ask: Functions) -> None:
    with ask.monkeypatch.context() as broken:
        broken.setattr(intake, "handle", _fails)
        ask("telegram_webhook", _update())
    outbox_id = ask.run(lambda tx: tx.value("select id from outbox where target = 'task_update'"))
    answer = ask("task_update", {"outbox_id": outbox_id, "update_id": 1})
    assert (answer.status, answer.body["ok"]) == (200, True)
    assert answer.body["calls"] >= 1
    assert ask.run(lambda tx: tx.value("select done_at is not null from updates where update_id = 1"))


def test_provisioning_says_what_it_applied(ask: Functions) -> None:
    order = ask.run(_numbered_order)
    assert ask("cryptobot_webhook", _invoice(order)).body["outcome"] == "settled"
    work = ask.run(lambda tx: tx.one(_Work, "select id, payload from outbox where target = 'task_provision'"))
    body = {"outbox_id": work.id, "subscription_id": work.payload["subscription_id"]}
    assert ask("task_provision", body) == Answer(200, {"ok": True, "applied": 1, "put_off": 0}, None)
    assert ask("task_provision", body) == Answer(200, {"ok": True, "applied": 0, "put_off": 0}, None)


@dataclass(frozen=True)
class _Work:
    id: int
    payload: dict[str, Any]


# Sweeps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_says_what_it_did(ask: Functions, name: str) -> None:
    ask.setting("CRYPTOPAY_TOKEN", "")
    if name in {"sweep_payments", "sweep_money"}:  # no provider is there that could be asked
        ask.setting("TELEGRAM_BOT_TOKEN", "")
    answer = ask(name)
    assert answer.status == 200
    assert answer.body.pop("ms") >= 0
    if name == "sweep_audit":  # of an empty shop it asks what is asked as a whole, and the chain of acts
        assert answer.body.pop("done") > 0
        answer.body["done"] = 0
    counts = {"claimed": 0, "done": 0, "failed": 0, "more": False}
    assert answer.body == {"sweep": name.removeprefix("sweep_"), **counts}


@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.parametrize("body", [b"{", b"\xff", b"x" * TOO_MUCH["schedule"]], ids=["cut", "no text", "too long"])
def test_a_sweep_whose_body_can_not_be_read_does_nothing(ask: Functions, name: str, body: bytes) -> None:
    assert ask(name, body) == Answer(400, {"ok": False, "error": "unreadable body"}, None)


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_that_runs_already_is_skipped(ask: Functions, name: str, database_url: str) -> None:
    sweep = name.removeprefix("sweep_")

    async def take() -> SweepLock:
        return await SweepLock(database_url, sweep).__aenter__()

    async def give_back(lock: SweepLock) -> None:
        await lock.__aexit__(None, None, None)

    with asyncio.Runner() as runner:
        lock = runner.run(take())
        assert lock.held
        assert ask(name) == Answer(200, {"sweep": sweep, "skipped": "running"}, None)
        runner.run(give_back(lock))


@pytest.mark.parametrize("name", [name for name in SWEEPS if FUNCTIONS[name].flag])
def test_a_sweep_that_is_switched_off_is_skipped(ask: Functions, name: str) -> None:
    ask.monkeypatch.setattr(flags, "enabled", lambda *_: False)
    assert ask(name) == Answer(200, {"sweep": name.removeprefix("sweep_"), "skipped": "disabled"}, None)


@pytest.mark.parametrize("on", [True, False])
def test_a_run_that_an_operator_asked_for_is_heard_once(ask: Functions, *, on: bool) -> None:
    """Its work is done whatever comes of it: a switched-off sweep is not driven again."""
    if not on:
        ask.monkeypatch.setattr(flags, "enabled", lambda *_: False)
    item = ask.run(lambda tx: outbox.add(tx, "sweeps", "sweep_expiry", {"tick": "asked tg-1"}, "tg-1"))
    answer = ask("sweep_expiry", item.body)
    assert (answer.status, answer.body["sweep"]) == (200, "expiry")
    assert ("skipped" in answer.body) is not on
    assert not ask.run(outbox.is_open, item.id)


def _ends(ask: Functions, sweep: str) -> list[tuple[str, str | None]]:
    """Outcome and error of every run that is recorded."""
    return [
        (row[0], row[1])
        for row in ask.run(
            lambda tx: tx._run("select outcome, error from sweep_runs where sweep = :s order by id", {"s": sweep})[1]
        )
    ]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The outcome of each `sweep_end` that is told as a failure."""
    told: list[str] = []
    error = log.error

    def heard(event: str, **fields: Any) -> None:
        if event == "sweep_end":
            told.append(fields["outcome"])
        error(event, **fields)

    monkeypatch.setattr(log, "error", heard)
    return told


@pytest.mark.proves("S2-2a")
@pytest.mark.proves("S2-2b")
@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_is_ended_at_its_hard_limit_and_says_so(ask: Functions, name: str, ended: list[str]) -> None:
    """Whatever it waits for: no function of its own is asked to notice."""

    async def hangs(_run: object) -> None:
        await asyncio.Event().wait()

    ask.setting("SWEEP_HARD_LIMIT_SECONDS", "0.05")
    ask.monkeypatch.setattr(f"{FUNCTIONS[name].module}._work", hangs)
    answer = ask(name)
    sweep = name.removeprefix("sweep_")
    assert (answer.status, answer.body["more"]) == (200, True)
    assert _ends(ask, sweep) == [("timed_out", "hard limit")]
    assert ended == ["timed_out"]
    assert ask(name).body["sweep"] == sweep, "the lock is free"
    assert len(_ends(ask, sweep)) == 2


@pytest.mark.proves("S2-2b")
@pytest.mark.parametrize(
    ("error", "told"),
    [(ZeroDivisionError("x"), "ZeroDivisionError"), (Unavailable("gone"), "database"), (LockLost("x"), "database")],
    ids=["anything", "database", "lock"],
)
@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_says_its_end_however_it_failed(
    ask: Functions, name: str, error: Exception, told: str, ended: list[str]
) -> None:
    async def breaks(_run: object) -> None:
        raise error

    ask.monkeypatch.setattr(f"{FUNCTIONS[name].module}._work", breaks)
    assert ask(name).status in {500, 503}
    assert _ends(ask, name.removeprefix("sweep_")) == [("failed", told)]
    assert ended == ["failed"]


@pytest.mark.proves("S2-6h")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_runs_once_a_function_has_answered(ask: Functions, name: str) -> None:
    """An instance is frozen at the last byte of an answer, for minutes or for good."""
    for body in (b"{}", b'{"update_id": 7, "outbox_id": 1}', b"no json"):
        ask(name, body)
        assert ask.left == []


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_that_fails_says_so(ask: Functions, name: str) -> None:
    ask.monkeypatch.setattr(bootstrap, "database", _fails)
    assert ask(name) == Answer(500, {"ok": False, "error": "ZeroDivisionError"}, None)


# Health --------------------------------------------------------------------------------------------------------------


def test_health_tells_strangers_that_it_lives_and_no_more(ask: Functions) -> None:
    key = b"x-health-key"
    assert ask("health", headers={key: b""}) == Answer(200, {"ok": True}, None)
    assert ask("health", headers={key: b"wrong"}) == Answer(403, {"ok": False, "error": "wrong key"}, None)
    told = ask("health")
    assert (told.status, told.body["updates_waiting"]) == (200, 0)
    ask.monkeypatch.setattr(health_snapshot, "_SHOP_S", "select cast(90001 as double precision)")
    told = ask("health")
    assert (told.status, told.body["updates_waiting"]) == (503, 0)
    assert told.body["red"] == [
        f"sweep {name} has never ended well" for name in sorted(one.removeprefix("sweep_") for one in SWEEPS)
    ]
    ask.lose_the_database()
    assert ask("health", headers={key: b""}).status == 200
    assert ask("health") == Answer(503, {"ok": False, "error": "the database can't be had"}, "2")
