"""Rows that sweeps work on, made the way the business makes them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lib.domain import accounts, inbox, orders, provisioning, trial
from lib.domain.accounts import Person
from lib.domain.settlement import Event, Money
from lib.nodes.converge import Nodes
from lib.settings import pricelist
from tests.integration.sweeps.nodes import URL
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from lib.db import Database, Transaction
    from lib.domain.provisioning import Claimed
    from lib.domain.settlement import Received
    from lib.nodes.transport import Transport
    from lib.tasks.queue import Task

PRICES = pricelist.load()


async def at_the_start(databases: list[Database]) -> None:
    """Every connection is open: a race that begins while they are being made is none."""
    await asyncio.gather(*(db.run(_linger) for db in databases for _ in range(2)))


def _linger(tx: Transaction) -> None:
    tx.value("select cast(pg_sleep(0.05) as text)")  # so that the second thread has to take the second one


def know_nodes(tx: Transaction, count: int) -> None:
    """So many nodes of a `Network`, before the first grant; their ids are 1 and up."""
    for number in range(1, count + 1):
        tx.execute(
            "insert into nodes (id, name, api_url, key_name) overriding system value"
            " values (:id, :name, :url, 'XRAY_API_KEY')",
            id=number,
            name=f"n{number}",
            url=f"http://127.0.0.{number}",
        )


def claim(tx: Transaction, me: UUID, page: int, *, wanted: bool) -> list[Claimed]:
    """A batch of each node that has something due."""
    found = (
        provisioning.claim(tx, node, me, page, wanted=wanted) for node in provisioning.nodes_due(tx, wanted=wanted)
    )
    return [one for one in found if one is not None]


async def converge(
    db: Database, transport: Transport, claims: Sequence[Claimed], operation: str = "activation"
) -> None:
    """Call and record, with a queue that takes everything."""
    nodes = Nodes(db, transport, TakingQueue(), operation)
    for claimed in claims:
        await nodes.converge(claimed)


class TakingQueue:
    """Takes every task."""

    async def create(self, _task: Task) -> bool:
        return True


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
    opened = orders.open_subscription(
        tx,
        meet(tx, telegram_id),
        tariff=tariff,
        period_days=days,
        quote=at_list_price(PRICES, tariff, days),
        provider="cryptobot",
        minutes=30,
    )
    order = orders.attach_invoice(tx, opened.order.id, invoice, "https://pay.example/1")
    money = Money(order.price, "RUB", order.invoice_id or "", order.purchase_id)
    return Event("cryptobot", money.invoice_id, b"{}", "webhook", "t", money)


def pay(tx: Transaction, event: Event) -> Received:
    """As the webhook does; its key is in the first statement."""
    return inbox.receive(tx, event, PRICES)
