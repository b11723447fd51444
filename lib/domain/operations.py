"""How the work of the shop stands, to read: what waits and for how long, nodes, sweeps, what was given up. Pages go by key.

No customer's path loads this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.domain.stored_work import GIVEN_UP

if TYPE_CHECKING:
    from datetime import datetime

    from lib.db import Transaction

MOST = 1000
"""Counts of what may be a backlog stop here: `MOST` means so many at least."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What waits: counts (up to `MOST`), and how long the oldest has waited (seconds; 0 when nothing does)."""

    pending: int
    pending_s: float
    updates: int
    updates_s: float
    updates_given_up: int
    events: int
    events_s: float
    events_unmatched: int
    messages_unclear: int
    messages_failed: int
    messages_unreachable: int
    refunds: int
    refunds_s: float


# Each counts by an index that holds nothing else, and stops at :most.
_STANDING = f"""
with pending as (select pending_since as since from subscriptions where activation_status = 'pending' order by pending_since limit :most),
kept as (select received_at as since from updates where done_at is null and update_id <> :own order by received_at limit :most),
given_up as (select 1 from updates where {GIVEN_UP} limit :most),
news as (select received_at as since from payment_events where status = 'new' order by id limit :most),
unmatched as (
    (select 1 from payment_events where status = 'unmatched' and resolved_at is null limit :most)
    union all
    (select 1 from payment_events where status = 'duplicate' and resolved_at is null limit :most)
),
told as (select status from messages where status in ('unclear', 'failed', 'unreachable') order by id desc limit :most),
refunds as (select requested_at as since from refund_requests where status in ('requested', 'sent') limit :most),
ages as (
    select cast(extract(epoch from atlas.now() - (select min(since) from pending)) as double precision) as pending_s,
           cast(extract(epoch from atlas.now() - (select min(since) from kept)) as double precision) as updates_s,
           cast(extract(epoch from atlas.now() - (select min(since) from news)) as double precision) as events_s,
           cast(extract(epoch from atlas.now() - (select min(since) from refunds)) as double precision) as refunds_s
)
select (select count(*) from pending) as pending, coalesce(pending_s, 0) as pending_s,
       (select count(*) from kept) as updates, coalesce(updates_s, 0) as updates_s,
       (select count(*) from given_up) as updates_given_up,
       (select count(*) from news) as events, coalesce(events_s, 0) as events_s,
       (select count(*) from unmatched) as events_unmatched,
       (select count(*) from told where status = 'unclear') as messages_unclear,
       (select count(*) from told where status = 'failed') as messages_failed,
       (select count(*) from told where status = 'unreachable') as messages_unreachable,
       (select count(*) from refunds) as refunds, coalesce(refunds_s, 0) as refunds_s
from ages
"""  # noqa: S608 -- a constant


@dataclass(frozen=True, slots=True)
class Owed:
    """What a queue owes: work that is not done; the age is that of the oldest, in seconds."""

    queue: str
    count: int
    oldest_s: float


# The oldest by id, which is the order in which work came.
_OWED = """
with waiting as (select queue, created_at from outbox where done_at is null order by id limit :most)
select queue, count(*) as count,
       cast(extract(epoch from atlas.now() - min(created_at)) as double precision) as oldest_s
from waiting group by queue order by queue
"""


@dataclass(frozen=True, slots=True)
class Pending:
    """Access that was granted and that no node has confirmed.

    Attributes:
        since_us: microseconds of `since` since 1970: with `id` its place in the list.
    """

    id: int
    account_id: int
    tariff: str
    since: datetime
    since_us: int
    age_s: float


_PENDING = """
select id, account_id, tariff, pending_since as since,
       cast(extract(epoch from pending_since) * 1000000 as bigint) as since_us,
       cast(extract(epoch from atlas.now() - pending_since) as double precision) as age_s
from subscriptions
where activation_status = 'pending'
  and (pending_since, id) > (timestamptz 'epoch' + cast(:after_us as bigint) * interval '1 microsecond', :after)
order by pending_since, id limit :page
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a node said last of one client that waits for it."""

    subscription_id: int
    node: str
    attempts: int
    error: str | None
    next_s: float


