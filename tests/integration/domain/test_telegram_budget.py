"""One budget over all instances: slots, answers first, broadcasts last (N-36). On the database's clock, moved by hand."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from lib.bot import pace
from lib.db import Database
from lib.domain import telegram_budget
from sandbox.stand_in.clock import Clock
from sandbox.telegram.calls.limits import Limits, Throttle
from sandbox.telegram.protocol.arguments import Arguments
from tests.integration.by_the_owner import by_the_owner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lib.db import Transaction
    from lib.domain.telegram_budget import Lease

_BEGAN = datetime(2027, 1, 1, 12, 0, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class DatabaseClock(Clock):
    """What the test said last: each transaction is at that moment, however slow the machine is."""

    def __init__(self, db: Database) -> None:
        super().__init__()
        self._db = db
        self.moment = _BEGAN

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        until = self.moment + timedelta(seconds=seconds)
        await asyncio.sleep(0)
        self.moment = max(self.moment, until)


def lease_at(tx: Transaction, moment: datetime, wanted: int, *, broadcast: bool = False) -> Lease:
    """A lease at that moment: the clock is this transaction's own."""
    by_the_owner(
        tx,
        f"update deployment set clock_offset = timestamptz '{moment.isoformat()}' - pg_catalog.now()",  # noqa: S608 -- a moment
    )
    return telegram_budget.lease(tx, wanted, broadcast=broadcast)


@pytest.fixture
async def instances(functions_url: str) -> AsyncIterator[list[Database]]:
    """Four, as processes have them."""
    async with AsyncExitStack() as stack:
        made = [Database(functions_url, connections=2, application=f"i{n}", guards=True) for n in range(4)]
        for database in made:
            stack.push_async_callback(database.close)
        yield made


def most_in_a_second(slots: list[datetime]) -> int:
    """Wherever the second begins."""
    return max(sum(first <= slot < first + _SECOND for slot in slots) for first in slots)


async def lease_all(instances: list[Database], *, seconds: int, kinds: tuple[bool, ...]) -> dict[bool, list[datetime]]:
    """Every 50 ms one of the instances asks for ten, of each kind; the moments of what they got."""
    got: dict[bool, list[datetime]] = {False: [], True: []}
    for step in range(20 * seconds):
        moment = _BEGAN + step * timedelta(milliseconds=50)
        for broadcast in kinds:
            given = await instances[step % 4].run(lease_at, moment, 10, broadcast=broadcast)
            got[broadcast] += [moment] * given.count
    return got


@pytest.mark.proves("N-36")
async def test_no_second_has_more_than_thirty_and_none_has_less(instances: list[Database]) -> None:
    got = (await lease_all(instances, seconds=2, kinds=(False,)))[False]
    assert most_in_a_second(got) == telegram_budget.PER_SECOND
    assert len(got) == 2 * telegram_budget.PER_SECOND


@pytest.mark.proves("N-36")
async def test_broadcasts_have_twenty_and_leave_messages_their_ten(instances: list[Database]) -> None:
    alone = (await lease_all(instances, seconds=2, kinds=(True,)))[True]
    assert most_in_a_second(alone) == telegram_budget.BROADCASTS_PER_SECOND
    assert len(alone) == 2 * telegram_budget.BROADCASTS_PER_SECOND


@pytest.mark.proves("N-36")
async def test_beside_a_broadcast_messages_have_all_that_they_ask_for(instances: list[Database]) -> None:
    got = await lease_all(instances, seconds=2, kinds=(False, True))
    assert most_in_a_second(got[False] + got[True]) <= telegram_budget.PER_SECOND
    assert len(got[False]) == 2 * telegram_budget.PER_SECOND, "who waits is served first"


