"""A node's breaker: what a call's outcome makes of it (docs/architecture.md, Nodes). Its row in `nodes` is all the state there is.

Closed, a node is called by all. After `OPENS_AFTER` failed attempts in a row it is open: one probe at a time is sent, by the first who
comes once the wait is over, and every other caller passes the node over. A usable answer of any call closes it. What is no word on
whether the node can be reached (a refused key, an unreadable answer) neither opens nor closes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

OPENS_AFTER = 5
"""Failed attempts in a row, of whatever calls."""
PROBE_MIN_S, PROBE_MAX_S = 5.0, 60.0
"""The wait before the first probe; it doubles with each that fails, up to the longest."""
PROBE_LEASE_S = 60.0
"""A probe outlives the one node call that it is; then another caller may send one."""
LOST_AFTER_PROBES, LOST_AFTER = 3, timedelta(minutes=3)
"""A node is lost after so many failed probes in a row, once it has been open for so long."""
_MOST_FAILURES = 1_000


@dataclass(frozen=True, slots=True)
class Breaker:
    """A node's, as its row has it.

    Attributes:
        failures: failed attempts in a row; while it is open, `OPENS_AFTER` and one for each failed probe.
        open_since: None while it is closed.
        open_until: no probe before.
        probing_by: the claim of the probe that is under way.
        lost_since: see `nodes.lost_since`.
    """

    failures: int
    open_since: datetime | None
    open_until: datetime | None
    probing_by: UUID | None
    lost_since: datetime | None


@dataclass(frozen=True, slots=True)
class Call:
    """How one call to a node ended.

    Attributes:
        claim: under which it was made; of a probe, that of its lease.
        answered: with what could be used.
        failed: attempts that failed at its end, since the last one that was answered.
    """

    claim: UUID
    answered: bool
    failed: int = 0


def closed() -> Breaker:
    """A breaker that has heard of no failure."""
    return Breaker(0, None, None, None, None)


def after(breaker: Breaker, call: Call, now: datetime) -> Breaker:
    """What the call makes of it; the same when nothing."""
    if call.answered:
        return closed()
    if breaker.open_since is None:
        failures = breaker.failures + call.failed
        if failures < OPENS_AFTER:
            return replace(breaker, failures=failures)
        return replace(breaker, failures=OPENS_AFTER, open_since=now, open_until=now + _wait(0))
    if breaker.probing_by != call.claim:
        return breaker  # begun before it opened, or a probe whose lease has ended
    failures = min(breaker.failures + (1 if call.failed else 0), _MOST_FAILURES)
    probes = failures - OPENS_AFTER
    lost = call.failed and probes >= LOST_AFTER_PROBES and now - breaker.open_since >= LOST_AFTER
    return replace(
        breaker,
        failures=failures,
        open_until=now + _wait(probes),
        probing_by=None,
        lost_since=breaker.lost_since or (now if lost else None),
    )


def turned(before: Breaker, now: Breaker) -> str | None:
    """What is to be told of the change: `opened`, `closed`, `lost`, `back`; None: nothing."""
    if (before.lost_since is None) != (now.lost_since is None):
        return "back" if now.lost_since is None else "lost"
    if (before.open_since is None) != (now.open_since is None):
        return "closed" if now.open_since is None else "opened"
    return None


def _wait(failed_probes: int) -> timedelta:
    return timedelta(seconds=min(PROBE_MAX_S, PROBE_MIN_S * 2 ** min(failed_probes, 10)))
