"""Everything that touches one account's access, at once and at random, on real Postgres (S1-1)."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lib.db import Database
from lib.domain import accounts, provisioning, subscriptions
from lib.domain.provisioning import LEASE_S
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import (
    at_the_start,
    claim,
    converge,
    know_the_node,
    meet,
    open_order,
    pay,
    start_trial,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lib.db import Transaction
    from tests.integration.sweeps.nodes import RememberingNode

_PEOPLE = (1, 2, 3)
_SECONDS = 4.0
_PATIENCE_S = 30.0
_KINDS = 7
_WANTED = """
select count(*) from (
    select c.subscription_id from node_clients c join subscriptions s on s.id = c.subscription_id where c.wanted
    group by c.subscription_id, s.uuid having count(distinct c.uuid) > 1 or bool_or(c.uuid is distinct from s.uuid)
) torn
"""
# Between two grants of a new UUID to one subscription its end must lie; a UUID never comes back, nor changes hands.
_GRANTS_WITHOUT_END = """
select count(*) from (
    select event, lag(event) over (partition by subscription_id order by id) as before
    from subscription_history where event in ('granted', 'expired')
) h where event = 'granted' and before = 'granted'
"""
_EXTENDED_UNDER_ANOTHER_UUID = """
select count(*) from (
    select event, uuid, lag(uuid) over (partition by subscription_id order by id) as before from subscription_history
) h where event <> 'granted' and uuid is distinct from before
"""


class Life:
    """What may happen to a customer, each through the transaction that the business runs."""

    def __init__(self, databases: list[Database], node: RememberingNode, dice: random.Random) -> None:
        self._databases = databases
        self._node = node
        self._dice = dice
        self._invoices = 0
        self.done: dict[str, int] = {}

    async def pays(self) -> None:
        self._invoices += 1
        event = await self._db.run(
            open_order,
            self._who,
            self._dice.choice(("basic", "plus")),
            self._dice.choice((30, 90)),
            f"i{self._invoices}",
        )
        await asyncio.gather(*(self._db.run(pay, event) for _ in range(2)))

    async def takes_the_trial(self) -> None:
        await self._db.run(start_trial, self._who)

    async def is_given_a_day(self) -> None:
        def give(tx: Transaction, telegram_id: int) -> None:
            account = meet(tx, telegram_id)
            tx.value("select id from accounts where id = :id for no key update", id=account)
            subscriptions.grant(tx, account, tariff="basic", seconds=86_400, source="admin", actor_id=1)

        await self._db.run(give, self._who)

    async def ends(self) -> None:
        await self._db.run(subscriptions.expire, 2, "t")

    async def is_brought_to_the_node(self) -> None:
        await self._db.run(provisioning.place, subscription_id=None, page=10)
        await converge(self._db, self._node, await self._db.run(claim, uuid.uuid4(), 2, wanted=True))

    async def is_taken_from_the_node(self) -> None:
        await converge(self._db, self._node, await self._db.run(claim, uuid.uuid4(), 2, wanted=False), "expiry")

    async def grows_older(self) -> None:
        await self._db.run(travel, timedelta(days=self._dice.choice((0, 1, 3, 40))) + timedelta(seconds=LEASE_S))

    @property
    def _db(self) -> Database:
        return self._dice.choice(self._databases)

    @property
    def _who(self) -> int:
        return self._dice.choice(_PEOPLE)

    def is_over(self, until: float) -> bool:
        """Some seconds have passed, and everything has happened several times (a loaded machine needs longer)."""
        now = time.monotonic()
        assert now < until + _PATIENCE_S, self.done
        return now >= until and len(self.done) == _KINDS and min(self.done.values()) > 3

    async def goes_on(self, until: float) -> None:
        events: list[Callable[[], Awaitable[None]]] = [
            self.pays,
            self.takes_the_trial,
            self.is_given_a_day,
            self.ends,
            self.ends,
            self.is_brought_to_the_node,
            self.is_taken_from_the_node,
            self.grows_older,
        ]
        while not self.is_over(until):
            event = self._dice.choice(events)
            await event()
            self.done[event.__name__] = self.done.get(event.__name__, 0) + 1


async def _watch(watcher: Database, life: Life, until: float) -> int:
    """Look at every moment of the race: is a subscription ever wanted under two UUIDs, or another than its own?"""
    looks = 0
    while not life.is_over(until):
        assert await watcher.run(lambda tx: tx.value(_WANTED)) == 0
        looks += 1
    return looks


@pytest.mark.proves("S1-1")
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.full), pytest.param(3, marks=pytest.mark.full)])
async def test_at_most_one_uuid_is_wanted_whatever_races(
    database_url: str, processes: Callable[..., list[Database]], node: RememberingNode, seed: int
) -> None:
    databases = processes(3)
    await at_the_start(databases)
    watcher = Database(database_url, connections=1, application="watcher", guards=False)
    await databases[0].run(know_the_node)
    life = Life(databases, node, random.Random(seed))  # noqa: S311 -- reproducible, not a secret
    until = time.monotonic() + _SECONDS
    async with asyncio.TaskGroup() as race:
        watching = race.create_task(_watch(watcher, life, until))
        for _ in range(5):
            race.create_task(life.goes_on(until))
    assert watching.result() > 10
    assert await watcher.run(lambda tx: tx.value(_GRANTS_WITHOUT_END)) == 0
    assert await watcher.run(lambda tx: tx.value(_EXTENDED_UNDER_ANOTHER_UUID)) == 0
    # the dust settles: the node holds each running access once, under the UUID that Postgres wants, and no other client
    for _ in range(3):
        await watcher.run(travel, timedelta(seconds=400))
        await life.ends()
        for _ in _PEOPLE:
            await life.is_brought_to_the_node()
            await life.is_taken_from_the_node()
    wanted = await watcher.run(
        lambda tx: tx.value("select jsonb_object_agg(id, uuid) from subscriptions where uuid is not null")
    )
    assert node.present == (wanted or {})
    assert len(await watcher.run(lambda tx: tx.values("select id from accounts"))) == len(_PEOPLE)
    await watcher.close()


@pytest.mark.proves("S1-1")
async def test_first_grants_at_once_make_one_uuid(processes: Callable[[int], list[Database]]) -> None:
    databases = processes(4)
    await at_the_start(databases)
    await databases[0].run(know_the_node)
    for person in range(10, 16):
        events = [await databases[0].run(open_order, person, "basic", days, f"{person}-{days}") for days in (30, 90)]
        await asyncio.gather(
            *(db.run(pay, event) for db in databases for event in events),
            *(db.run(start_trial, person) for db in databases),
        )
        found = await databases[0].run(_uuids_of, person)
        assert len(set(found)) == 1, found
        assert len(found) >= 2


def _uuids_of(tx: Transaction, telegram_id: int) -> list[uuid.UUID]:
    account = accounts.meet(tx, accounts.Person(telegram_id, "Anna", None, "en")).id
    return tx.values(
        "select h.uuid from subscription_history h join subscriptions s on s.id = h.subscription_id where s.account_id = :id",
        id=account,
    )


@pytest.mark.proves("S1-1")
async def test_a_grant_that_waits_for_an_expiry_begins_anew(functions_url: str) -> None:
    """Found by the race above: the end commits while the grant waits for the row; what it read before is no longer so."""
    # without the injected first failure: the very first end is the one that the grant waits for
    databases = [Database(functions_url, connections=2, application=name, guards=False) for name in ("end", "grant")]
    await at_the_start(databases)
    await databases[0].run(know_the_node)
    await databases[0].run(start_trial, 1)
    account = await databases[0].run(meet, 1)
    old = await databases[0].run(subscriptions.current, account)
    await databases[0].run(travel, timedelta(hours=72))
    half_way, go_on, ended, commit = (threading.Event() for _ in range(4))

    def end(tx: Transaction) -> None:
        assert subscriptions.expire(tx, 10, "t").count
        ended.set()
        commit.wait(10)

    def give(tx: Transaction) -> subscriptions.Grant:
        """Between the grant's two statements the access ends."""
        one = tx.one

        def later(*arguments: Any, **parameters: Any) -> Any:
            half_way.set()
            go_on.wait(10)
            return one(*arguments, **parameters)

        tx.one = later  # type: ignore[method-assign] # this transaction alone is held
        return subscriptions.grant(tx, account, tariff="basic", seconds=3600, source="admin", actor_id=1)

    def is_waiting(tx: Transaction) -> bool:
        return bool(tx.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"))

    granting = asyncio.create_task(databases[1].run(give))
    assert await asyncio.to_thread(half_way.wait, 10)
    ending = asyncio.create_task(databases[0].run(end))
    assert await asyncio.to_thread(ended.wait, 10)
    go_on.set()
    async with asyncio.timeout(10):
        while not await databases[1].run(is_waiting):
            await asyncio.sleep(0)
    commit.set()
    await ending
    grant = await granting
    for database in databases:
        await database.close()
    assert old is not None
    assert (grant.renewed, grant.activation_status) == (False, "pending")
    assert grant.uuid is not None
    assert grant.uuid != old.uuid
