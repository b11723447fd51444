"""Bringing nodes to what Postgres wants: placement, claims, confirmations, retries (docs/architecture.md, rule 2)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lib.domain import breaker as breakers
from lib.domain import messages, outbox

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from lib.db import Transaction
    from lib.domain.breaker import Call

LEASE_S = 60.0
"""A claim outlives the one node call it is taken for (`lib.nodes.client.CALL_S`); then another runner may try."""
RETRY_MIN_S, RETRY_MAX_S = 5.0, 60.0
"""How long a client that a node refused waits for its next try: a sweep comes once a minute, so the second one finds it due."""
CLOCK_OFF_MS = 60_000
"""A node's clock that is further off than this is told to an operator."""


@dataclass(frozen=True, slots=True)
class Node:
    """A VPN node as Postgres knows it.

    Attributes:
        key_name: the setting that holds its API key.
        state_id: of its memory, as it said last; another one means that it lost what it held.
        clock_off_ms: how far its clock was ahead of Atlas's, None when it could not tell.
        trouble: what an operator has to mend: `authentication`, `configuration`, `answer` or `certificate`.
        asked_at: `atlas.now()` when this was read; the node is told Atlas's time.
        pins: SHA-256 of the public keys that its certificate may have now, in hex; none of a node on this very machine.
        is_open: its breaker is, so this is a probe: one attempt.
    """

    id: int
    name: str
    api_url: str
    key_name: str
    state_id: str | None
    clock_off_ms: int | None
    trouble: str | None
    asked_at: datetime
    pins: Sequence[str] = ()
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """One client that a node has to agree about, claimed by us."""

    subscription_id: int
    node_id: int
    uuid: UUID
    version: int
    wanted: bool
    expires_at: datetime
    claimed_by: UUID


@dataclass(frozen=True, slots=True)
class Answer:
    """What the node said about one client.

    Attributes:
        applied: the node confirmed; `link` for a wanted one.
        held_version: the node knows a newer version than ours (a restored database): ours must overtake it.
    """

    subscription_id: int
    node_id: int
    version: int
    claimed_by: str
    applied: bool
    link: str | None = None
    held_version: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A client that the node removed by itself, past its end by the node's time, and the version it held then."""

    subscription_id: int
    version: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What a node said about itself.

    Attributes:
        state_id: None when the node did not say.
        clock_off_ms: see `Node`.
        dropped: what it removed by itself and has not been told about since.
        trouble: see `Node`; None when it answered as it should.
    """

    state_id: str | None = None
    clock_off_ms: int | None = None
    dropped: tuple[Dropped, ...] = ()
    trouble: str | None = None


EXCHANGE = "14 days"
"""How long a certificate may take to be exchanged: until then two pins count, afterwards the new one alone."""

# An address that no client could parse is no node; `check` refuses it before.
_FIRST_NODE = f"""
insert into nodes (name, api_url, key_name, pin, next_pin, pin_until)
select 'first', :api_url, :key_name, cast(:pin as text), cast(:next_pin as text),
       case when cast(:next_pin as text) is not null then atlas.now() + interval '{EXCHANGE}' end
where atlas.is_node_address(:api_url) and not exists (select from nodes)
  and case when :api_url like 'https://%' then cast(:pin as text) is not null else atlas.is_loopback_address(:api_url) end
on conflict (name) do nothing
"""  # noqa: S608 -- a constant
# A pin that has ended is given to no caller: the clock that decides is Atlas's own.
_NODE = """select n.id, n.name, n.api_url, n.key_name, n.state_id, n.clock_off_ms, n.trouble, atlas.now() as asked_at,
       n.open_until is not null as is_open,
       array_remove(array[case when n.pin_until is null or n.pin_until > atlas.now() then n.pin end, n.next_pin], null) as pins
