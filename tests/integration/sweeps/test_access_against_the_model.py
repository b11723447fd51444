"""Whatever happens to access, in whatever order: who has it until when is what the model says (tests/model/access.py)."""

from __future__ import annotations

import itertools
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from lib.db import Database, StatementFailed
from lib.db.invariants import queries
from tests import order
from tests.integration.sweeps.access_steps import DAYS, STARTS, STEPS, Lived, StepOrTime
from tests.integration.sweeps.grants import know_nodes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from lib.db import Transaction


@pytest.fixture
async def db(functions_url: str) -> AsyncIterator[Database]:
    """One connection, without the guards: all of a test is one transaction."""
    assert queries()  # read before it
    database = Database(functions_url, connections=1, application="test", guards=False)
    yield database
    await database.close()


class _Undo(RuntimeError):
    """Undoes what was tried under the savepoint."""


def _tried(tx: Transaction, start: str, orders: Iterable[tuple[StepOrTime, ...]]) -> list[str]:
    """Each of these orders of steps from one start, and all of it undone; those that came out otherwise than the model says."""
    wrong: list[str] = []
    with suppress(_Undo), tx.savepoint("start"):
        know_nodes(tx, 2)
        one = Lived.begin(tx)
        for step in STARTS[start]:
            one.lives(step)
        one.settles()
        for steps in orders:
            try:
                with tx.savepoint("customer"):
                    wrong += _led(one.as_it_is(), steps)
                    raise _Undo
            except _Undo:
                continue
            except StatementFailed as error:
                wrong.append(f"{steps}: {error}")
        raise _Undo
    return wrong


def _led(one: Lived, steps: tuple[StepOrTime, ...]) -> list[str]:
    try:
        for step in steps:
            one.lives(step)
        one.settles()
        one.lives_on()
        one.has_invariants()
    except AssertionError as error:
        return [str(error)]
    return []


@pytest.mark.proves("N-37")
async def test_steps_in_any_order_leave_what_the_model_says(db: Database) -> None:
    """A share of all pairs from each start, another one each time; `test_each_pair_in_each_order` has all of them."""
    pairs: list[tuple[StepOrTime, ...]] = list(itertools.product(STEPS, repeat=2))
    random.Random(order.seed()).shuffle(pairs)  # noqa: S311 -- reproducible, not a secret
    share = len(pairs) // len(STARTS) // 5
    wrong = []
    for number, start in enumerate(STARTS):
        wrong += await db.run(_tried, start, pairs[number * share : (number + 1) * share])
    assert wrong == []


@pytest.mark.full
@pytest.mark.proves("N-37")
@pytest.mark.parametrize("start", STARTS)
async def test_each_pair_in_each_order(db: Database, start: str) -> None:
    assert await db.run(_tried, start, list(itertools.product(STEPS, repeat=2))) == []


@pytest.mark.full
@pytest.mark.proves("N-37")
@pytest.mark.parametrize("seed", range(4))
async def test_long_lives(db: Database, seed: int) -> None:
    """Many steps of one customer, and days between them."""
    dice = random.Random(seed)  # noqa: S311 -- reproducible, not a secret
    either: list[StepOrTime] = [*STEPS, *DAYS]
    lives = [tuple(dice.choices(either, k=dice.randint(5, 20))) for _ in range(60)]
    assert await db.run(_tried, "new", lives) == []
