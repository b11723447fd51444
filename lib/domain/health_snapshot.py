"""How the whole stands, in one look: ages of what waits, the last run of each sweep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lib.domain import sweep_runs

if TYPE_CHECKING:
    from lib.db import Transaction
    from lib.domain.sweep_runs import LastRun


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits, and for how long (seconds; 0 when nothing does)."""

    paid_not_applied: int
    paid_not_applied_oldest_s: float
    clients_to_remove: int
    events_unsettled: int
    events_unmatched: int
    updates_waiting: int
    outbox_waiting: int
    outbox_oldest_s: float
    schema_version: int


@dataclass(frozen=True, slots=True)
class Condition:
    """The answer of `health` with a key."""

    waiting: Waiting
    sweeps: tuple[LastRun, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        sweeps = {
            run.sweep: {"outcome": run.outcome, "age_s": round(run.age_s, 1), "ended_at": run.ended_at.isoformat()}
            for run in self.sweeps
        }
        return {"ok": True, "database": True, **asdict(self.waiting), "sweeps": sweeps}


_WAITING = """
select
    (select count(*) from subscriptions where activation_status = 'pending') as paid_not_applied,
    (select cast(coalesce(extract(epoch from atlas.now() - min(pending_since)), 0) as double precision)
     from subscriptions where activation_status = 'pending') as paid_not_applied_oldest_s,
    (select count(*) from node_clients where not wanted) as clients_to_remove,
    (select count(*) from payment_events where status = 'new') as events_unsettled,
    (select count(*) from payment_events where status = 'unmatched' and resolved_at is null) as events_unmatched,
    (select count(*) from updates where done_at is null) as updates_waiting,
    (select count(*) from outbox where done_at is null) as outbox_waiting,
    (select cast(coalesce(extract(epoch from atlas.now() - min(created_at)), 0) as double precision)
     from outbox where done_at is null) as outbox_oldest_s,
    (select max(number) from schema_migrations) as schema_version
"""


@dataclass(frozen=True, slots=True)
class Overdue:
    """Grants that no node has confirmed for longer than they should need."""

    count: int
    oldest_s: float


def overdue(tx: Transaction, after_s: float) -> Overdue:
    """Access that was granted more than `after_s` seconds ago and is on no node yet."""
    return tx.one(
        Overdue,
        "select count(*) as count,"
        " cast(coalesce(extract(epoch from atlas.now() - min(pending_since)), 0) as double precision) as oldest_s"
        " from subscriptions"
        " where activation_status = 'pending' and pending_since < atlas.now() - make_interval(secs => :after_s)",
        after_s=after_s,
    )


def take(tx: Transaction) -> Condition:
    """Everything at one moment."""
    return Condition(tx.one(Waiting, _WAITING), tuple(sweep_runs.last(tx)))
