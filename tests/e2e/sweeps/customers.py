"""What these tests do to a system in a few words: buy, let it heal, see who died and what a node holds."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lib.db.connection import Connection, Timeouts
from sandbox.node.caller import NodeCaller
from sandbox.system.customer import Customer, need, text_of, urls_of

if TYPE_CHECKING:
    from sandbox.system.system import System

LEASE = timedelta(seconds=61)
"""Past every lease, and past a minute's tick of every sweep."""
_people = itertools.count(50_001)
_NAMES = ("Nina", "Oleg", "Pavel", "Rita", "Semyon", "Tanya", "Ulyana", "Viktor")


def a_customer(system: System) -> Customer:
    """A customer the bot does not know yet; they read English."""
    number = next(_people)
    return Customer(system.telegram.user(number, _NAMES[number % len(_NAMES)], language_code="en"))


async def order(system: System, customer: Customer) -> int:
    """Through the buy dialogue to an open invoice for 30 days of basic; its id at Crypto Pay."""
    screen = await customer.press(await customer.start(), "go:buy")
    screen = await customer.press(screen, "tariff:basic")
    screen = await customer.press(screen, "period:30:")
    screen = await customer.press(screen, "pay:cryptobot")
    url = next((url for url in urls_of(screen) if "/invoice/" in url), None)
    need(url, f"no invoice to pay: {text_of(screen)}")
    return next(number for number, one in system.cryptopay.invoices.items() if one["bot_invoice_url"] == url)


async def accept_trial(customer: Customer) -> None:
    """Tap the trial's two buttons."""
    await customer.press(await customer.press(await customer.start(), "go:trial"), "trial")


async def subscription(system: System, customer: Customer) -> dict[str, Any]:
    """The customer's row."""
    rows = await system.sql(
        "select s.*, a.trial_used_at from subscriptions s join accounts a on a.id = s.account_id"
        " where a.telegram_id = :telegram_id",
        telegram_id=customer.user.id,
    )
    need(len(rows) == 1, f"{len(rows)} subscriptions of one customer")
    return rows[0]


async def as_superuser(system: System, sql: str, **parameters: Any) -> list[dict[str, Any]]:
    """One statement by the role that sees every session; rows by column name."""

    def run() -> list[dict[str, Any]]:
        session = Connection(system.database.server.url(), application="looking on", timeouts=Timeouts())
        try:
            columns, rows, _ = session.execute(sql, parameters)
            return [dict(zip(columns, row, strict=True)) for row in rows]
        finally:
            session.close()

    return await asyncio.to_thread(run)


async def on_nodes(system: System) -> dict[str, list[dict[str, Any]]]:
    """What the real nodes hold, by client: whatever each of them lists, applied to Xray or not; in the order of the nodes."""
    held: dict[str, list[dict[str, Any]]] = {}
    for node in system.nodes:
        async with NodeCaller(node.url, node.key, trust=node.trust) as caller:
            for client, user in (await caller.users()).items():
                held.setdefault(client, []).append(user)
    return held


def said(customer: Customer, words: str) -> list[str]:
    """The bot's messages to the customer that hold these words."""
    return [text_of(message) for message in customer.user.messages if words in text_of(message)]


def keys_sent(customer: Customer) -> list[str]:
    """Key messages, those of screens left out."""
    return said(customer, "Your key is ready")


def lines(system: System, *targets: str, event: str) -> int:
    """How many log lines of this event the instances of these targets have written."""
    wanted = f'"event": "{event}"'
    return sum(
        process.log.read_text(errors="replace").count(wanted)
        for process in system.fleet.chosen(targets)
        if process.log.exists()
    )


def killed_workers(system: System) -> int:
    """How many workers the function servers say they lost to SIGKILL."""
    return sum(
        process.log.read_text(errors="replace").count("was sent SIGKILL")
        for process in system.fleet.chosen()
        if process.log.exists()
    )


async def minutes_pass(system: System, count: int = 2) -> None:
    """What heals a system by itself: time, redelivery and every sweep, minute by minute."""
    for _ in range(count):
        await system.travel(LEASE)
        await system.settled()
        for sweep in ("outbox", "payments", "activation", "expiry"):
            await system.sweep(sweep)
        await system.settled()