from nodes n"""

# What a node that joined or came back may lack: granted under an earlier generation of `placement`, found by its index. Nothing
# else is looked at, so a minute in which no node joined costs one look. The subscription is locked, or passed over when an expiry
# or a grant is at work on it, so what is written is what it still is.
_TO_PLACE = """
with page as materialized (
    select s.id from subscriptions s
    where s.status = 'active' and s.placement < (select generation from placement)
    order by s.placement, s.id limit :page
    for no key update of s skip locked
)"""
_TO_PLACE_ONE = """
with page as materialized (
    select s.id from subscriptions s where s.id = :subscription_id and s.status = 'active'
    for no key update of s skip locked
)"""

# Written for those of a page that lack a node's client, or have one that is not their subscription's. Judged by content: versions
# of two nodes differ whenever one of them was overtaken or joined later. Every change of a row takes the subscription's next
# version, so the node never sees one version twice. A client that the node was to give back is wanted again.
_PLACE = """, due as materialized (
    select s.id from page join subscriptions s using (id)
    where exists (select from nodes n where n.state = 'active' and n.lost_since is null
                  and not exists (select from node_clients c where c.subscription_id = s.id and c.node_id = n.id and c.wanted))
       or exists (select from node_clients c where c.subscription_id = s.id and c.wanted
                  and (c.uuid <> s.uuid or c.expires_at <> s.expires_at))
), placed as (
    update subscriptions s
    set placement = (select generation from placement), version = s.version + case when due.id is null then 0 else 1 end
    from page left join due using (id)
    where s.id = page.id and (due.id is not null or s.placement <> (select generation from placement))
    returning s.id, s.uuid, s.version, s.expires_at, due.id is not null as is_due
), behind as (
    update node_clients c
    set uuid = placed.uuid, version = placed.version, expires_at = placed.expires_at, attempts = 0,
        next_attempt_at = atlas.now(), claimed_by = null, claimed_until = null, last_error = null, changed_at = atlas.now()
    from placed
    where placed.is_due and c.subscription_id = placed.id and c.wanted
      and (c.uuid <> placed.uuid or c.expires_at <> placed.expires_at)
    returning c.subscription_id
), missing as (
    insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at)
    select raised.id, n.id, raised.uuid, raised.version, true, raised.expires_at
    from placed raised cross join nodes n
    where n.state = 'active' and n.lost_since is null and raised.is_due
      and not exists (select from node_clients c where c.subscription_id = raised.id and c.node_id = n.id and c.wanted)
    on conflict (subscription_id, node_id) do update
    set uuid = excluded.uuid, version = excluded.version, wanted = true, expires_at = excluded.expires_at, attempts = 0,
        next_attempt_at = atlas.now(), claimed_by = null, claimed_until = null, last_error = null, changed_at = atlas.now()
    returning subscription_id
)
select (select count(*) from page) as subscriptions,
       (select count(*) from behind) + (select count(*) from missing) as clients
"""
_PLACE_DUE, _PLACE_ONE = _TO_PLACE + _PLACE, _TO_PLACE_ONE + _PLACE
# In the order of the index: in that of ids, Postgres would read the whole table. What was placed is among them no longer.
_TO_BE_PLACED = """
select placement, id from subscriptions
where status = 'active' and placement < (select generation from placement) and (placement, id) > (:placement, :id)
order by placement, id limit :page
"""

# A node that is not to be asked now (its breaker is open, and its wait is not over or another's probe is under way) keeps its rows
# as they are: nothing of theirs is rewritten.
_ASKED = """(n.open_until is null
    or n.open_until <= atlas.now() and (n.probing_until is null or n.probing_until <= atlas.now()))"""

_SERVING = f"{_NODE} where n.state <> 'retired' and {_ASKED} order by n.id"
_ONE_TO_ASK = f"{_NODE} where n.id = :node_id and {_ASKED}"
# The nodes that have something to learn of one subscription. One that refuses Atlas or answers nonsense is left to the sweep, which
# calls it once a pass, while another of the customer's is well: what a purchase needs of it is no news.
_TO_ASK_OF_ONE = f"""{_NODE}
where {_ASKED} and exists (
    select from node_clients c
    where c.node_id = n.id and c.subscription_id = :subscription_id
      and (not c.wanted or c.applied_version is distinct from c.version)
      and (c.claimed_until is null or c.claimed_until <= atlas.now()))
  and (n.trouble is null or not exists (
    select from node_clients c join nodes well on well.id = c.node_id
    where c.subscription_id = :subscription_id and c.wanted and well.trouble is null and well.open_until is null))
