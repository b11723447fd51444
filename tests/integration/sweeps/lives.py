"""A customer whose access runs on two nodes, and what is to be seen of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from lib.domain import provisioning, subscriptions
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import claim, converge, know_nodes, meet, open_order, pay, start_trial

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.settlement import Event
    from lib.domain.subscriptions import Subscription
    from tests.integration.sweeps.nodes import Network

DAY = timedelta(days=1)
OPERATOR = 900_000_001


@dataclass(frozen=True)
class Customer:
    """Anna, by her account, on two nodes that both hold her key."""

    db: Database
    network: Network
    account: int

    async def held(self) -> Subscription:
        found = await self.db.run(subscriptions.current, self.account)
        assert found is not None
        return found

    async def step(self, *, wanted: bool = True) -> None:
        """Each node is brought to what it is to hold, once."""
        await converge(self.db, self.network, await self.db.run(claim, uuid.uuid4(), 100, wanted=wanted))

    async def settle(self) -> None:
        """All there is to add and to remove."""
        await self.step(wanted=True)
        await self.step(wanted=False)

    def keys(self) -> list[set[str]]:
        """UUIDs that each node lets in."""
        return [set(node.present.values()) for node in self.network.nodes.values()]

    async def history(self) -> list[str]:
        return await self.db.run(
            lambda tx: tx.values(
                "select event || coalesce(' ' || actor_id, '') from subscription_history where event <> 'activated' order by id"
            )
        )

    async def passes(self, by: timedelta) -> None:
        await self.db.run(travel, by)

    async def link(self) -> str | None:
        return await self.db.run(provisioning.share_link, self.account)


def bought(tx: Transaction, telegram_id: int = 1, *, tariff: str = "basic", days: int = 30) -> int:
    """The account of a customer who paid for a period."""
    number = tx.value("select count(*) from orders")
    pay(tx, open_order(tx, telegram_id, tariff, days, f"life-{telegram_id}-{number}"))
    return meet(tx, telegram_id)


def order(tx: Transaction, invoice: str) -> Event:
    """Anna's order of a further month; the news that it was paid."""
    return open_order(tx, 1, "basic", 30, invoice)


async def customer(db: Database, network: Network, *, trial: bool = False) -> Customer:
    """Anna with a month, or with a trial."""
    await db.run(know_nodes, 2)
    await db.run(start_trial if trial else bought, 1)
    anna = Customer(db, network, await db.run(meet, 1))
    await anna.settle()
    held = await anna.held()
    assert anna.keys() == [{str(held.uuid)}] * 2
    return anna
