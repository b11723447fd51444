"""S4-12.trial-paid: a trial ends, or begins, while its customer pays. Whichever commits first, what was paid for is there on both nodes."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from functions.sweeps import sweep_activation, sweep_expiry
from lib.db import Database
from lib.domain import subscriptions
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import PRICES, at_the_start, know_nodes, open_order, pay, start_trial
from tests.integration.sweeps.runs import sweep_run
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lib.db import Transaction
    from lib.domain.settlement import Event
    from tests.integration.sweeps.nodes import Network

_TRIAL = timedelta(hours=PRICES.trial.hours)
_MONTH = timedelta(days=30)
_SECOND = timedelta(seconds=1)
_HELD_S = 60
_FACTS = """
select s.id, s.status, cast(s.uuid as text) as uuid, s.expires_at, coalesce(a.trial_used_at is not null, false) as had_trial,
       (select array_agg(h.event || ' ' || h.source order by h.id) from subscription_history h
        where h.subscription_id = s.id and h.event <> 'activated') as history,
       (select count(distinct h.uuid) from subscription_history h where h.subscription_id = s.id) as uuids,
       (select count(*) from payments p where p.account_id = a.id) as payments,
       (select count(*) from messages m where m.account_id = a.id and m.kind = 'expired') as told
from accounts a join subscriptions s on s.account_id = a.id where a.telegram_id = :person
"""


@dataclass(frozen=True)
class Facts:
    """What became of a customer."""

    id: int
    status: str
    uuid: str | None
    expires_at: datetime
    had_trial: bool
    history: list[str]
    uuids: int
    payments: int
    told: int


@dataclass
class Shop:
    """Two nodes, and processes that share nothing but Postgres: one ends access, the others are told of payments."""

    ends: Database
    pays: list[Database]
    network: Network

    async def facts(self, person: int) -> Facts:
        return await self.ends.run(lambda tx: tx.one(Facts, _FACTS, person=person))

    async def settle(self) -> None:
        """Each sweep runs as often as a customer may have to wait for it."""
        for _ in range(2):
            await self.ends.run(travel, timedelta(seconds=61))
            await sweep_expiry._work(sweep_run(self.ends, "expiry"))
            await sweep_activation._work(sweep_run(self.ends, "activation"))

    async def let_in(self, people: list[Facts]) -> None:
        """Both nodes hold these, each under the one UUID and until the end that Postgres has, and no others."""
        for number in (1, 2):
            node = self.network[number]
            assert node.present == {str(one.id): one.uuid for one in people}
            assert node.ends == {str(one.id): int(one.expires_at.timestamp() * 1000) for one in people}


@pytest.fixture
async def shop(functions_url: str, two_nodes: Network) -> AsyncIterator[Shop]:
    """Without the guards: what waits for a row here is the transaction that production has."""
    made = [Database(functions_url, connections=6, application=name, guards=False) for name in ("end", "one", "two")]
    await at_the_start(made)
    await made[0].run(know_nodes, 2)
    yield Shop(made[0], made[1:], two_nodes)
    for one in made:
        await one.close()


def _now(tx: Transaction) -> datetime:
    return subscriptions.now(tx)


def _waits(tx: Transaction) -> bool:
    return bool(
        tx.value(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
    )


def _is_right(one: Facts, paid_from: datetime, trial_until: datetime) -> None:
    """Paid before the end: the month follows the trial under its key. Paid after it: a month from then, under a new key."""
    assert (one.status, one.payments) == ("active", 1)
    assert one.had_trial
    if one.history == ["granted trial", "extended payment"]:
        assert (one.uuids, one.told) == (1, 0)
        assert one.expires_at >= trial_until + _MONTH
    else:
        assert one.history == ["granted trial", "expired trial", "granted payment"]
        assert (one.uuids, one.told) == (2, 1)
    assert one.expires_at >= paid_from + _MONTH


async def _trial_with_an_order(shop: Shop, people: range) -> list[Event]:
    for person in people:
        await shop.ends.run(start_trial, person)
    await shop.settle()
    await shop.ends.run(travel, _TRIAL - timedelta(seconds=61 * 2) - _SECOND)
    return [await shop.ends.run(open_order, person, "basic", 30, f"i{person}") for person in people]


@pytest.mark.proves("S4-12.trial-paid")
@pytest.mark.parametrize("first", ["end", "payment"])
async def test_one_of_the_two_is_under_way_when_the_other_comes(shop: Shop, first: str) -> None:
    """The one that comes waits for the other, or passes it over, and goes by what the other left."""
    (event,) = await _trial_with_an_order(shop, range(1, 2))
    before = await shop.facts(1)
    reached, go_on = threading.Event(), threading.Event()

    def held(tx: Transaction) -> None:
        """It has its rows and has done its work, and is about to commit."""
        if first == "end":
            assert subscriptions.expire(tx, 10, "t").count == 1
        else:
            assert pay(tx, event).outcome == "settled"
        reached.set()
        assert go_on.wait(_HELD_S)

    async def end() -> None:
        await shop.ends.run(subscriptions.expire, 10, "t")

    async def other() -> None:
        await (end() if first == "payment" else shop.pays[1].run(pay, event))

    if first == "end":
        await shop.ends.run(travel, 2 * _SECOND)  # the trial is over when the first of the two begins, or it is not yet
    paid_from = await shop.ends.run(_now)
    holding = asyncio.create_task((shop.ends if first == "end" else shop.pays[0]).run(held))
    assert await asyncio.to_thread(reached.wait, _HELD_S)
    if first == "payment":
        await shop.pays[1].run(travel, 2 * _SECOND)
    coming = asyncio.create_task(other())

    async def has_come() -> bool:
        return coming.done() or await shop.pays[1].run(_waits)

    await until(has_come, "the other passes it over, or waits for it")
    go_on.set()
    await asyncio.gather(holding, coming)
    await end()
    after = await shop.facts(1)
    _is_right(after, paid_from, before.expires_at)
    assert (after.uuids == 1) == (first == "payment")
    await shop.settle()
    await shop.let_in([await shop.facts(1)])


@pytest.mark.proves("S4-12.trial-paid")
async def test_many_trials_end_while_all_of_them_are_paid_for(shop: Shop) -> None:
    """Two sweeps, each payment told by the webhook and found by the sweep of payments; trials that begin meanwhile too."""
    ending, beginning = range(1, 17), range(17, 25)
    events = await _trial_with_an_order(shop, ending)
    events += [await shop.ends.run(open_order, person, "basic", 30, f"i{person}") for person in beginning]
    trials = {person: (await shop.facts(person)).expires_at for person in ending}
    await shop.ends.run(travel, 2 * _SECOND)
    paid_from = await shop.ends.run(_now)

    async def ends(db: Database) -> None:
        while (await db.run(subscriptions.expire, 3, "t")).count:
            pass

    gate = asyncio.Semaphore(12)

    async def pays(event: Event) -> None:
        async with gate:
            await asyncio.gather(*(db.run(pay, event) for db in shop.pays))

    await asyncio.gather(
        ends(shop.ends),
        ends(shop.pays[1]),
        *(pays(event) for event in events),
        *(shop.pays[0].run(start_trial, person) for person in beginning),
    )
    await shop.settle()
    people = {person: await shop.facts(person) for person in chain(ending, beginning)}
    for person in ending:
        _is_right(people[person], paid_from, trials[person])
    for (
        person
    ) in beginning:  # the mark and the trial are one decision with the payment: it was given before, or not at all
        one = people[person]
        assert (one.payments, one.uuids, one.told) == (1, 1, 0)
        assert one.history == (["granted trial", "extended payment"] if one.had_trial else ["granted payment"])
        assert one.expires_at >= paid_from + _MONTH + (_TRIAL if one.had_trial else timedelta(0))
    await shop.let_in(list(people.values()))