order by n.id
"""  # noqa: S608 -- constants

# Of those who come at once, the first. The lease is that of the call which follows.
_TAKE_PROBE = """
update nodes set probing_by = cast(:me as uuid), probing_until = atlas.now() + make_interval(secs => :lease_s)
where id = :node_id and open_until <= atlas.now() and (probing_until is null or probing_until <= atlas.now())
returning id
"""
_GIVE_PROBE_BACK = (
    "update nodes set probing_by = null, probing_until = null where id = :node_id and probing_by = cast(:me as uuid)"
)
_BREAKER = """
select failures, open_since, open_until, probing_by, lost_since from nodes where id = :node_id for no key update
"""
_SET_BREAKER = """
update nodes
set failures = :failures, open_since = :open_since, open_until = :open_until, lost_since = :lost_since,
    answers_since = case when cast(:open_since as timestamptz) is null and open_since is not null then atlas.now() else answers_since end,
    probing_by = :probing_by, probing_until = case when cast(:probing_by as uuid) is not null then probing_until end
where id = :node_id
"""

_CLAIM_TAIL = """
update node_clients c
set claimed_by = cast(:me as uuid), claimed_until = atlas.now() + make_interval(secs => :lease_s)
from due where c.subscription_id = due.subscription_id and c.node_id = due.node_id
returning c.subscription_id, c.node_id, c.uuid, c.version, c.wanted, c.expires_at, c.claimed_by
"""

# Work is claimed by lease: the node is called after this commits, and a runner that dies leaves a claim that ends by
# itself.
_CLAIM_ONE = f"""
with due as (
    select c.subscription_id, c.node_id from node_clients c
    where c.subscription_id = :subscription_id and c.node_id = any(cast(:node_ids as bigint[]))
      and (not c.wanted or c.applied_version is distinct from c.version)
      and (c.claimed_until is null or c.claimed_until <= atlas.now())
    order by c.node_id
    for no key update skip locked
){_CLAIM_TAIL}"""  # noqa: S608 -- constants

_CLAIM_TO_ADD = f"""
with due as (
    select subscription_id, node_id from node_clients
    where node_id = :node_id
      and wanted and applied_version is distinct from version and next_attempt_at <= atlas.now()
      and (claimed_until is null or claimed_until <= atlas.now())
    order by next_attempt_at, subscription_id limit :page
    for no key update skip locked
){_CLAIM_TAIL}"""  # noqa: S608 -- constants

_CLAIM_TO_REMOVE = f"""
with due as (
    select subscription_id, node_id from node_clients
    where node_id = :node_id
      and not wanted and next_attempt_at <= atlas.now()
      and (claimed_until is null or claimed_until <= atlas.now())
    order by next_attempt_at, subscription_id limit :page
    for no key update skip locked
){_CLAIM_TAIL}"""  # noqa: S608 -- constants

# Nodes with something due: one probe of an index for each node.
_DUE_TO_ADD = f"""
select n.id from nodes n
where {_ASKED} and exists (
    select from node_clients c
    where c.node_id = n.id and c.wanted and c.applied_version is distinct from c.version
      and c.next_attempt_at <= atlas.now() and (c.claimed_until is null or c.claimed_until <= atlas.now()))
order by n.id
"""  # noqa: S608 -- constants
_DUE_TO_REMOVE = f"""
select n.id from nodes n
where {_ASKED} and exists (
    select from node_clients c
    where c.node_id = n.id and not c.wanted
      and c.next_attempt_at <= atlas.now() and (c.claimed_until is null or c.claimed_until <= atlas.now()))
order by n.id
"""  # noqa: S608 -- constants

# Locks in the order every grant takes them: subscriptions first, then their clients. Only those that may change: the
# ones that wait for their first confirmation, and those whose version has to be raised. Two nodes' confirmations of the
# same customers do not wait for each other otherwise. In the same round trip, whether the node's breaker has heard of failures:
# the row of a node that is well is written by no call.
_LOCK_SUBSCRIPTIONS = """
select count(*) as locked,
       exists (select from nodes where id = :node_id and (failures > 0 or open_until is not null or lost_since is not null))
           as counts_failures
