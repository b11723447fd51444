"""How each thing that the doctor looks at is broken in a running system, and mended again."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from infra.doctor import database, queues, telegram
from infra.doctor.examine import examine
from infra.doctor.of_environment import deployment_of
from infra.doctor.registry import BY_NAME
from infra.environment import load
from lib.telegram.webhook_terms import ALLOWED_UPDATES, most_connections
from sandbox.stand_in.server import Server
from tests.e2e.sweeps.customers import as_superuser
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    import pytest

    from infra.doctor.check import Finding
    from sandbox.system.customer import Customer
    from sandbox.system.system import System

    Break = Callable[["Shop", pytest.MonkeyPatch], AbstractAsyncContextManager[None]]


class Shop:
    """A running system as `make doctor ENV=local` finds it."""

    def __init__(self, system: System, customer: Customer) -> None:
        self.system = system
        self.customer = customer

    def announce(self, **changed: str) -> None:
        """Tell commands beside the system what its settings are, some of them otherwise than its functions have them."""
        facts = self.system.facts()
        facts["settings"] |= changed
        self.system.home.announce({"url": "http://127.0.0.1:1", **facts})

    async def look(self, *names: str) -> dict[str, Finding]:
        """What these checks find, and nothing else; all of them when none is named."""
        deployment = deployment_of(load("local", folder=self.system.home.path))
        try:
            chosen = [BY_NAME[name] for name in names or BY_NAME]
            return {one.check.name: one for one in await examine(deployment, chosen)}
        finally:
            await deployment.close()

    async def set_webhook(self, **changed: Any) -> None:
        """As a deploy does, some of it otherwise."""
        await self.system.travel(timedelta(seconds=2))  # Telegram takes one a second
        row = self.system.checkout.table.functions["telegram_webhook"]
        arguments = {
            "url": self.system.function_url("telegram_webhook"),
            "secret_token": self.system.webhook_secret,
            "max_connections": most_connections(row, 1),
            "allowed_updates": list(ALLOWED_UPDATES),
        }
        bot = f"{self.system.messenger.api_base}/bot{self.system.bot_token}"
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{bot}/setWebhook", json=arguments | changed)
        assert answer.status_code == HTTPStatus.OK, answer.text


def setting(name: str, value: str) -> Break:
    @asynccontextmanager
    async def broken(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        shop.announce(**{name: value})
        yield
        shop.announce()

    return broken


def webhook(**changed: Any) -> Break:
    @asynccontextmanager
    async def broken(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        await shop.set_webhook(**changed)
        yield
        await shop.set_webhook()

    return broken


@asynccontextmanager
async def _refused_update(shop: Shop, patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    patch.setattr(telegram, "MOST_PENDING", 0)
    await shop.set_webhook(secret_token="another")
    await shop.customer.user.send("/start")
    await until(lambda: shop.system.telegram.deliveries[-1].status == HTTPStatus.FORBIDDEN, "a refused delivery", 10)
    yield
    await shop.set_webhook()
    await shop.system.settled()


def statement(broken_by: str, mended_by: str) -> Break:
    """As the owner of the database."""

    @asynccontextmanager
    async def broken(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        await shop.system.sql(broken_by)
        yield
        await shop.system.sql(mended_by)

    return broken


def mightily(broken_by: str, mended_by: str) -> Break:
    """As the superuser."""

    @asynccontextmanager
    async def broken(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        await as_superuser(shop.system, broken_by)
        yield
        await as_superuser(shop.system, mended_by)

    return broken


def down(target: str) -> Break:
    @asynccontextmanager
    async def broken(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        await shop.system.kill_functions([target])
        yield
        await shop.system.start_functions([target])

    return broken


@asynccontextmanager
async def _answers_everyone(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """In the place of a webhook, a program that takes what it is sent."""

    async def fine(_request: object) -> PlainTextResponse:
        return PlainTextResponse("ok")

    server, backends = (
        Server(Starlette(routes=[Route("/", fine, methods=["GET", "POST"])])),
        shop.system.gateway._backends,
    )
    await server.start()
    kept, turns = backends["cryptobot-webhook"], shop.system.gateway._turns["cryptobot-webhook"]
    backends["cryptobot-webhook"] = replace(kept, ports=(server.port,))  # type: ignore[index]
    shop.system.gateway._turns["cryptobot-webhook"] = iter([0] * 100)
    yield
    backends["cryptobot-webhook"] = kept  # type: ignore[index]
    shop.system.gateway._turns["cryptobot-webhook"] = turns
    await server.stop()


@asynccontextmanager
async def _open_to_all(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """roles/run.invoker for allUsers."""
    allowed = shop.system.iam._allowed
    kept = allowed["sweep-expiry"]
    allowed["sweep-expiry"] = None  # type: ignore[index]
    yield
    allowed["sweep-expiry"] = kept  # type: ignore[index]


@asynccontextmanager
async def _no_connection_left(_shop: Shop, patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    with patch.context() as now:
        now.setattr(database, "MOST_CONNECTIONS", 0.0)
        yield


@asynccontextmanager
async def _left_open(shop: Shop, patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A person's session that began a transaction and went for lunch."""
    session = load("local", folder=shop.system.home.path).connect("owner")
    session.run("begin")
    session.run("select 1")
    with patch.context() as now:
        now.setattr(database, "LONGEST_IDLE_S", 0)
        yield
    session.close()


