"""How the whole stands, in one look: ages of what waits, the last run of each sweep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lib.domain import sweep_runs, webhook_state
from lib.domain.provisioning import CLOCK_OFF_MS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from lib.db import Transaction
    from lib.domain.sweep_runs import LastRun
    from lib.domain.webhook_state import WebhookState


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits, and for how long (seconds; 0 when nothing does)."""

    paid_not_applied: int
    paid_not_applied_oldest_s: float
    clients_to_remove: int
    events_unsettled: int
    events_unmatched: int
    events_duplicate: int
    refunds_waiting: int
    refunds_oldest_s: float
    updates_waiting: int
    outbox_waiting: int
    outbox_oldest_s: float
    schema_version: int


@dataclass(frozen=True, slots=True)
class NodeTrouble:
    """A node that an operator has to look at.

    Attributes:
        clock_off_s: how far its clock is ahead of Atlas's (seconds; 0 when it can't tell).
        state_lost: within the last day it lost what it held, and was filled again since or is being filled.
        trouble: see `lib.domain.provisioning.Node`.
        open_since: since when its breaker is open.
    """

    name: str
    clock_off_s: int
    state_lost: bool
    trouble: str | None
    lost_since: datetime | None
    open_since: datetime | None


@dataclass(frozen=True, slots=True)
class Connections:
    """Sessions of the server, all users' together, and how many it takes of those that are no superuser's."""

    in_use: int
    limit: int


@dataclass(frozen=True, slots=True)
class Condition:
    """The answer of `health` with a key.

    Attributes:
        shop_s: seconds since the database got its first migration: in a new shop the first ticks are still to come.
        expected_s: seconds since a release that has the sweep first ran one; empty before the first run of all.
    """

    shop_s: float
    expected_s: Mapping[str, float]
    waiting: Waiting
    sweeps: tuple[LastRun, ...]
    nodes: tuple[NodeTrouble, ...]
    webhook: WebhookState
    connections: Connections

    def red(self, silent_after_s: Mapping[str, float]) -> list[str]:
        """What is wrong whatever the traffic is; empty when nothing is.

        Args:
            silent_after_s: of each sweep, how long it may not have ended well.
        """
        well = {run.sweep: run.well_s for run in self.sweeps}
        found = [
            f"sweep {sweep} has not ended well for {round(since)} s"
            if (since := well.get(sweep)) is not None
            else f"sweep {sweep} has never ended well"
            for sweep, limit in sorted(silent_after_s.items())
            if (self._awaited_s(sweep) if (since := well.get(sweep)) is None else since) > limit
        ]
        if self.webhook.refused:
            why = self.webhook.last_error if self.webhook.is_set else "no webhook is set"
            found.append(f"Telegram can't deliver {self.webhook.pending} updates: {why}")
        return found

    def _awaited_s(self, sweep: str) -> float:
        """For how long a first good run is awaited. A sweep that no run has named yet is new: were no other to run, that would be red."""
        return self.expected_s.get(sweep, 0.0) if self.expected_s else self.shop_s

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        sweeps = {
            run.sweep: {
                "outcome": run.outcome,
                "age_s": round(run.age_s, 1),
                "well_s": None if run.well_s is None else round(run.well_s, 1),
                "ended_at": run.ended_at.isoformat(),
            }
            for run in self.sweeps
        }
        webhook = {
            "is_set": self.webhook.is_set,
            "pending": self.webhook.pending,
            "last_error": self.webhook.last_error,
            "last_error_at": self.webhook.last_error_at.isoformat() if self.webhook.last_error_at else None,
            "refused_s": None if self.webhook.refused_s is None else round(self.webhook.refused_s),
            "looked_s": None if self.webhook.looked_s is None else round(self.webhook.looked_s),
        }
        nodes = {
            node.name: {
                "clock_off_s": node.clock_off_s,
                "state_lost": node.state_lost,
                "trouble": node.trouble,
                "lost_since": node.lost_since.isoformat() if node.lost_since else None,
                "open_since": node.open_since.isoformat() if node.open_since else None,
            }
            for node in self.nodes
        }
        return {
            "database": True,
            **asdict(self.waiting),
            "connections": asdict(self.connections),
            "webhook": webhook,
            "sweeps": sweeps,
            "nodes_in_trouble": nodes,
        }


_WAITING = """
select
    (select count(*) from subscriptions where activation_status = 'pending') as paid_not_applied,
    (select cast(coalesce(extract(epoch from atlas.now() - min(pending_since)), 0) as double precision)
     from subscriptions where activation_status = 'pending') as paid_not_applied_oldest_s,
    (select count(*) from node_clients where not wanted) as clients_to_remove,
    (select count(*) from payment_events where status = 'new') as events_unsettled,
    (select count(*) from payment_events where status = 'unmatched' and resolved_at is null) as events_unmatched,
    (select count(*) from payment_events where status = 'duplicate' and resolved_at is null) as events_duplicate,
    (select count(*) from refund_requests where status in ('requested', 'sent')) as refunds_waiting,
    (select cast(coalesce(extract(epoch from atlas.now() - min(requested_at)), 0) as double precision)
     from refund_requests where status in ('requested', 'sent')) as refunds_oldest_s,
    (select count(*) from updates where done_at is null) as updates_waiting,
    (select count(*) from outbox where done_at is null) as outbox_waiting,
    (select cast(coalesce(extract(epoch from atlas.now() - min(not_before)), 0) as double precision)
     from outbox where done_at is null and not_before <= atlas.now()) as outbox_oldest_s,
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


_NODES_IN_TROUBLE = """
select name, cast(coalesce(clock_off_ms, 0) / 1000 as integer) as clock_off_s,
       coalesce(state_lost_at > atlas.now() - interval '1 day', false) as state_lost, trouble, lost_since,
       open_since
from nodes
where abs(clock_off_ms) > :clock_off_ms or state_lost_at > atlas.now() - interval '1 day' or trouble is not null
   or lost_since is not null or open_since is not null
order by name
"""


# Of other users' sessions only the database is shown to all; the server's own workers have none, but for its vacuum's.
_CONNECTIONS = """
select (select count(*) from pg_catalog.pg_stat_activity where datid is not null) as in_use,
       cast(current_setting('max_connections') as integer) - cast(current_setting('superuser_reserved_connections') as integer)
           as limit
"""


_SHOP_S = """
select cast(extract(epoch from atlas.now() - min(applied_at)) as double precision) from schema_migrations
"""


def connections(tx: Transaction) -> Connections:
    """How many are open now."""
    return tx.one(Connections, _CONNECTIONS)


def take(tx: Transaction) -> Condition:
    """Everything at one moment."""
    nodes = tx.rows(NodeTrouble, _NODES_IN_TROUBLE, clock_off_ms=CLOCK_OFF_MS)
    return Condition(
        tx.value(_SHOP_S),
        sweep_runs.expected_s(tx),
        tx.one(Waiting, _WAITING),
        tuple(sweep_runs.last(tx)),
        tuple(nodes),
        webhook_state.state(tx),
        connections(tx),
    )
