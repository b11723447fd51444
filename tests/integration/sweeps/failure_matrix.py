"""The failure matrix (S3-7): a shop on two nodes, one cause that comes and goes, and what must hold of every row.

A row is one test. It takes a shop, lets its cause begin, lets customers buy, renew and end meanwhile, ends the cause and calls
`healed`. What is asked of all rows is asked here, once:

- no UUID leak: a node was told no UUID but those of its subscription's history, and no line or row that people read holds one;
- no access without a row, no row without access;
- at most three calls to nodes a minute for one subscription (a call, with its attempts inside it);
- all of it so within `SWEEPS` minutes once the cause is gone, every breaker closed and no work left.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from functions.sweeps import sweep_activation, sweep_expiry
from functions.tasks import task_provision
from lib.domain import subscriptions, trial
from lib.nodes.client import NodeClient
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import PRICES, know_nodes, meet, open_order, pay
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import pytest

    from lib.db import Database, Transaction
    from lib.domain.provisioning import Dropped, Work
    from lib.nodes.client import Said
    from lib.sweeps.runner import Run
    from tests.integration.sweeps.nodes import Network, RememberingNode

SWEEPS = 2
"""Runs of every sweep after which all is well again, unless a row says more."""
MOST_CALLS = 3
"""To nodes, a minute, for one subscription."""
STAYS, RENEWS, ENDS, BUYS, COMES = 1, 2, 3, 4, 5
"""Two with a month, one whose trial ends in the second minute, one who buys while the cause lasts, and one who may come."""
_TRIAL = timedelta(hours=72)
_SECRET = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|vless://")

_UUIDS = "select cast(uuid as text) from subscription_history where subscription_id = :id and uuid is not null"
_HELD = """
select coalesce(jsonb_object_agg(c.subscription_id, c.uuid), '{}') from node_clients c where c.node_id = :node and c.wanted
"""
_CONFIRMED = """
select coalesce(jsonb_object_agg(c.subscription_id, c.uuid), '{}') from node_clients c
where c.node_id = :node and c.wanted and c.applied_version = c.version
"""
_CONFIRMED_PEOPLE = """
select a.telegram_id from node_clients c join subscriptions s on s.id = c.subscription_id join accounts a on a.id = s.account_id
where c.node_id = :node and c.wanted and c.applied_version = c.version order by a.telegram_id
"""
_LEAVING_PEOPLE = """
select a.telegram_id from node_clients c join subscriptions s on s.id = c.subscription_id join accounts a on a.id = s.account_id
where c.node_id = :node and not c.wanted order by a.telegram_id
"""
_LEFT = """
select 'work for ' || target from outbox where queue = 'nodes' and done_at is null
union all
select 'pending ' || id from subscriptions where activation_status = 'pending'
union all
select 'breaker of ' || name from nodes where open_until is not null or failures > 0 or probing_by is not null
union all
select 'lost ' || name from nodes where lost_since is not null
union all
select 'trouble of ' || name from nodes where trouble is not null
union all
select 'to tell ' || node_id || ' of ' || subscription_id from node_clients where not wanted or applied_version is distinct from version
"""
_SAID = "select last_error from node_clients where last_error is not null"
TASKS = "select jsonb_build_object('outbox_id', id, 'subscription_id', cast(payload ->> 'subscription_id' as bigint)) from outbox where target = 'task_provision' and done_at is null order by id"


async def _activate(run: Run) -> None:
    await sweep_activation._work(run)  # as the scheduler has it, without its lock


async def _expire(run: Run) -> None:
    await sweep_expiry._work(run)


@dataclass
class Shop:
    """Two nodes, their customers, and the minutes that pass.

    Attributes:
        sweeps: what runs each minute, by name; a row may add its own.
        calls: of the minute that runs, how often nodes were called for each subscription.
        most: the most of any minute so far, by subscription.
        addresses: of the two nodes, where they are not those of a `Network`.
        requests: how many reached each node in each minute so far, attempts one by one, looks included.
    """

    db: Database
    network: Network
    caplog: pytest.LogCaptureFixture
    sweeps: dict[str, Callable[[Run], Awaitable[None]]] = field(
        default_factory=lambda: {"expiry": _expire, "activation": _activate}
    )
    calls: Counter[int] = field(default_factory=Counter)
    most: Counter[int] = field(default_factory=Counter)
    addresses: tuple[str, ...] = ()
    requests: dict[int, list[int]] = field(default_factory=lambda: {1: [], 2: []})

    def node(self, number: int) -> RememberingNode:
        """The first or the second."""
        return self.network[number]

    def count_calls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on."""
        apply = NodeClient.apply

        async def counted(client: NodeClient, works: Sequence[Work], acknowledged: Sequence[Dropped] = ()) -> Said:
            self.calls.update(work.subscription_id for work in works)
            return await apply(client, works, acknowledged)

        monkeypatch.setattr(NodeClient, "apply", counted)

    async def open(self) -> None:
        """Customers are there and applied on both nodes; one's trial ends in the second minute from now."""
        await self.db.run(know_nodes, 2)
        for number, address in enumerate(self.addresses, 1):
            await self.db.run(_move, number, address)
        await self.db.run(_begin_trial, ENDS)
        await self.db.run(travel, _TRIAL - timedelta(seconds=90))
        for person in (STAYS, RENEWS):
            await self.buy(person, "before")
        await self.minute()
        await self.healed(within=0)

    async def buy(self, person: int, once: str) -> None:
        """They pay for a month, and its task runs."""
        event = await self.db.run(open_order, person, "basic", 30, f"{person}-{once}")
        await self.db.run(pay, event)
        await self.provision()

    async def try_out(self, person: int) -> None:
        """They begin a trial of 72 h, and its task runs."""
        await self.db.run(_begin_trial, person)
        await self.provision()

    async def pass_by(self, time: timedelta) -> None:
        """So long; no sweep runs in it."""
        self._close_minute()
        await self.db.run(travel, time)

    async def provision(self) -> None:
        """Every task that is due, as the queue brings it."""
        for body in await self.db.run(lambda tx: tx.values(TASKS)):
            await task_provision._provision(body)  # as the queue has it, without its envelope

    async def minute(self) -> list[Run]:
        """A minute passes, and each sweep runs once."""
        self._close_minute()
        await self.db.run(travel, timedelta(seconds=60))
        runs = []
        for name, work in self.sweeps.items():
            runs.append(sweep_run(self.db, name))
            await work(runs[-1])
        await self.provision()
        return runs

    async def live_on(self, minutes: int = 3) -> None:
        """While a cause lasts: one renews, one comes, one ends; nothing of it leaks, and those who pay are let in somewhere."""
        await self.buy(RENEWS, "meanwhile")
        await self.buy(BUYS, "meanwhile")
        for _ in range(minutes):
            await self.minute()
            await self.leaks_nothing()

    async def let_in(self, person: int) -> list[int]:
        """The nodes that let them in, under the UUID that is theirs."""
        await self.network.look()
        uuid = await self.db.run(_uuid, person)
        found = [number for number in (1, 2) if uuid in self.network[number].present.values()]
        return found if uuid is not None else []

    async def confirmed_by(self, number: int) -> list[int]:
        """Whose client that node has confirmed as it is wanted now, by what Postgres was told."""
        return await self.db.run(lambda tx: tx.values(_CONFIRMED_PEOPLE, node=number))

    async def to_leave(self, number: int) -> list[int]:
        """Whose client that node has not confirmed to be gone."""
        return await self.db.run(lambda tx: tx.values(_LEAVING_PEOPLE, node=number))

    async def healed(self, within: int = SWEEPS) -> None:
        """The cause is gone: after so many sweeps, all is as if it had never been."""
        for _ in range(within):
            await self.minute()
        self._close_minute()
        assert await self.db.run(lambda tx: tx.values(_LEFT)) == []
        await self.network.look()
        for number in (1, 2):
            held = await self.db.run(_of_node, _HELD, number)
            assert self.network[number].present == held, f"access without row, or row without access, on node {number}"
            assert await self.db.run(_of_node, _CONFIRMED, number) == held
        await self.leaks_nothing()
        assert max(self.most.values(), default=0) <= MOST_CALLS, "calls to nodes a minute for one subscription"

    async def leaks_nothing(self) -> None:
        """Nodes were told UUIDs of their subscription's history alone, and what people read holds none of them."""
        for number in (1, 2):
            for client, told in self.network[number].uuids.items():
                known = await self.db.run(_uuids, int(client))
                assert set(told) <= known, "a UUID that no grant made"
        written = await self.db.run(lambda tx: tx.values(_SAID))
        written += [f"{record.getMessage()} {vars(record).get('fields')}" for record in self.caplog.records]
        assert [line for line in written if _SECRET.search(line)] == []

    def events(self, level: str) -> list[str]:
        """Names of the lines of that level so far."""
        return [record.getMessage() for record in self.caplog.records if record.levelname == level]

    def _close_minute(self) -> None:
        for subscription, count in self.calls.items():
            self.most[subscription] = max(self.most[subscription], count)
        self.calls.clear()
        for number, counts in self.requests.items():
            counts.append(self.network[number].calls - sum(counts))


def _move(tx: Transaction, node: int, address: str) -> None:
    tx.execute("update nodes set api_url = :address where id = :node", node=node, address=address)


def _begin_trial(tx: Transaction, person: int) -> None:
    trial.start(tx, meet(tx, person), PRICES.trial, "t")


def _uuid(tx: Transaction, person: int) -> str | None:
    held = subscriptions.current(tx, meet(tx, person))
    return str(held.uuid) if held is not None and held.uuid is not None else None


def _uuids(tx: Transaction, subscription_id: int) -> set[str]:
    return set(tx.values(_UUIDS, id=subscription_id))


def _of_node(tx: Transaction, statement: str, node: int) -> dict[str, Any]:
    found: dict[str, Any] = tx.value(statement, node=node)
    return found