_SAID = """
select c.subscription_id, n.name as node, c.attempts, c.last_error as error,
       greatest(0, cast(extract(epoch from c.next_attempt_at - atlas.now()) as double precision)) as next_s
from node_clients c join nodes n on n.id = c.node_id
where c.subscription_id = any(cast(:ids as bigint[])) and c.wanted and c.applied_version is distinct from c.version
order by c.subscription_id, n.name
"""


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as it stands.

    Attributes:
        open_s: for how long its breaker is open, in seconds; 0: it is closed, or a probe is due.
        waiting: clients that it has not confirmed, those that are to go included; up to `MOST`.
        clock_off_ms: how far its clock is ahead; None: it can't tell.
    """

    id: int
    name: str
    state: str
    lost_since: datetime | None
    trouble: str | None
    failures: int
    open_until: datetime | None
    open_s: float
    reconcile_failures: int
    reconcile_s: float
    waiting: int
    clock_off_ms: int | None
    state_lost_at: datetime | None


_NODE = """
select n.id, n.name, n.state, n.lost_since, n.trouble, n.failures, n.open_until, n.reconcile_failures, n.clock_off_ms, n.state_lost_at,
       coalesce(greatest(0, cast(extract(epoch from n.open_until - atlas.now()) as double precision)), 0) as open_s,
       coalesce(greatest(0, cast(extract(epoch from n.reconcile_open_until - atlas.now()) as double precision)), 0) as reconcile_s,
       (select count(*) from (
            (select 1 from node_clients c
             where c.node_id = n.id and c.wanted and c.applied_version is distinct from c.version limit :most)
            union all
            (select 1 from node_clients c where c.node_id = n.id and not c.wanted limit :most)
        ) waits) as waiting
from nodes n
"""
_NODES = f"{_NODE} where n.id > :after order by n.id limit :page"
_ONE_NODE = f"{_NODE} where n.id = :id"
# For a person who looks at one node: there is no index of a node's confirmed clients.
_CLIENTS = "select count(*) from node_clients where node_id = :id and wanted"


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored update.

    Attributes:
        kind: message, callback_query, ...: the field that follows its number; empty when the body has none there.
        place: of `received_at` in microseconds since 1970: with the number its place in the list.
    """

    update_id: int
    kind: str
    received_at: datetime
    place: int
    age_s: float
    attempts: int
    error: str | None
    state: str


_KEPT_COLUMNS = f"""
select update_id, received_at, cast(extract(epoch from received_at) * 1000000 as bigint) as place, attempts, last_error as error,
       cast(extract(epoch from atlas.now() - received_at) as double precision) as age_s,
       case when done_at is null then 'waiting' when {GIVEN_UP} then 'given-up' else 'done' end as state,
       coalesce(substring(left(body, 200) from '"update_id"[^0-9]*[0-9]+[^"]*"([a-z_]+)"'), '') as kind
from updates
"""  # noqa: S608 -- a constant
_WAITING_UPDATES = f"""{_KEPT_COLUMNS}
where done_at is null and update_id <> :own
  and (received_at, update_id) > (timestamptz 'epoch' + cast(:place as bigint) * interval '1 microsecond', :after)
order by received_at, update_id limit :page
"""
_GIVEN_UP_UPDATES = f"""{_KEPT_COLUMNS}
where {GIVEN_UP} and update_id < :before order by update_id desc limit :page
"""
_ONE_UPDATE = f"{_KEPT_COLUMNS} where update_id = :id"


@dataclass(frozen=True, slots=True)
class News:
    """A payment event that is kept because settling it fails."""

    id: int
    provider: str
    external_id: str
    kind: str
    status: str
    received_at: datetime
    age_s: float
    attempts: int
    reason: str | None


_NEWS_COLUMNS = """
select id, provider, external_id, kind, status, received_at, attempts, reason,
       cast(extract(epoch from atlas.now() - received_at) as double precision) as age_s
from payment_events
"""
_NEWS = f"{_NEWS_COLUMNS} where status = 'new' and id > :after order by id limit :page"
_ONE_NEWS = f"{_NEWS_COLUMNS} where id = :id"


@dataclass(frozen=True, slots=True)
class Told:
    """A message that did not end well."""

    id: int
    account_id: int
    kind: str
    delivery: str
    status: str
    attempts: int
    error: str | None
    finished_at: datetime | None


_TOLD_COLUMNS = """
select id, account_id, kind, delivery, status, attempts, last_error as error, finished_at from messages
"""
_TOLD = f"""{_TOLD_COLUMNS}
where status in ('unclear', 'failed', 'unreachable') and id < :before order by id desc limit :page
"""
_ONE_TOLD = f"{_TOLD_COLUMNS} where id = :id"


@dataclass(frozen=True, slots=True)
class GoingBack:
    """A refund that its provider is to make, or was asked to make."""

    id: int
    event_id: int
    provider: str
    status: str
    attempts: int
    answer: str | None
    requested_at: datetime
    age_s: float


