"""What the webhook tests are made of: fresh customers, orders, updates and webhooks by hand, and what came of them."""

from __future__ import annotations

import itertools
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx

from lib import function_table
from sandbox.cloud.instances import ROOT, settings_of
from sandbox.processes.child import Process, bare_environment
from sandbox.system.customer import Customer, link_of, text_of, urls_of
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from sandbox.system.system import System

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
SIGNATURE_HEADER = "crypto-pay-api-signature"
RIGHT = "right"  # stands for whatever is configured

_telegram_ids = itertools.count(6_100_000_001)  # beyond 32 bits, and no other person's
_update_ids = itertools.count(900_000_001)  # far from those that the stand-in gives out
_places = itertools.count()


def new_telegram_id() -> int:
    return next(_telegram_ids)


def new_update_id() -> int:
    return next(_update_ids)


def new_customer(system: System, name: str = "Anna", language: str = "en") -> Customer:
    return Customer(system.telegram.user(new_telegram_id(), name, language_code=language))


UNDONE = "select update_id, last_error from updates where done_at is null"


async def last_work(system: System) -> int:
    return int((await system.sql("select coalesce(max(id), 0) as id from outbox"))[0]["id"])


async def deliver_some(system: System, before: int, sent: set[int], goal: int) -> set[int]:
    """Wait until so many are answered 200, and let some handlers fail meanwhile, so that something is still to be done then.

    Returns those that are answered.
    """
    done: set[int] = set()

    def are_answered() -> bool:
        done.update({one.update_id for one in system.telegram.deliveries[before:] if one.delivered} & sent)
        if not system.failpoints.is_armed("update.before-effect"):
            system.arm("update.before-effect", "raise")
        return len(done) >= goal

    await until(are_answered, f"{goal} of {len(sent)} answered", 300)
    return done


async def until_nothing_is_left(system: System, since: int, timeout_s: float = 60.0) -> None:
    """Let time pass: senders come again by the sandbox's clock; the sweep of follow-up work has its turn each minute of it."""
    left: list[Any] = []

    async def is_so() -> bool:
        await system.travel(timedelta(seconds=10))
        await system.sweep("outbox")
        nonlocal left
        left = list(system.telegram.pending)
        left += system.telegram._clicks._waiting  # which the app is to send again, since they are unanswered
        left += [one for number in system.cryptopay.invoices for one in system.cryptopay.webhooks.waiting_for(number)]
        left += await system.sql(UNDONE)
        left += await system.sql("select id, target from outbox where done_at is null and id > :since", since=since)
        return not left

    try:
        await until(is_so, "nothing is left", timeout_s, every=0.2)  # or much time passes while a worker is replaced
    except AssertionError as error:
        raise AssertionError(f"still left: {left[:5]}") from error


# Buying -----------------------------------------------------------------------------------------------------------


async def order(system: System, customer: Customer, tariff: str = "basic", days: int = 30) -> dict[str, Any]:
    """Through the dialogue to an open invoice, as the provider shows it."""
    screen = await customer.press(await customer.start(), "go:buy")
    screen = await customer.press(screen, f"tariff:{tariff}")
    screen = await customer.press(screen, f"period:{days}:")
    screen = await customer.press(screen, "pay:cryptobot")
    return invoice_on(system, screen)


def invoice_on(system: System, screen: dict[str, Any]) -> dict[str, Any]:
    url = next((url for url in urls_of(screen) if "/invoice/" in url), None)
    assert url, f"no invoice to pay: {text_of(screen)}"
    return next(one for one in system.cryptopay.invoices.values() if one["bot_invoice_url"] == url)


@dataclass(frozen=True)
class Effects:
    """What there is of an order in Postgres and in the chat."""

    payments: int
    grants: int
    transfers: int
    receipts: int
    keys: int


ONE_OF_EACH = Effects(payments=1, grants=1, transfers=1, receipts=1, keys=1)

# By order, whatever key a payment came under: one that was booked again under another must not go unseen.
_EFFECTS = """
with booked as (
    select p.id from payments p join orders o on o.id = p.order_id where o.invoice_id = any(cast(:ids as text[]))
)
select (select count(*) from booked) as payments,
       (select count(*) from subscription_history h join booked b on b.id = h.payment_id
        where h.event in ('granted', 'extended')) as grants,
       (select count(*) from ledger_transfers t join booked b on b.id = t.payment_id) as transfers
"""


async def effects(system: System, customer: Customer, *invoices: dict[str, Any]) -> Effects:
    """Counted in the books, and at Telegram: whatever was sent to the customer by any process."""
    row = (await system.sql(_EFFECTS, ids=[str(invoice["invoice_id"]) for invoice in invoices]))[0]
    told = [text_of(message) for message in customer.user.messages if message["from"]["is_bot"]]
    return Effects(
        payments=row["payments"],
        grants=row["grants"],
        transfers=row["transfers"],
        receipts=sum("Payment received" in text for text in told),
        keys=sum("Your key is ready" in text for text in told),
    )


async def has_key(customer: Customer) -> str:
    """The link in the message that says that the key is ready, however long ago it came."""
    message = await customer.sees(
        lambda message: "Your key is ready" in text_of(message) and link_of(message), "the key", 30
    )
    return str(link_of(message))