def _answer(tx: Transaction, first: int, count: int, moment: datetime) -> None:
    reply = json.dumps([{"method": "sendMessage", "chat_id": 1, "text": "t"}, {"method": "answerCallbackQuery"}])
    tx.execute(
        "insert into updates (update_id, body, done_at, reply, correlation_id)"
        " select n, '', cast(:moment as timestamptz), cast(:reply as jsonb), 't' from generate_series(cast(:first as bigint), cast(:last as bigint)) n",
        moment=moment,
        reply=reply,
        first=first,
        last=first + count - 1,
    )


@pytest.mark.proves("N-36")
async def test_what_customers_were_answered_is_taken_off(instances: list[Database]) -> None:
    db = instances[0]
    await db.run(_answer, 1, 25, _BEGAN)
    soon = _BEGAN + timedelta(milliseconds=100)
    assert (await db.run(lease_at, soon, 10, broadcast=True)).count == 0
    assert (await db.run(lease_at, soon, 10)).count == 5, "the other calls of an answer are in no chat"
    refused = await db.run(lease_at, soon, 10)
    assert refused.count == 0
    assert 0 < refused.wait_s <= 1
    assert (await db.run(lease_at, _BEGAN + 1.2 * _SECOND, 10)).count == 10
    await db.run(_answer, 100, 40, _BEGAN + 1.5 * _SECOND)
    assert (await db.run(lease_at, _BEGAN + 1.6 * _SECOND, 10)).count == 0, "more than all is not less than none"


@pytest.mark.proves("N-36")
async def test_a_pause_of_the_bot_is_obeyed_by_all(instances: list[Database]) -> None:
    one, other = instances[:2]

    def close(tx: Transaction) -> bool:
        lease_at(tx, _BEGAN, 0)
        return telegram_budget.close(tx, 40, "Too Many Requests")

    assert await one.run(close)
    refused = await other.run(lease_at, _BEGAN + _SECOND, 10)
    assert refused.count == 0
    assert refused.wait_s == pytest.approx(39, abs=0.01)
    assert (await other.run(lease_at, _BEGAN + 41 * _SECOND, 10)).count == 10


class _Here:
    """`Database.run`, at the moment of the test's clock; keeps the moments of the slots that were given."""

    def __init__(self, db: Database, clock: DatabaseClock, slots: list[datetime]) -> None:
        self._db = db
        self._clock = clock
        self._slots = slots

    async def run(self, work: Callable[..., Lease], wanted: int) -> Lease:
        assert work is telegram_budget.lease
        lease = await self._db.run(lease_at, self._clock.moment, wanted)
        self._slots += [lease.now] * lease.count
        return lease


@pytest.mark.proves("N-36")
async def test_a_hundred_senders_of_four_instances_are_refused_by_no_strict_telegram(
    instances: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although each call is on its way for up to a quarter of a second, some longer than others."""
    clock = DatabaseClock(instances[0])
    monkeypatch.setattr(pace, "sleep", clock.sleep)
    slots: list[datetime] = []

    async def send(number: int) -> None:
        here = _Here(instances[number % 4], clock, slots)
        while await pace.slot(here, 3.0):  # type: ignore[arg-type]
            await clock.sleep(1.0)

    await asyncio.gather(*(send(number) for number in range(100)))
    assert len(slots) == 100
    assert most_in_a_second(slots) <= telegram_budget.PER_SECOND
    throttle = Throttle(clock, Limits())
    late = random.Random(36)  # noqa: S311 -- no secret
    for number, moment in enumerate(sorted(slot + late.random() * _SECOND / 4 for slot in slots)):
        clock.moment = moment
        throttle.check("sendMessage", Arguments({"chat_id": str(number)}))


async def test_who_would_wait_longer_than_they_may_are_told_when_to_come_back(instances: list[Database]) -> None:
    db = instances[0]
    await db.run(telegram_budget.close, 40.0, "Too Many Requests")
    told = await asyncio.gather(*(pace.slot(db, 3.0) for _ in range(5)))
    assert all(30 < seconds <= 41 for seconds in told)
    await db.run(lambda tx: tx.execute("update telegram_budget set closed_until = '-infinity'"))
    assert await pace.slot(db, 3.0) == 0.0
