"""What each run of a sweep did; health and alerts look at the last one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class SweepRun:
    """One run: how it ended and what it did."""

    sweep: str
    tick: str
    outcome: str
    claimed: int
    done: int
    failed: int
    more: bool
    duration_s: float
    error: str | None


@dataclass(frozen=True, slots=True)
class LastRun:
    """How a sweep's newest run ended, and how long ago one ended well.

    Attributes:
        age_s: of the newest run's end.
        well_s: seconds since a run last ended well; None when none is known.
    """

    sweep: str
    outcome: str
    ended_at: datetime
    age_s: float
    well_s: float | None


@dataclass(frozen=True, slots=True)
class _Expected:
    sweep: str
    since_s: float


# From each sweep's newest run to the next sweep's by the index, which begins each sweep with it: `distinct on` would read them all,
# and so would, by the primary key, a look for the last good run of a sweep that has had none for long.
_LAST = """
with recursive newest as (
    (select sweep, outcome, ended_at from sweep_runs order by sweep, id desc limit 1)
    union all
    select following.* from newest n cross join lateral (
        select r.sweep, r.outcome, r.ended_at from sweep_runs r where r.sweep > n.sweep order by r.sweep, r.id desc limit 1
    ) following
)
select n.sweep, n.outcome, n.ended_at, cast(extract(epoch from atlas.now() - n.ended_at) as double precision) as age_s,
       cast(extract(epoch from atlas.now() - (
           select w.ended_at from sweep_runs w where w.outcome = 'done' and w.sweep between n.sweep and n.sweep
           order by w.sweep, w.id desc limit 1)) as double precision) as well_s
from newest n
"""


# Nothing is written once all are known: each run asks.
_EXPECT = """
insert into expected_sweeps (sweep)
select named.sweep from unnest(cast(:sweeps as text[])) named (sweep)
where not exists (select from expected_sweeps known where known.sweep = named.sweep)
on conflict do nothing
"""


def record(tx: Transaction, run: SweepRun, sweeps: Iterable[str]) -> None:
    """Write the row of a run that has ended.

    Args:
        tx: the transaction.
        run: how it ended.
        sweeps: names of all that this release has: each is expected from its first such mention on.
    """
    tx.execute(_EXPECT, sweeps=sorted({run.sweep, *sweeps}))
    tx.execute(
        "insert into sweep_runs (sweep, tick, started_at, ended_at, outcome, claimed, done, failed, more, error)"
        " values (:sweep, :tick, atlas.now() - make_interval(secs => :duration), atlas.now(), :outcome,"
        " :claimed, :done, :failed, :more, :error)",
        sweep=run.sweep,
        tick=run.tick,
        duration=run.duration_s,
        outcome=run.outcome,
        claimed=run.claimed,
        done=run.done,
        failed=run.failed,
        more=run.more,
        error=run.error,
    )


def expected_s(tx: Transaction) -> dict[str, float]:
    """For how long each sweep has been expected, in seconds; a new release's are not among them before its first run of any sweep."""
    rows = tx.rows(
        _Expected,
        "select sweep, cast(extract(epoch from atlas.now() - since) as double precision) as since_s from expected_sweeps",
    )
    return {one.sweep: one.since_s for one in rows}


def last(tx: Transaction) -> list[LastRun]:
    """The newest run of every sweep: a look at the index for each sweep, however many runs there were."""
    return tx.rows(LastRun, _LAST)