from (
    select id from subscriptions
    where id = any(cast(:ids as bigint[]))
      and (activation_status = 'pending' or id = any(cast(:raised as bigint[])))
    order by id for no key update
) locked
"""

# What the node confirmed, for rows that are still ours and still want the same. A confirmed absence ends the row; the
# first confirmed presence activates the subscription, and that is when the customer gets the key.
_CONFIRM = """
with answer as (
    select * from jsonb_to_recordset(cast(:answers as jsonb)) as a
        (subscription_id bigint, node_id bigint, version bigint, claimed_by uuid, applied boolean, link text,
         held_version bigint, error text)
), gone as (
    delete from node_clients c using answer a
    where c.subscription_id = a.subscription_id and c.node_id = a.node_id and c.claimed_by = a.claimed_by
      and a.applied and not c.wanted and c.version = a.version
), there as (
    update node_clients c
    set applied_version = a.version, applied_at = atlas.now(), applied_uuid = c.uuid, link = a.link, attempts = 0,
        last_error = null, claimed_by = null, claimed_until = null
    from answer a
    where c.subscription_id = a.subscription_id and c.node_id = a.node_id and c.claimed_by = a.claimed_by
      and a.applied and c.wanted and c.version = a.version
    returning c.subscription_id, c.uuid
), activated as (
    update subscriptions s set activation_status = 'active', pending_since = null, updated_at = atlas.now()
    from (select distinct subscription_id, uuid from there) t
    where s.id = t.subscription_id and s.uuid = t.uuid and s.activation_status = 'pending'
    returning s.id, s.account_id, s.source, s.tariff, s.uuid, s.version, s.expires_at
), history as (
    insert into subscription_history
        (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at)
    select id, 'activated', source, tariff, uuid, version, expires_at, expires_at from activated
)
select id as subscription_id, account_id, uuid, expires_at from activated
"""

# Refused or not reached: released, with its own next time (doubling, jittered by the row's own id so that a page of
# failures does not come back as one wave).
_PUT_OFF = """
with answer as (
    select * from jsonb_to_recordset(cast(:answers as jsonb)) as a
        (subscription_id bigint, node_id bigint, version bigint, claimed_by uuid, applied boolean, link text,
         held_version bigint, error text)
)
update node_clients c
set attempts = c.attempts + 1, claimed_by = null, claimed_until = null, last_error = left(a.error, 300),
    next_attempt_at = atlas.now() + make_interval(secs =>
        least(:max_s, :min_s * power(2, least(c.attempts, 10))) * (0.5 + (c.subscription_id % 50) / 100.0))
from answer a
where c.subscription_id = a.subscription_id and c.node_id = a.node_id and c.claimed_by = a.claimed_by and not a.applied
returning c.subscription_id, c.node_id
"""

# The node knows a newer version than ours: the subscription's counter goes beyond it, and this node's row takes it; other
# nodes' rows stay as they are. It is due at once, but the node is believed once only: after that the row's own next time
# stands.
_RAISE_VERSIONS = """
with behind as (
    select subscription_id, node_id, held_version
    from jsonb_to_recordset(cast(:answers as jsonb)) as a (subscription_id bigint, node_id bigint, held_version bigint)
), newer as (
    update subscriptions s set version = greatest(s.version, b.held) + 1
    from (select subscription_id, max(held_version) as held from behind group by subscription_id) b
    where s.id = b.subscription_id
    returning s.id, s.version
)
update node_clients c
set version = newer.version, claimed_by = null, claimed_until = null,
    next_attempt_at = case when c.attempts > 1 then c.next_attempt_at else atlas.now() end
