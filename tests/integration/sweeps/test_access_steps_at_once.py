"""Two things happen to one customer's access at once: what is left is what one of them after the other leaves.

The first one is held before one of its statements, with the time at which it began, while the second one runs to its end or into a
lock.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest

from lib.db import Database
from lib.db.transaction import Transaction
from lib.domain import subscriptions
from tests import order
from tests.integration.sweeps.access_steps import STARTS, STEPS, Lived, Nodes
from tests.integration.sweeps.grants import at_the_start, know_nodes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from tests.model.access import Access

T = TypeVar("T")

_WAITS = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name = 'second' and wait_event_type = 'Lock'
"""
_PASSES_OVER = frozenset({"renews", "sweeps"})
"""They leave alone what another is at work on: the next run looks again."""
_NOTHING = timedelta()
_ROUNDED = timedelta(minutes=1)


class _Gate:
    """Where the first one stands."""

    def __init__(self, at: int) -> None:
        self.at, self.sent = at, 0
        self.reached, self.go = threading.Event(), threading.Event()


class _Holding(Transaction):
    """The transaction of `tx`, which waits before its statement number `gate.at`, from 1."""

    def __init__(self, tx: Transaction, gate: _Gate) -> None:
        super().__init__(tx._connection, tx._cancelled, tx.name)
        self._gate = gate

    def _send(self, sql: str, how: Callable[[], T]) -> T:
        self._gate.sent += 1
        if self._gate.sent == self._gate.at:
            self._gate.reached.set()
            self._gate.go.wait(60)
        return super()._send(sql, how)


@dataclass(frozen=True)
class _Became:
    """What is to be seen of the access."""

    said: tuple[str, str]
    status: str
    tariff: str
    keys: int
    has_key: bool
    left: timedelta
    at: datetime

    def is_what(self, model: Access, said: tuple[str, str], began: datetime) -> bool:
        """Whether the model says so, as far as it can know when each of them happened."""
        passed = self.at - began
        model = model.passes(passed)
        seen = (self.said, self.status, self.tariff, self.keys, self.has_key)
        told = (said, model.status, model.tariff, model.keys, bool(model.key))
        return seen == told and abs(self.left - model.left) <= passed + _ROUNDED


_KEYS = "select count(distinct h.uuid) from subscription_history h where h.subscription_id = :id"


def _became(tx: Transaction, of: Lived, said: tuple[str, str]) -> _Became:
    held, at = subscriptions.current(tx, of.account), subscriptions.now(tx)
    if held is None:
        return _Became(said, "none", "", 0, has_key=False, left=_NOTHING, at=at)
    left = max(held.expires_at - (held.frozen_until or at), _NOTHING) if held.status != "expired" else _NOTHING
    keys = tx.value(_KEYS, id=held.id)
    return _Became(said, held.status, held.tariff, keys, has_key=held.uuid is not None, left=left, at=at)


def _begun(tx: Transaction, telegram_id: int, start: str) -> tuple[Lived, datetime]:
    one = Lived.begin(tx, telegram_id)
    for step in STARTS[start]:
        one.lives(step)
    return one, subscriptions.now(tx)


def _serial(of: Lived, first: str, second: str) -> list[tuple[tuple[str, str], Access]]:
    """What each said and what was left, of one after the other either way, and of one that passed over what the other was at."""

    def led(*steps: str) -> tuple[list[str], Access]:
        one, said = of.as_it_is(), []
        for step in steps:
            told, one.model = STEPS[step].told(one)
            said.append(told)
        return said, one.model

    nothing = {"renews": "nothing", "sweeps": "done"}
    (one, other), model = led(first, second)
    found = [((one, other), model)]
    (other, one), model = led(second, first)
    found.append(((one, other), model))
    if second in _PASSES_OVER:
        (one,), model = led(first)
        found.append(((one, nothing[second]), model))
    if first in _PASSES_OVER:
        (other,), model = led(second)
        found.append(((nothing[first], other), model))
    return found


class _Race:
    """Two processes, and who looks on."""

    def __init__(self, first: Database, second: Database) -> None:
        self._first, self._second = first, second
        self._customers = itertools.count(1)
        self.wrong: list[str] = []

    async def of(self, start: str, first: str, second: str, at: int) -> bool:
        """The first one held before that statement; False when it has not so many."""
        one, began = await self._second.run(_begun, next(self._customers), start)
        gate = _Gate(at)
        begun = asyncio.create_task(self._first.run(lambda tx: _done(_Holding(tx, gate), one, first)))
        while not (gate.reached.is_set() or begun.done()):
            await asyncio.sleep(0)
        other = asyncio.create_task(self._second.run(lambda tx: _done(tx, one, second)))
        while not (other.done() or await self._first.run(lambda tx: tx.value(_WAITS))):
            await asyncio.sleep(0)
        gate.go.set()
        said = (await begun, await other)
        became = await self._second.run(_became, one, said)
        expected = _serial(one, first, second)
        if not any(became.is_what(model, told, began) for told, model in expected):
            self.wrong.append(f"{start}: {first} before its statement {at}, {second}: {became}; {expected}")
        return gate.reached.is_set()

    async def is_over(self) -> None:
        """Nodes are brought to what is left, and hold each running access's key and no other."""
        assert self.wrong == []
        nodes = Nodes({})
        await self._first.run(nodes.converge, 100_000)
        keys = await self._first.run(lambda tx: tx.values("select uuid from subscriptions where status = 'active'"))
        assert [sorted(nodes.present(node)) for node in (1, 2)] == [sorted(keys)] * 2


def _done(tx: Transaction, one: Lived, step: str) -> str:
    return replace(one, tx=tx).done(step)


@pytest.fixture
async def race(functions_url: str) -> AsyncIterator[_Race]:
    """Two nodes, and two processes without the guards: what races here is what races in production."""
    first, second = (
        Database(functions_url, connections=2, application=name, guards=False) for name in ("first", "second")
    )
    await at_the_start([first, second])
    await first.run(know_nodes, 2)
    yield _Race(first, second)
    for one in (first, second):
        await one.close()


def _pairs() -> list[tuple[str, str, str]]:
    return list(itertools.product(STARTS, STEPS, STEPS))


@pytest.mark.proves("N-37")
async def test_two_at_once_leave_what_one_order_of_them_leaves(race: _Race) -> None:
    """A few pairs of all, others each time, the first one held at one of its statements."""
    dice = random.Random(order.seed())  # noqa: S311 -- reproducible, not a secret
    for start, first, second in dice.sample(_pairs(), 25):
        await race.of(start, first, second, dice.choice((2, 3, 5, 8)))
    await race.is_over()


@pytest.mark.full
@pytest.mark.proves("N-37")
@pytest.mark.parametrize("start", ["a month", "two tariffs", "frozen", "about to end", "over, not swept", "banned"])
async def test_each_pair_at_its_beginning_and_further_on(race: _Race, start: str) -> None:
    """The first one has its time, and nothing else yet; or it is at one of its later statements."""
    dice = random.Random(start)  # noqa: S311 -- reproducible, not a secret
    for first, second in itertools.product(STEPS, repeat=2):
        await race.of(start, first, second, dice.choice((2, 2, 3, 5, 8)))
    await race.is_over()