_GOING_BACK = """
select q.id, q.event_id, e.provider, q.status, q.attempts, q.last_answer as answer, q.requested_at,
       cast(extract(epoch from atlas.now() - q.requested_at) as double precision) as age_s
from refund_requests q join payment_events e on e.id = q.event_id
where q.status in ('requested', 'sent') and q.id > :after order by q.id limit :page
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a sweep."""

    ended_at: datetime
    outcome: str
    error: str | None
    claimed: int
    done: int
    failed: int
    duration_s: float


_RAN = """
select ended_at, outcome, error, claimed, done, failed,
       cast(extract(epoch from ended_at - started_at) as double precision) as duration_s
from sweep_runs where sweep = :sweep order by id desc limit :most
"""


@dataclass(frozen=True, slots=True)
class Switch:
    """A flag that was switched at least once."""

    name: str
    enabled: bool
    updated_at: datetime | None


def standing(tx: Transaction, *, own: int = 0) -> Standing:
    """Counts and ages of everything that waits; `own`: the update that asks, which is not done itself."""
    return tx.one(Standing, _STANDING, most=MOST, own=own)


def owed(tx: Transaction) -> list[Owed]:
    """What is not done, by queue: of the oldest `MOST` rows."""
    return tx.rows(Owed, _OWED, most=MOST)


def pending(tx: Transaction, *, after_us: int, after: int, page: int) -> list[Pending]:
    """Pending activations, the oldest first, after a place of the list (0, 0: from its beginning)."""
    return tx.rows(Pending, _PENDING, after_us=after_us, after=after, page=page)


def said(tx: Transaction, subscription_ids: list[int]) -> list[Said]:
    """Which node said what of these subscriptions' clients."""
    return tx.rows(Said, _SAID, ids=subscription_ids)


def nodes(tx: Transaction, *, after: int = 0, page: int) -> list[NodeState]:
    """Nodes in the order in which they came."""
    return tx.rows(NodeState, _NODES, after=after, page=page, most=MOST)


def node(tx: Transaction, node_id: int) -> NodeState | None:
    """One node."""
    return tx.row(NodeState, _ONE_NODE, id=node_id, most=MOST)


def clients(tx: Transaction, node_id: int) -> int:
    """How many clients a node is to hold."""
    return int(tx.value(_CLIENTS, id=node_id))


def waiting_updates(tx: Transaction, *, place: int = 0, after: int = 0, page: int, own: int = 0) -> list[Kept]:
    """Stored updates that are not done, the oldest first, after a place of the list; `own`: the update that asks."""
    return tx.rows(Kept, _WAITING_UPDATES, place=place, after=after, page=page, own=own)


def given_up_updates(tx: Transaction, *, before: int, page: int) -> list[Kept]:
    """Updates that were given up, newest first."""
    return tx.rows(Kept, _GIVEN_UP_UPDATES, before=before, page=page)


def update(tx: Transaction, update_id: int) -> Kept | None:
    """One stored update, whatever became of it."""
    return tx.row(Kept, _ONE_UPDATE, id=update_id)


def news(tx: Transaction, *, after: int = 0, page: int) -> list[News]:
    """Payment events that settling fails for, the oldest first."""
    return tx.rows(News, _NEWS, after=after, page=page)


def one_news(tx: Transaction, event_id: int) -> News | None:
    """One payment event, whatever became of it."""
    return tx.row(News, _ONE_NEWS, id=event_id)


def told(tx: Transaction, *, before: int, page: int) -> list[Told]:
    """Messages that did not end well, newest first."""
    return tx.rows(Told, _TOLD, before=before, page=page)


def one_told(tx: Transaction, message_id: int) -> Told | None:
    """One message, whatever became of it."""
    return tx.row(Told, _ONE_TOLD, id=message_id)


def going_back(tx: Transaction, *, after: int = 0, page: int) -> list[GoingBack]:
    """Refunds that their providers have not made yet, the oldest first."""
    return tx.rows(GoingBack, _GOING_BACK, after=after, page=page)


def ran(tx: Transaction, sweep: str, most: int) -> list[Ran]:
    """A sweep's last runs, newest first."""
    return tx.rows(Ran, _RAN, sweep=sweep, most=most)


def switches(tx: Transaction) -> dict[str, Switch]:
    """The flags that have a row, by name; one without is on."""
    found = tx.rows(Switch, "select name, enabled, updated_at from flags order by name")
    return {one.name: one for one in found}
