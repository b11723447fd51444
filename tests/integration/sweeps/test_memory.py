"""S4-4.4: what a sweep holds in memory is a page, however much there is (a million rows in a full run)."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from functions.sweeps import sweep_audit, sweep_expiry
from lib import bootstrap
from lib.sweeps.runner import Run
from tests.integration.by_the_owner import by_the_owner
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lib.db import Database
    from lib.db.transaction import Transaction
    from lib.tasks.queue import Task

pytestmark = pytest.mark.breaks_invariants

_PAGE = 100
_ADDED_AT_ONCE = 500  # rows of one statement, which has the functions' time limit
_LARGE = [3_000, pytest.param(1_000_000, marks=[pytest.mark.full, pytest.mark.timeout(3_600)])]


class _Forgets:
    """A queue that keeps nothing: what grows is not the test's own."""

    async def create(self, _task: Task) -> bool:
        return True


def _customers(tx: Transaction, first: int, count: int, due: str) -> None:
    """So many more, whose access ended a minute ago or ends in a year."""
    by_the_owner(
        tx,
        f"""
        with people as (
            insert into accounts (telegram_id, language) select n, 'ru' from generate_series({first}, {first + count - 1}) n returning id
        ), access as (
            insert into subscriptions (account_id, tariff, source, status, activation_status, uuid, started_at, expires_at)
            select id, 'basic', 'trial', 'active', 'active', gen_random_uuid(), atlas.now() - interval '9 days', atlas.now() {due}
            from people returning id, uuid, expires_at
        )
        insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_at)
        select id, 'granted', 'trial', 'basic', uuid, 1, expires_at from access
        """,  # noqa: S608 -- numbers and words of this module
    )


async def _add(db: Database, first: int, count: int, due: str) -> int:
    for at in range(first, first + count, _ADDED_AT_ONCE):
        await db.run(_customers, at, min(_ADDED_AT_ONCE, first + count - at), due)
    return first + count


@pytest.fixture(autouse=True)
def _without_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures that tests inject leave cycles, and Python looks for old ones seldom: they are not what a sweep holds."""
    next_page = Run.next_page

    async def collected(run: Run) -> bool:
        gc.collect()
        return await next_page(run)

    monkeypatch.setattr(Run, "next_page", collected)


async def _peak(run: Run, work: Callable[[Run], Awaitable[None]]) -> int:
    run.soft_s = 3_600.0
    gc.collect()
    gc.freeze()  # what was there before is not looked through at each page
    tracemalloc.start()
    try:
        await work(run)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.unfreeze()


@pytest.mark.proves("S4-4.4")
@pytest.mark.parametrize("count", _LARGE)
async def test_expiry_holds_a_page(racing_db: Database, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "task_queue", _Forgets)
    monkeypatch.setattr(sweep_expiry, "_PAGE", _PAGE)
    peaks, first = [], 1
    for size in (3 * _PAGE, 3 * _PAGE, count):  # the first one also makes what is made once
        first = await _add(racing_db, first, size, "- interval '1 minute'")
        run = sweep_run(racing_db, "expiry")
        peaks.append(await _peak(run, sweep_expiry._work))
        assert run.done == size
    assert peaks[2] < 1.3 * peaks[1], peaks


@pytest.mark.proves("S4-4.4")
@pytest.mark.parametrize("count", _LARGE)
async def test_a_nights_walk_holds_a_page(racing_db: Database, count: int) -> None:
    peaks, first = [], 1
    for size in (_PAGE, 5 * _PAGE, count):
        first = await _add(racing_db, first, size, "+ interval '1 year'")
        await racing_db.run(by_the_owner, "delete from invariant_marks")
        peaks.append(await _peak(sweep_run(racing_db, "audit"), sweep_audit._work))
    assert peaks[2] < 1.3 * peaks[1], peaks