from newer join behind on behind.subscription_id = newer.id
where c.subscription_id = behind.subscription_id and c.node_id = behind.node_id
"""

# What a node said about itself. The node's row is locked, so of two answers that bring a new state only one finds it new.
_HEARD = """
with before as (
    select id, state_id, trouble, trouble_since from nodes where id = :node_id for no key update
), after as (
    update nodes n
    set state_id = coalesce(cast(:state_id as text), before.state_id),
        state_lost_at = case when before.state_id <> cast(:state_id as text) then atlas.now() else n.state_lost_at end,
        forgotten_to = case when before.state_id <> cast(:state_id as text) then 0 else n.forgotten_to end,
        clock_off_ms = case when cast(:answered as boolean) then cast(:clock_off_ms as bigint) else n.clock_off_ms end,
        answers_since = case when before.trouble is not null and cast(:trouble as text) is null then atlas.now()
                             else n.answers_since end,
        trouble = cast(:trouble as text),
        trouble_since = case when cast(:trouble as text) is null then null
                             when before.trouble = cast(:trouble as text) then before.trouble_since else atlas.now() end
    from before where n.id = before.id
    returning n.id
)
select coalesce(before.state_id <> cast(:state_id as text), false) from before join after using (id)
"""

# The node lost its memory: whatever it confirmed before, it holds no longer. That is forgotten a page at a time, since a node may have
# had a million clients, and filled again by the same sweep; a customer who was let in before stays activated, their other nodes serve
# them. What it confirmed since it was heard of stands.
_LOST_STATE = "select id from nodes where forgotten_to is not null order by id"
_FORGET = """
with node as (
    select id, forgotten_to, state_lost_at from nodes where id = :node_id and forgotten_to is not null for no key update
), page as materialized (
    select c.subscription_id from node_clients c join node on c.node_id = node.id
    where c.wanted and c.subscription_id > node.forgotten_to
    order by c.subscription_id limit :page
), forgotten as (
    update node_clients c
    set applied_version = null, attempts = 0, next_attempt_at = atlas.now(), changed_at = atlas.now()
    from page, node
    where c.node_id = node.id and c.subscription_id = page.subscription_id
      and c.applied_version is not null and (c.applied_at is null or c.applied_at < node.state_lost_at)
    returning c.subscription_id
), moved as (
    update nodes n set forgotten_to = case when (select count(*) from page) = :page then (select max(subscription_id) from page) end
    from node where n.id = node.id
)
select (select count(*) from page) as looked_at, (select count(*) from forgotten) as changed, cast(0 as bigint) as last
"""
# A row that a page can't be done for is passed over; it is met again when it changes, or by reconciliation.
_OVER_FORGET = """
update nodes n set forgotten_to = (
    select min(subscription_id) from node_clients where node_id = n.id and wanted and subscription_id > n.forgotten_to)
where n.id = :node_id and n.forgotten_to is not null
"""

# Customers of a node that is drained, by id and from where the last pass stopped: taken off where another active node that is well has
# confirmed them as they are, and left alone, for the next round, where none has. Their subscription is locked as for any change.
_DRAINING = "select id from nodes where state = 'draining' order by id"
_OFF = """
with page as materialized (
    select c.subscription_id from node_clients c
    where c.node_id = :node_id and c.wanted and c.subscription_id > :after
    order by c.subscription_id limit :page
), safe as materialized (
    select s.id from page join subscriptions s on s.id = page.subscription_id
    where exists (
        select from node_clients o join nodes n on n.id = o.node_id
        where o.subscription_id = s.id and o.wanted and o.applied_version = o.version and o.applied_uuid = s.uuid
          and n.state = 'active' and n.lost_since is null and n.open_until is null and n.trouble is null
          and n.forgotten_to is null)
    order by s.id
    for no key update of s skip locked
), raised as (
    update subscriptions s set version = s.version + 1 from safe where s.id = safe.id
    returning s.id, s.version
), off as (
    update node_clients c
    set wanted = false, version = raised.version, attempts = 0, next_attempt_at = atlas.now(),
        claimed_by = null, claimed_until = null, last_error = null, changed_at = atlas.now()
    from raised where c.subscription_id = raised.id and c.node_id = :node_id
    returning c.subscription_id
)
select (select count(*) from page) as looked_at, (select count(*) from off) as changed,
       coalesce((select max(subscription_id) from page), 0) as last
"""
_DRAINED_TO = "select drained_to from nodes where id = :node_id and state = 'draining'"
_SET_DRAINED_TO = "update nodes set drained_to = :to where id = :node_id and drained_to <> :to"
_OVER_OFF = """
update nodes n set drained_to = coalesce((
    select min(subscription_id) from node_clients where node_id = n.id and wanted and subscription_id > n.drained_to), 0)
where n.id = :node_id
"""

# What the node removed by itself although it is wanted and not over: due again, under a version of its own, since the
# node remembers the dropped version as ended. A row that moved on meanwhile is due already.
_RESTORE = """
with dropped as (
    select subscription_id, version
    from jsonb_to_recordset(cast(:dropped as jsonb)) as d (subscription_id bigint, version bigint)
), due as materialized (
    select c.subscription_id from node_clients c join dropped d using (subscription_id)
    where c.node_id = :node_id and c.wanted and c.version <= d.version and c.expires_at > atlas.now()
), raised as (
    update subscriptions s set version = s.version + 1 from due where s.id = due.subscription_id
    returning s.id, s.version
)
update node_clients c
set version = raised.version, applied_version = null, attempts = 0, next_attempt_at = atlas.now(),
    claimed_by = null, claimed_until = null, changed_at = atlas.now()