@asynccontextmanager
async def _full_disk(_shop: Shop, patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    usage = type("Usage", (), {"total": 100, "used": 99, "free": 1})
    with patch.context() as now:
        now.setattr(shutil, "disk_usage", lambda _folder: usage)
        yield


@asynccontextmanager
async def _paused_queue(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    shop.system.tasks.pause("messages")
    yield
    shop.system.tasks.resume("messages")


@asynccontextmanager
async def _slower_queue(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    queue = f"{shop.system.urls['cloudtasks']}/v2/projects/local/locations/local/queues/messages"
    mask = {"updateMask": "rateLimits.maxDispatchesPerSecond"}

    async def at(rate: float) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.patch(queue, params=mask, json={"rateLimits": {"maxDispatchesPerSecond": rate}})
        assert answer.status_code == HTTPStatus.OK, answer.text

    await at(1)
    yield
    await at(shop.system.checkout.table.queues["messages"].rate_per_second)


@asynccontextmanager
async def _task_left_behind(shop: Shop, patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    queue = f"{shop.system.urls['cloudtasks']}/v2/projects/local/locations/local/queues/messages"
    shop.system.tasks.pause("messages")
    task = {"httpRequest": {"url": shop.system.function_url("task_notify"), "httpMethod": "POST"}}
    async with httpx.AsyncClient(trust_env=False) as client:
        made = (await client.post(f"{queue}/tasks", json={"task": task})).json()["name"]
        with patch.context() as now:
            now.setattr(queues, "OLDEST_TASK_S", 0.0)
            yield
        await client.delete(f"{shop.system.urls['cloudtasks']}/v2/{made}")
    shop.system.tasks.resume("messages")


@asynccontextmanager
async def _paused_job(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    shop.system.scheduler.pause("sweep-expiry")
    yield
    shop.system.scheduler.resume("sweep-expiry")


@asynccontextmanager
async def _failed_tick(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    await shop.system.kill_functions(["sweep_expiry"])
    await shop.system.scheduler.run_now("sweep-expiry")
    yield
    await shop.system.start_functions(["sweep_expiry"])
    await shop.system.sweep("expiry")


@asynccontextmanager
async def _silent_sweep(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    await shop.system.sql(
        "update sweep_runs set started_at = started_at - interval '10 min', ended_at = ended_at - interval '10 min'"
        " where sweep = 'expiry'"
    )
    yield
    await shop.system.sweep("expiry")


@asynccontextmanager
async def _dead_node(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    node = shop.system.nodes[1]
    await node.service.kill()
    yield
    await node.start_service()
    await _xray(shop, up=True)


@asynccontextmanager
async def _wrong_clock(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    shop.system.nodes[1].set_clock(round(shop.system.clock.offset / timedelta(milliseconds=1)) + 120_000)
    yield
    shop.system.nodes.set_clocks(shop.system.clock.offset)


async def _xray(shop: Shop, *, up: bool) -> None:
    async def so() -> bool:
        health = await shop.system.nodes.health(1)
        return bool(health["xray"]["up"]) is up and not (up and (health["pending"] or health["problems"]))

    await until(so, f"xray up: {up}")


@asynccontextmanager
async def _no_xray(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    await shop.system.nodes[1].core.kill()
    await _xray(shop, up=False)
    yield
    await shop.system.nodes[1].core.start()
    await _xray(shop, up=True)


@asynccontextmanager
async def _owed_day(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A day that closed two days ago and is in no store."""
    shop.announce(LEDGER_EXPORT_URL="s3://books/atlas", LEDGER_EXPORT_KEY="an-id:a-secret-key")
    await shop.system.sql(
        "insert into closed_days (day, closed_at) values ('2020-01-31', atlas.now() - interval '2 days')"
    )
    yield
    await shop.system.sql("delete from closed_days")
    shop.announce()


_EVENT = (
    "insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, received_at, correlation_id)"
    " values ('cryptobot', 'doctor', '', '', 'webhook', {status}, {processed}, atlas.now() - interval '10 min', 'doctor')"
)
_NO_EVENT = "delete from payment_events where external_id = 'doctor'"
_TOKEN = "7000000001:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

BREAKS: dict[str, Break] = {
    "settings": setting("DISPLAY_TZ", "Mars/Base"),
    "telegram-token": setting("TELEGRAM_BOT_TOKEN", _TOKEN),
    "webhook-address": webhook(url="http://127.0.0.1:9/elsewhere"),
    "webhook-secret": setting("TELEGRAM_WEBHOOK_SECRET", "another"),
    "webhook-errors": _refused_update,
    "webhook-pending": _refused_update,
    "webhook-kinds": webhook(allowed_updates=["message"]),
    "webhook-connections": webhook(max_connections=100),
    "cryptopay-token": setting("CRYPTOPAY_TOKEN", "31337:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    "functions-answer": down("cryptobot_webhook"),
    "functions-refuse": _answers_everyone,
    "functions-private": _open_to_all,
    "functions-health": setting("HEALTH_KEY", "another"),
    "database": mightily(
        "alter database atlas set default_transaction_read_only = on",
        "alter database atlas reset default_transaction_read_only",
    ),
    "schema": statement(
        "update schema_migrations set sha256 = reverse(sha256) where number = 1",
        "update schema_migrations set sha256 = reverse(sha256) where number = 1",
    ),
    "database-roles": statement("grant delete on payments to atlas_app", "revoke delete on payments from atlas_app"),
    "database-connections": _no_connection_left,
    "database-timeouts": _left_open,
    "database-disk": _full_disk,
    "queues-running": _paused_queue,
    "queues-settings": _slower_queue,
    "queues-waiting": _task_left_behind,
    "work-overdue": statement(
        "insert into outbox (queue, target, payload, correlation_id, created_at, not_before) values ('nodes', 'task_provision', '{}',"
        " 'doctor', atlas.now() - interval '1 hour', atlas.now() - interval '1 hour')",
        "delete from outbox where correlation_id = 'doctor'",
    ),
    "schedules": _paused_job,
    "schedules-success": _failed_tick,
    "sweeps": _silent_sweep,
    "sweeps-flags": statement(
        "insert into flags (name, enabled) values ('sweep.payments', false)",
        "delete from flags where name = 'sweep.payments'",
    ),
    "flags": statement(
        "insert into flags (name, enabled) values ('payments', false)",
        "delete from flags where name = 'payments'",
    ),
    "nodes-reachable": _dead_node,
    "nodes-key": statement(
        "update nodes set key_name = 'HEALTH_KEY' where name = 'second'",
        "update nodes set key_name = 'NODE_MASTER_KEYS' where name = 'second'",
    ),
    "nodes-certificate": statement(
        "update nodes set pin = translate(pin, '0123456789abcdef', '123456789abcdef0') where name = 'second'",
        "update nodes set pin = translate(pin, '123456789abcdef0', '0123456789abcdef') where name = 'second'",
    ),
    "nodes-clock": _wrong_clock,
    "nodes-xray": _no_xray,
    "nodes-links": statement(
        "update node_clients set link = replace(link, 'pbk=', 'pbk=old-')",
        "update node_clients set link = replace(link, 'pbk=old-', 'pbk=')",
    ),
    "nodes-same": statement(
        "update node_clients set applied_version = null, changed_at = changed_at - interval '1 hour'"
        " where node_id = (select max(id) from nodes)",
        "update node_clients set applied_version = version where applied_version is null",
    ),
    "paid-not-applied": statement(
        "update subscriptions set activation_status = 'pending', pending_since = atlas.now() - interval '5 min'",
        "update subscriptions set activation_status = 'active', pending_since = null",
    ),
    "payments-kept": statement(_EVENT.format(status="'new'", processed="null"), _NO_EVENT),
    "payments-unmatched": statement(_EVENT.format(status="'unmatched'", processed="atlas.now()"), _NO_EVENT),
    "refunds-waiting": statement(
        "with charge as ("
        # ended, so that nothing else is to be said of it
        "    insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, resolved_at,"
        "                                resolution, correlation_id)"
        "    values ('cryptobot', 'doctor', '', '', 'webhook', 'unmatched', atlas.now(), atlas.now(), 'no_money', 'doctor')"
        "    returning id)"
        " insert into refund_requests (event_id, reason, correlation_id, requested_at)"
        " select id, 'doctor', 'doctor', atlas.now() - interval '11 min' from charge",
        "with gone as (delete from refund_requests where correlation_id = 'doctor' returning event_id)"
        " delete from payment_events where id in (select event_id from gone)",
    ),
    "updates-given-up": statement(
        "insert into updates (update_id, body, done_at, reply, attempts, last_error, correlation_id)"
        " values (1, '{}', atlas.now(), '[]', 20, 'KeyError', 'doctor')",
        "delete from updates where update_id = 1",
    ),
    "messages-lost": statement(
        "insert into messages (key, account_id, kind, delivery, status, finished_at, correlation_id)"
        " select 'doctor', min(id), 'paid', 'must', 'failed', atlas.now(), 'doctor' from accounts",
        "delete from messages where key = 'doctor'",
    ),
    "audit": statement(
        "insert into invariant_violations (invariant, key) values ('end_is_explained', 'doctor')",
        "delete from invariant_violations where key = 'doctor'",
    ),
    "books-against-providers": statement(
        "insert into reconciliation_differences (provider, day, state, kind, external_id, asset, of_fee, said, booked)"
        " values ('cryptobot', current_date, 'differs', 'charge', 'doctor', 'USDT', false, 2.000001, 2)",
        "delete from reconciliation_differences where external_id = 'doctor'",
    ),
    "books-off-site": _owed_day,
    "invariants": statement(
        "update subscriptions set expires_at = expires_at + interval '1 day'",
        "update subscriptions set expires_at = expires_at - interval '1 day'",
    ),
}
"""By the name of the check."""

NOT_HERE = frozenset(
    {
        "secret-versions",
        "services-ready",
        "webhook-certificate",
        "nodes-version",
        "nodes-cut",
        "database-backups",
        "alerts-recipient",
        "budget",
        "drift",
    }
)
"""What a local system has none of: tests/unit/infra/test_doctor.py breaks each."""


@asynccontextmanager
async def _deleted_webhook(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.post(f"{shop.system.messenger.api_base}/bot{shop.system.bot_token}/deleteWebhook")
    yield
    await shop.set_webhook()


@asynccontextmanager
async def _database_elsewhere(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    facts = shop.system.facts() | {
        "url": "http://127.0.0.1:1",
        "database": "postgresql://someone:SECRET@127.0.0.1:9/atlas",
    }
    shop.system.home.announce(facts)
    yield
    shop.announce()


@asynccontextmanager
async def _newer_master_key(shop: Shop, _patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    shop.announce(NODE_MASTER_KEYS=f"{'n' * 40},{shop.system.node_master_key}")
    yield
    shop.announce()


_TIMED_OUT = (
    "update sweep_runs set outcome = 'timed_out' where id = (select max(id) from sweep_runs where sweep = 'outbox')"
)
_DONE = "update sweep_runs set outcome = 'done' where outcome = 'timed_out'"
MORE: list[tuple[str, Break, str]] = [
    ("settings", setting("TELEGRAM_WEBHOOK_SECRET", ""), "TELEGRAM_WEBHOOK_SECRET: is not set"),
    ("settings", setting("ENVIRONMENT", "dev"), "ENVIRONMENT: says dev, not local"),
    ("telegram-token", setting("TELEGRAM_BOT_USERNAME", "another_bot"), "TELEGRAM_BOT_USERNAME is another_bot"),
    ("webhook-address", _deleted_webhook, "no webhook is set"),
    ("database", _database_elsewhere, "the database does not answer"),
    (
        "database-roles",
        statement("grant update (kind) on payments to atlas_app", "revoke update (kind) on payments from atlas_app"),
        "atlas_functions may update payments",
    ),
    (
        "database-roles",
        mightily("alter role atlas_functions createrole", "alter role atlas_functions nocreaterole"),
        "atlas_functions may make roles",
    ),
    (
        "database-roles",
        statement("grant insert on flags to atlas_readonly", "revoke insert on flags from atlas_readonly"),
        "atlas_readonly may write flags",
    ),
    (
        "sweeps",
        statement(_TIMED_OUT, _DONE),
        "outbox: its newest run timed out",
    ),
    (
        "nodes-reachable",
        statement("update nodes set state = 'draining'", "update nodes set state = 'active'"),
        "there is no node that takes customers",
    ),
    ("nodes-key", _newer_master_key, "second takes the key of an older NODE_MASTER_KEYS alone"),
    (
        "nodes-key",
        statement(
            "update nodes set trouble = 'answer', trouble_since = atlas.now() where name = 'first'",
            "update nodes set trouble = null, trouble_since = null where name = 'first'",
        ),
        "first: Atlas noted trouble with answer",
    ),
]
"""Other ways in which the same things break, with a part of what is said then."""