async def on_every_node(system: System, customer: Customer) -> list[dict[str, Any]]:
    """What the nodes hold for this customer, once each of them has confirmed it."""
    query = (
        "select c.link, cast(c.uuid as text) as uuid, c.applied_version = c.version as applied from node_clients c"
        " join subscriptions s on s.id = c.subscription_id join accounts a on a.id = s.account_id"
        " where a.telegram_id = :id order by c.node_id"
    )
    rows: list[dict[str, Any]] = []

    async def held() -> bool:
        rows[:] = await system.sql(query, id=customer.user.id)
        return len(rows) == len(system.nodes) and all(row["applied"] for row in rows)

    await until(held, "the client is on every node")
    return rows


# By hand ----------------------------------------------------------------------------------------------------------


def person(telegram_id: int, name: str = "Eve") -> dict[str, Any]:
    return {"id": telegram_id, "is_bot": False, "first_name": name, "language_code": "en"}


def message_update(telegram_id: int, text: str = "/start", *, name: str = "Eve", **more: Any) -> dict[str, Any]:
    """An update as Telegram sends one, under an id of its own; `more` goes into the message."""
    message = {
        "message_id": 1,
        "date": 1_790_000_000,
        "chat": {"id": telegram_id, "type": "private", "first_name": name},
        "from": person(telegram_id, name),
        "text": text,
    }
    return {"update_id": new_update_id(), "message": message | more}


def click_update(customer: Customer, message: dict[str, Any], data: str) -> dict[str, Any]:
    """A click under an update id and a query id of its own: apps send a click again with new ids."""
    number = new_update_id()
    query = {
        "id": str(number),
        "from": customer.user.account.user(),
        "message": message,
        "chat_instance": "1",
        "data": data,
    }
    return {"update_id": number, "callback_query": query}


async def post_update(
    system: System, update: dict[str, Any] | bytes, *, secret: str | bytes | None = RIGHT, method: str = "POST"
) -> httpx.Response:
    """Straight to the function, past the stand-in's queues; what comes back is not executed in the response."""
    body = update if isinstance(update, bytes) else json.dumps(update).encode()
    given = system.webhook_secret if secret is RIGHT else secret
    headers: Mapping[str, Any] = {} if given is None else {SECRET_HEADER: given}
    return await system.call("telegram_webhook", content=body, headers=headers, method=method)


def paid_body(system: System, invoice: dict[str, Any], **changes: Any) -> bytes:
    """A webhook's body about an invoice, changed at will; a field given as None is left out."""
    update = json.loads(system.cryptopay.webhook_body(invoice["invoice_id"]))
    top = {name: changes.pop(name) for name in ("update_type", "update_id") if name in changes}
    payload = {name: value for name, value in (update["payload"] | changes).items() if value is not None}
    return json.dumps(update | top | {"payload": payload}).encode()


async def post_payment(
    system: System, body: bytes, *, token: str | None = None, signature: str | bytes | None = "", method: str = "POST"
) -> httpx.Response:
    """Straight to the function, signed (by `token`, else by the configured one) unless a signature is given."""
    given = system.cryptopay.sign(body, token or system.cryptopay_token) if signature == "" else signature
    headers: Mapping[str, Any] = {} if given is None else {SIGNATURE_HEADER: given}
    return await system.call("cryptobot_webhook", content=body, headers=headers, method=method)


# Functions --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def another(system: System, target: str, **settings: str) -> AsyncIterator[Process]:
    """One more instance of a function, with some settings of its own (an empty one counts as unset)."""
    function = function_table.load().functions[target]
    place = f"another.{target}.{next(_places)}"
    port = system.home.port(place)
    process = Process(
        [*system.fleet.processes[target][0].argv[:-1], str(port)],
        cwd=ROOT,
        env=bare_environment(settings_of(function, system.settings() | settings)),
        log=system.home.logs / f"{place}.log",
        port=port,
    )
    await process.start()
    try:
        yield process
    finally:
        await process.kill()


async def post(
    process: Process, content: bytes, headers: Mapping[str, str] | None = None, timeout_s: float = 60.0
) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=timeout_s) as client:
        return await client.post(f"http://127.0.0.1:{process.port}/", content=content, headers=headers)


class FunctionLog:
    """What a function logs from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = path.stat().st_size

    @classmethod
    def of(cls, system: System, target: str) -> FunctionLog:
        return cls(system.fleet.processes[target][0].log)

    def text(self) -> str:
        """All of it, of every writer."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            return file.read().decode()

    def lines(self) -> list[dict[str, Any]]:
        """Structured lines, as dictionaries."""
        found = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        return [line for line in found if "event" in line]

    def told(self) -> list[str]:
        """Names of the events that say something: an update's or a task's ordinary end counts only when alone."""
        events = [str(line["event"]) for line in self.lines()]
        return [event for event in events if event != "update_end"] or events


# Everything that is stored ----------------------------------------------------------------------------------------


async def tables(system: System) -> list[str]:
    rows = await system.sql("select tablename from pg_catalog.pg_tables where schemaname = 'atlas' order by tablename")
    return [row["tablename"] for row in rows]


async def dump(system: System) -> dict[str, list[str]]:
    """Every row of every table."""
    return {
        name: [row["row"] for row in await system.sql(f"select cast(t as text) as row from {name} t order by 1")]  # noqa: S608 -- names of our own tables
        for name in await tables(system)
    }


async def assert_sound(system: System) -> None:
    """What must hold after every test that proves something (S4-15)."""
    violated = await system.invariants()
    assert violated == [], f"violated: {violated}"