from raised where c.subscription_id = raised.id and c.node_id = :node_id
"""

# Reports of clients that this node is not to hold at all: acknowledged, or it would repeat them for ever.
_UNKNOWN = """
select d.subscription_id, d.version
from jsonb_to_recordset(cast(:dropped as jsonb)) as d (subscription_id bigint, version bigint)
where not exists (select from node_clients c where c.node_id = :node_id and c.subscription_id = d.subscription_id)
"""


@dataclass(frozen=True, slots=True)
class _Locked:
    locked: int
    counts_failures: bool


@dataclass(frozen=True, slots=True)
class _Row:
    subscription_id: int
    node_id: int


@dataclass(frozen=True, slots=True)
class _Activated:
    subscription_id: int
    account_id: int
    uuid: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Placed:
    """What `place` did: looked at so many subscriptions, and wrote so many clients."""

    subscriptions: int
    clients: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim of one node's clients; of a node whose breaker is open, its probe as well."""

    node: Node
    works: tuple[Work, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of a node's answers.

    Attributes:
        activated: how many subscriptions became usable.
        follow_up: the work that sends their keys.
        restored: how many clients are due again, since the node dropped them.
        acknowledge: reports of the node that are answered by telling it so.
        turned: what became of its breaker, see `lib.domain.breaker.turned`.
        state_lost: it lost what it held; `forget` is to make its clients due again.
    """

    activated: int
    follow_up: tuple[outbox.Item, ...] = ()
    restored: int = 0
    acknowledge: tuple[Dropped, ...] = ()
    turned: str | None = None
    state_lost: bool = False


def ensure_first_node(tx: Transaction, api_url: str, key_name: str, pins: Sequence[str] = ()) -> None:
    """The configured node, while the table is empty (`XRAY_API_URL`, `XRAY_API_PIN`); an address of no use makes none."""
    pin, next_pin = [*pins, None, None][:2]
    tx.execute(_FIRST_NODE, api_url=api_url, key_name=key_name, pin=pin, next_pin=next_pin)


def nodes(tx: Transaction) -> list[Node]:
    """The nodes that are to serve customers and may be asked now; one whose breaker is open only by who takes its probe."""
    return tx.rows(Node, _SERVING)


def take_probe(tx: Transaction, node_id: int, me: UUID) -> bool:
    """Take the one probe of a node whose breaker is open; False: another did, or it is not due."""
    return tx.value(_TAKE_PROBE, node_id=node_id, me=me, lease_s=breakers.PROBE_LEASE_S) is not None


def place(tx: Transaction, *, subscription_id: int | None, page: int) -> Placed:
    """Write the desired state that active nodes lack, or that is not its subscription's.

    Of one subscription; or of up to `page` of those granted before the last node began to take clients.
    """
    if subscription_id is not None:
        return tx.one(Placed, _PLACE_ONE, subscription_id=subscription_id)
    return tx.one(Placed, _PLACE_DUE, page=page)


@dataclass(frozen=True, slots=True)
class Paged:
    """A page of one node's customers: how many were looked at and changed, and the last one of them."""

    looked_at: int
    changed: int
    last: int


def that_lost_state(tx: Transaction) -> list[int]:
    """Ids of nodes whose confirmations of before are still to be forgotten."""
    return tx.values(_LOST_STATE)


def forget(tx: Transaction, node_id: int, page: int) -> Paged:
    """Make due again what a node confirmed before it lost its state, the next page of its customers."""
    return tx.row(Paged, _FORGET, node_id=node_id, page=page) or Paged(0, 0, 0)


def pass_over_forget(tx: Transaction, node_id: int) -> None:
    """The next customer's row can't be changed: go on after it."""
    tx.execute(_OVER_FORGET, node_id=node_id)


def draining(tx: Transaction) -> list[int]:
    """Ids of nodes whose customers are to be taken off."""
    return tx.values(_DRAINING)


def take_off(tx: Transaction, node_id: int, page: int) -> Paged:
    """Take the next page of a draining node's customers off it, those alone that another node is confirmed to let in."""
    after = tx.value(_DRAINED_TO, node_id=node_id)
    if after is None:
        return Paged(0, 0, 0)
    found = tx.one(Paged, _OFF, node_id=node_id, after=after, page=page)
    tx.execute(_SET_DRAINED_TO, node_id=node_id, to=found.last if found.looked_at == page else 0)
    return found


def pass_over_take_off(tx: Transaction, node_id: int) -> None:
    """The next customer's row can't be changed: go on after it."""
    tx.execute(_OVER_OFF, node_id=node_id)


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A subscription that `place` would work on, and the generation of placement that it is of."""

    placement: int
    id: int

    def __int__(self) -> int:
        """Its id."""
        return self.id


FIRST_UNPLACED = Unplaced(-1, 0)
"""Comes before all of them."""


def to_be_placed(tx: Transaction, after: Unplaced, page: int) -> list[Unplaced]:
    """Subscriptions that `place` would work on, a keyset page: for one by one, when a page as a whole is refused."""
    return tx.rows(Unplaced, _TO_BE_PLACED, placement=after.placement, id=after.id, page=page)


def nodes_due(tx: Transaction, *, wanted: bool) -> list[int]:
    """Ids of nodes that have clients to add (`wanted`) or to remove, due now."""
    return tx.values(_DUE_TO_ADD if wanted else _DUE_TO_REMOVE)


def claim_subscription(tx: Transaction, subscription_id: int, me: UUID) -> list[Claimed]:
    """Everything that nodes still have to learn about one subscription, by node, whatever its next time says.

    Of nodes that may be asked; the probe of one whose breaker is open is taken with the claim.
    """
    asked = [
        node
        for node in tx.rows(Node, _TO_ASK_OF_ONE, subscription_id=subscription_id)
        if not node.is_open or take_probe(tx, node.id, me)
    ]
    if not asked:
        return []
    works = tx.rows(
        Work,
        _CLAIM_ONE,
        subscription_id=subscription_id,
        node_ids=[node.id for node in asked],
        me=me,
        lease_s=LEASE_S,
    )
    return [claimed for node in asked if (claimed := _claimed(tx, node, works, me)) is not None]


def claim(tx: Transaction, node_id: int, me: UUID, page: int, *, wanted: bool) -> Claimed | None:
    """A batch of one node's clients to add (`wanted`) or to remove, due now.

    None when there are none, or the node may not be asked; the probe of one whose breaker is open is taken with the claim.
    """
    node = tx.row(Node, _ONE_TO_ASK, node_id=node_id)
    if node is None or (node.is_open and not take_probe(tx, node_id, me)):
        return None
    statement = _CLAIM_TO_ADD if wanted else _CLAIM_TO_REMOVE
    return _claimed(tx, node, tx.rows(Work, statement, node_id=node_id, me=me, page=page, lease_s=LEASE_S), me)


def _claimed(tx: Transaction, node: Node, works: list[Work], me: UUID) -> Claimed | None:
    """What was claimed of this node; a probe with nothing to say is given back."""
    ours = tuple(work for work in works if work.node_id == node.id)
    if not ours and node.is_open:
        tx.execute(_GIVE_PROBE_BACK, node_id=node.id, me=me)
    return Claimed(node, ours) if ours else None


def record(
    tx: Transaction,
    node: Node,
    answers: Sequence[Answer],
    heard: Heard | None,
    *,
    correlation_id: str,
    finishes: int | None = None,
    call: Call | None = None,
) -> Recorded:
    """Write down what one node answered; claims that were lost meanwhile change nothing.

    `heard` is what it said about itself, None when it could not be asked. `finishes` is the outbox row that this work
    was for: it is done in the same transaction. `call` is how the call ended, for the node's breaker; None: it was told before.
    """
    dropped = json.dumps([asdict(one) for one in heard.dropped]) if heard and heard.dropped else None
    behind = {answer.subscription_id for answer in answers if answer.held_version is not None}
    raised = behind | ({one.subscription_id for one in heard.dropped} if heard else set())
    ids = {answer.subscription_id for answer in answers} | raised
    locked = tx.one(_Locked, _LOCK_SUBSCRIPTIONS, ids=sorted(ids), raised=sorted(raised), node_id=node.id)
    turned = None
    if call is not None and (call.failed or locked.counts_failures):
        turned = _count(tx, node.id, call)
    state_lost, restored = _listen(tx, node, heard, dropped) if heard is not None else (False, 0)
    activated = _confirm(tx, answers) if answers else []
    unknown = tx.rows(Dropped, _UNKNOWN, node_id=node.id, dropped=dropped) if dropped else []
    follow_up: list[outbox.Item] = []
    if activated:
        # the UUID's first digits tell two keys of one subscription apart without naming either
        keys = [(one, str(one.uuid)[:8]) for one in activated]
        told = [
            (
                f"key:{one.subscription_id}:{start}",
                one.account_id,
                {"subscription_id": one.subscription_id, "uuid_start": start},
            )
            for one, start in keys
        ]
        follow_up = messages.queue_each(tx, "key", told, correlation_id)
        if len(follow_up) < len(told):
            # a key that was not sent before a freeze was no longer true meanwhile, and the same key works again after it
            follow_up += messages.revive(tx, [key for key, _, _ in told], correlation_id)
    if finishes is not None:
        outbox.finish_with_commit(tx, finishes)
    return Recorded(len(activated), tuple(follow_up), restored, tuple(unknown), turned, state_lost=state_lost)


def _count(tx: Transaction, node_id: int, call: Call) -> str | None:
    """Let the node's breaker hear of the call; what became of it."""
    before = tx.one(breakers.Breaker, _BREAKER, node_id=node_id)
    now: datetime = tx.value("select atlas.now()")
    after = breakers.after(before, call, now)
    if after != before:
        tx.execute(_SET_BREAKER, node_id=node_id, **asdict(after))
    return breakers.turned(before, after)


def _listen(tx: Transaction, node: Node, heard: Heard, dropped: str | None) -> tuple[bool, int]:
    """Keep what the node said about itself, when it is news; whether it lost its state, and how many clients are due again as it dropped them."""
    state_lost, restored = False, 0
    if _is_news(node, heard):
        state_lost = tx.value(
            _HEARD,
            node_id=node.id,
            state_id=heard.state_id,
            clock_off_ms=heard.clock_off_ms,
            trouble=heard.trouble,
            answered=heard.trouble is None,
        )
    if dropped is not None:
        restored = tx.execute(_RESTORE, node_id=node.id, dropped=dropped)
    return state_lost, restored


def _is_news(node: Node, heard: Heard) -> bool:
    """Whether the node's row has to change: an answer like the last one must not cost every grant a hot row."""
    if heard.trouble != node.trouble or heard.state_id not in {None, node.state_id}:
        return True
    if heard.trouble is not None:
        return False
    if heard.clock_off_ms is None or node.clock_off_ms is None:
        return heard.clock_off_ms != node.clock_off_ms
    return abs(heard.clock_off_ms - node.clock_off_ms) > CLOCK_OFF_MS // 6


def _confirm(tx: Transaction, answers: Sequence[Answer]) -> list[_Activated]:
    rows = json.dumps([asdict(answer) for answer in answers])
    activated = tx.rows(_Activated, _CONFIRM, answers=rows)
    if activated:
        tx.reach("activation.mid-transaction")
    if not all(answer.applied for answer in answers):
        ours = set(tx.rows(_Row, _PUT_OFF, answers=rows, min_s=RETRY_MIN_S, max_s=RETRY_MAX_S))
        behind = [
            {
                "subscription_id": answer.subscription_id,
                "node_id": answer.node_id,
                "held_version": answer.held_version,
            }
            for answer in answers
            if answer.held_version is not None and _Row(answer.subscription_id, answer.node_id) in ours
        ]
        if behind:
            tx.execute(_RAISE_VERSIONS, answers=json.dumps(behind))
    return activated


def share_link(tx: Transaction, account_id: int) -> str | None:
    """The share link a node built for the account's current access, or None while no node holds it."""
    link: str | None = tx.value(
        "select c.link from subscriptions s join node_clients c on c.subscription_id = s.id"
        " join nodes n on n.id = c.node_id"
        " where s.account_id = :account_id and s.status = 'active' and s.expires_at > atlas.now()"
        " and c.wanted and c.applied_uuid = s.uuid"
        " order by n.lost_since is not null, c.applied_version is null, n.weight desc, c.node_id limit 1",
        account_id=account_id,
    )
    return link
