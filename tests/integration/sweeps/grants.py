"""Rows that sweeps work on, made the way the business makes them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lib.domain import accounts, inbox, orders, provisioning, trial
from lib.domain.accounts import Person
from lib.domain.settlement import Event, Money
from lib.settings import pricelist
from tests.integration.sweeps.nodes import URL

if TYPE_CHECKING:
    from datetime import timedelta

    from lib.db import Database, Transaction
    from lib.domain.settlement import Received

PRICES = pricelist.load()


async def at_the_start(databases: list[Database]) -> None:
    """Every connection is open: a race that begins while they are being made is none."""
    await asyncio.gather(*(db.run(_linger) for db in databases for _ in range(2)))


def _linger(tx: Transaction) -> None:
    tx.value("select cast(pg_sleep(0.05) as text)")  # so that the second thread has to take the second one


def know_the_node(tx: Transaction) -> None:
    """The one node, before the first grant."""
    provisioning.ensure_first_node(tx, URL, "XRAY_API_KEY")


def meet(tx: Transaction, telegram_id: int) -> int:
    """The person's account id."""
    return accounts.meet(tx, Person(telegram_id, "Anna", None, "en")).id


def start_trial(tx: Transaction, telegram_id: int) -> trial.Started | trial.Refusal:
    """As the button does."""
    return trial.start(tx, meet(tx, telegram_id), PRICES.trial, "t")


def start_trials(tx: Transaction, first: int, count: int) -> int:
    """So many new people with a trial each; how many began."""
    return sum(isinstance(start_trial(tx, first + n), trial.Started) for n in range(count))


def open_order(tx: Transaction, telegram_id: int, tariff: str, days: int, invoice: str) -> Event:
    """An order with its invoice; the event that says it was paid."""
    price = PRICES.price(tariff, days)
    opened = orders.open_subscription(
        tx,
        meet(tx, telegram_id),
        tariff=tariff,
        period_days=days,
        price=price,
        currency="RUB",
        provider="cryptobot",
        minutes=30,
    )
    order = orders.attach_invoice(tx, opened.order.id, invoice, "https://pay.example/1")
    money = Money(order.price, "RUB", order.invoice_id or "", order.purchase_id)
    return Event("cryptobot", money.invoice_id, b"{}", "webhook", "t", money)


def pay(tx: Transaction, event: Event) -> Received:
    """As the webhook does; its key is in the first statement."""
    return inbox.receive(tx, event, PRICES)


def travel(tx: Transaction, by: timedelta) -> None:
    """Time passes."""
    tx.execute("update deployment set clock_offset = clock_offset + make_interval(secs => :s)", s=by.total_seconds())
