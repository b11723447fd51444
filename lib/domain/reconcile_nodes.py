"""What nodes hold against what Postgres wants of them, both ways (docs/architecture.md, Nodes against Postgres).

A node lists its clients in the order of their names, as text; `node_clients` has an index of that order, so both are read page by page
and merged, however many there are. A client without a row is an orphan: it is noted, and removed once it was there for `GRACE_S`. A
confirmation that the list does not bear out is taken back, and the activation sweep applies the client anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lib.domain import provisioning
from lib.domain.provisioning import Work

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from lib.db import Transaction
    from lib.domain.provisioning import Answer, Node

GRACE_S = 120.0
"""An orphan is let alone for so long after it was first seen (acceptance list, S3-Recon; architecture.md, invariants)."""
MOST_REMOVALS = 100
"""So many orphans go in one run, of all nodes together (S3-Recon): a database that lost rows does not cost its customers their access at once."""
FAILURES, OPEN_S = 3, 600.0
"""Its breaker: after so many failed calls in a row a node is not asked for so long (S3-Recon)."""
RETRY_S = 600.0
"""An orphan that a node did not remove is behind the others for so long."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One client that a node holds: a name that is a subscription's id, and the version and UUID it is held at."""

    client: int
    version: int
    uuid: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a node's list: the names after one, up to another and with it.

    Attributes:
        after: a name; empty: from the beginning.
        last: a name; None: to the end.
    """

    node_id: int
    after: str
    last: str | None
    listed: Sequence[Listed]

    def parameters(self) -> dict[str, object]:
        """For statements that read `listed` and the same stretch of a table."""
        return {
            "node_id": self.node_id,
            "after": self.after,
            "last": self.last,
            "listed": json.dumps([asdict(one) for one in self.listed]),
        }


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What `take_back` did with a page: rows looked at, confirmations taken back, the name of the last row."""

    looked: int
    taken: int
    last: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What a dry run tells of one client.

    Attributes:
        kind: `orphan`: would be removed; `absent`, `other`: would be applied anew; `leaving`: its removal is due already.
        wanted_version: of its row; None of an orphan.
        held_version: on the node; None when it is not there.
        account_id: None of a subscription that Postgres does not know.
        seen_s: since when an orphan is known, in seconds; None when no run has seen it.
    """

    kind: str
    subscription_id: int
    account_id: int | None
    wanted_version: int | None
    held_version: int | None
    seen_s: float | None


@dataclass(frozen=True, slots=True)
class Breaker:
    """A node's breaker after a failed call."""

    failures: int
    is_open: bool


_LISTED = """listed as materialized (
    select l.client, l.version, l.uuid
    from jsonb_to_recordset(cast(:listed as jsonb)) as l (client bigint, version bigint, uuid uuid)
)"""


# Rows of the stretch, by the index of names; a name holds nothing that comes after `~`.
_OF_STRETCH = """(cast(c.subscription_id as text) collate "C") > cast(:after as text)
      and (cast(c.subscription_id as text) collate "C") <= coalesce(cast(:last as text), '~')"""
_NOTED_OF_STRETCH = """(cast(o.client as text) collate "C") > cast(:after as text)
      and (cast(o.client as text) collate "C") <= coalesce(cast(:last as text), '~')"""

# What the node had confirmed before it was asked for its list, and still has to hold. What was confirmed later may stand in no list.
_CONFIRMED = """c.wanted and c.applied_version = c.version and c.applied_at < cast(:before as timestamptz)
      and c.expires_at > atlas.now()"""

_WITHOUT_A_ROW = """orphan as materialized (
    select l.client, l.version from listed l
    where not exists (select from node_clients c where c.node_id = :node_id and c.subscription_id = l.client)
)"""

# A row that is there, wanted or not, is other work's: what is to go has its own next time, and the expiry sweep removes it.
# An orphan that is noted under another version was put there anew: its grace begins again.
_NOTE = f"""
with {_LISTED}, {_WITHOUT_A_ROW}, ended as (
    delete from orphan_clients o
    where o.node_id = :node_id and {_NOTED_OF_STRETCH} and not exists (select from orphan where orphan.client = o.client)
), noted as (
    insert into orphan_clients (node_id, client, version, due_at)
    select :node_id, client, version, atlas.now() + make_interval(secs => :grace_s) from orphan order by client
    on conflict (node_id, client) do update
    set version = excluded.version, seen_at = atlas.now(), due_at = excluded.due_at, claimed_by = null, claimed_until = null
    where orphan_clients.version <> excluded.version
)
select count(*) from orphan
"""  # noqa: S608 -- constants

# Rows that another transaction is at work on are passed over: they change anyway, and are compared again by the next run. Like
# a node that lost its memory: the customer stays activated, for their other nodes serve them.
_TAKE_BACK = f"""
with {_LISTED}, page as materialized (
    select c.subscription_id, c.version, c.uuid, {_CONFIRMED} as is_confirmed from node_clients c
    where c.node_id = :node_id and {_OF_STRETCH}
    order by cast(c.subscription_id as text) collate "C" limit :page
), differs as materialized (
    select page.subscription_id from page left join listed l on l.client = page.subscription_id
    where page.is_confirmed and (l.version, l.uuid) is distinct from (page.version, page.uuid)
), locked as materialized (
    select c.subscription_id from node_clients c
    where c.node_id = :node_id and c.subscription_id = any(array(select subscription_id from differs)) and {_CONFIRMED}
    order by c.subscription_id for no key update skip locked
), taken as (
    update node_clients c
    set applied_version = null, attempts = 0, next_attempt_at = atlas.now(), changed_at = atlas.now(),
        claimed_by = null, claimed_until = null
    from locked where c.node_id = :node_id and c.subscription_id = locked.subscription_id
    returning c.subscription_id
)
select (select count(*) from page) as looked, (select count(*) from taken) as taken,
       (select max(cast(subscription_id as text) collate "C") from page) as last
"""  # noqa: S608 -- constants

_DIFFERENCES = f"""
with {_LISTED}, {_WITHOUT_A_ROW}, page as materialized (
    select c.subscription_id, c.version, c.uuid, c.wanted, {_CONFIRMED} as is_confirmed from node_clients c
    where c.node_id = :node_id and {_OF_STRETCH}
    order by cast(c.subscription_id as text) collate "C" limit :page
), found as (
    select 'orphan' as kind, o.client as subscription_id, cast(null as bigint) as wanted_version, o.version as held_version,
           cast(extract(epoch from atlas.now() - n.seen_at) as double precision) as seen_s
    from orphan o left join orphan_clients n on n.node_id = :node_id and n.client = o.client
    where :with_orphan
    union all
    select case when l.client is null then 'absent' else 'other' end, page.subscription_id, page.version, l.version, null
    from page left join listed l on l.client = page.subscription_id
    where page.is_confirmed and (l.version, l.uuid) is distinct from (page.version, page.uuid)
    union all
    select 'leaving', page.subscription_id, page.version, l.version, null
    from page join listed l on l.client = page.subscription_id where not page.wanted
)
select found.kind, found.subscription_id, s.account_id, found.wanted_version, found.held_version, found.seen_s
from found left join subscriptions s on s.id = found.subscription_id order by found.kind, found.subscription_id
"""  # noqa: S608 -- constants
_LAST_OF_PAGE = f"""
select cast(c.subscription_id as text) collate "C" as name from node_clients c
where c.node_id = :node_id and {_OF_STRETCH}
order by cast(c.subscription_id as text) collate "C" offset :page - 1 limit 1
"""  # noqa: S608 -- constants

# Fair: every node's first before any node's second, so one that holds thousands keeps no other waiting.
_RIPE = """
select ripe.node_id, ripe.client from nodes n cross join lateral (
    select o.node_id, o.client, row_number() over (order by o.due_at, o.client) as place from orphan_clients o
    where o.node_id = n.id and o.due_at <= atlas.now() and (o.claimed_until is null or o.claimed_until <= atlas.now())
    order by o.due_at, o.client limit :most
) ripe
where n.id = any(cast(:nodes as bigint[]))
order by ripe.place, ripe.node_id limit :most
"""

# The live re-check, in two statements: subscriptions are locked first, as every grant and every end locks them, and the second one's
# snapshot is younger than the locks. One that another transaction is at work on waits for the next run.
_LOCK_SUBSCRIPTIONS = """
select id from subscriptions where id = any(cast(:clients as bigint[])) order by id for no key update skip locked
"""
# The removal gets a version of its own, beyond what the node holds and beyond all that were ever given out: a client that is wanted
# here meanwhile takes a newer one still, so a removal that comes late is refused by the node.
_CLAIM = """
with due as materialized (
    select o.client, o.version from orphan_clients o left join subscriptions s on s.id = o.client
    where o.node_id = :node_id and o.client = any(cast(:clients as bigint[])) and o.due_at <= atlas.now()
      and (o.claimed_until is null or o.claimed_until <= atlas.now())
      and (s.id is null or s.id = any(cast(:locked as bigint[])))
      and not exists (select from node_clients c where c.node_id = o.node_id and c.subscription_id = o.client)
    order by o.client for no key update of o skip locked
), raised as (
    update subscriptions s set version = greatest(s.version, due.version) + 1 from due where s.id = due.client
    returning s.id, s.version
), claimed as (
    update orphan_clients o
    set claimed_by = cast(:me as uuid), claimed_until = atlas.now() + make_interval(secs => :lease_s)
    from due where o.node_id = :node_id and o.client = due.client
)
select due.client as subscription_id, cast(:node_id as bigint) as node_id, cast(:me as uuid) as uuid,
       coalesce(raised.version, due.version + 1) as version, false as wanted, atlas.now() as expires_at,
       cast(:me as uuid) as claimed_by
from due left join raised on raised.id = due.client order by due.client
"""

_REMOVED = """
delete from orphan_clients o
using jsonb_to_recordset(cast(:answers as jsonb)) as a (subscription_id bigint, claimed_by uuid, applied boolean)
where o.node_id = :node_id and o.client = a.subscription_id and o.claimed_by = a.claimed_by and a.applied
"""
_NOT_REMOVED = """
update orphan_clients o
set claimed_by = null, claimed_until = null, due_at = atlas.now() + make_interval(secs => :retry_s)
from jsonb_to_recordset(cast(:answers as jsonb)) as a (subscription_id bigint, claimed_by uuid, applied boolean)
where o.node_id = :node_id and o.client = a.subscription_id and o.claimed_by = a.claimed_by and not a.applied
"""

_MOST_COUNTED = 10_000
_KNOWN = """
select count(*) from (
    select from orphan_clients o join nodes n on n.id = o.node_id where n.state <> 'retired' limit :most
) known
"""

_MAY_BE_LISTED = """
select id from nodes
where lost_since is null and open_until is null and (reconcile_open_until is null or reconcile_open_until <= atlas.now())
"""
_FAILED = """
update nodes
set reconcile_failures = reconcile_failures + 1,
    reconcile_open_until = case when reconcile_failures + 1 >= :failures then atlas.now() + make_interval(secs => :open_s) end
where id = :node_id
returning reconcile_failures as failures, reconcile_open_until is not null as is_open
"""
_ANSWERED = """
update nodes set reconcile_failures = 0, reconcile_open_until = null
where id = :node_id and (reconcile_failures > 0 or reconcile_open_until is not null)
"""


def may_be_listed(tx: Transaction) -> list[Node]:
    """The nodes that serve customers, are not lost, and whose breakers are closed: the one of all calls and the one of lists."""
    listed = set(tx.values(_MAY_BE_LISTED))
    return [node for node in provisioning.nodes(tx) if node.id in listed]


def note(tx: Transaction, stretch: Stretch) -> int:
    """Keep which clients of the stretch have no row, and forget those that were noted and are no orphans now; how many there are."""
    found: int = tx.value(_NOTE, grace_s=GRACE_S, **stretch.parameters())
    return found


def take_back(tx: Transaction, stretch: Stretch, before: datetime, page: int) -> TakenBack:
    """Of the first `page` rows of the stretch: take confirmations back that the list does not bear out.

    `before` is when the node was not yet asked for this list (`Node.asked_at`).
    """
    return tx.one(TakenBack, _TAKE_BACK, before=before, page=page, **stretch.parameters())


def differences(
    tx: Transaction, stretch: Stretch, before: datetime, page: int, *, with_orphan: bool
) -> tuple[list[Difference], str | None]:
    """What `note` and `take_back` would find in a page of the stretch, with nothing changed; and its last name, None when it ends there."""
    last = tx.value(_LAST_OF_PAGE, node_id=stretch.node_id, after=stretch.after, last=stretch.last, page=page)
    found = tx.rows(Difference, _DIFFERENCES, before=before, page=page, with_orphan=with_orphan, **stretch.parameters())
    return found, last


@dataclass(frozen=True, slots=True)
class _Ripe:
    node_id: int
    client: int


def ripe(tx: Transaction, nodes: Collection[int]) -> dict[int, list[int]]:
    """Orphans of these nodes that are past their grace, as many as one run may remove: clients by node."""
    found: dict[int, list[int]] = {}
    for one in tx.rows(_Ripe, _RIPE, nodes=sorted(nodes), most=MOST_REMOVALS):
        found.setdefault(one.node_id, []).append(one.client)
    return found


def claim(tx: Transaction, node_id: int, clients: Sequence[int], me: UUID) -> list[Work]:
    """Those that are orphans at this moment, ours alone for the length of a lease: removals with versions of their own.

    A removal names no UUID and no end: where `Work` has them stand the claim and the present moment.
    """
    locked = tx.values(_LOCK_SUBSCRIPTIONS, clients=list(clients))
    return tx.rows(
        Work, _CLAIM, node_id=node_id, clients=list(clients), locked=locked, me=me, lease_s=provisioning.LEASE_S
    )


def record_removals(tx: Transaction, node_id: int, answers: Sequence[Answer]) -> int:
    """Write down what the node answered: what it removed is forgotten, the rest waits behind the others. How many are gone."""
    rows = json.dumps(
        [
            {"subscription_id": one.subscription_id, "claimed_by": one.claimed_by, "applied": one.applied}
            for one in answers
        ]
    )
    removed = tx.execute(_REMOVED, node_id=node_id, answers=rows)
    tx.reach("reconcile.mid-transaction")
    tx.execute(_NOT_REMOVED, node_id=node_id, answers=rows, retry_s=RETRY_S)
    return removed


def orphan_count(tx: Transaction) -> int:
    """How many clients without a row are known, of nodes that serve; ten thousand are counted, and no more."""
    found: int = tx.value(_KNOWN, most=_MOST_COUNTED)
    return found


def failed(tx: Transaction, node_id: int) -> Breaker:
    """A call failed for good: counted, and the breaker opens, or opens again, at the third in a row."""
    return tx.one(Breaker, _FAILED, node_id=node_id, failures=FAILURES, open_s=OPEN_S)


def answered(tx: Transaction, node_id: int) -> None:
    """The whole list came: the breaker closes."""
    tx.execute(_ANSWERED, node_id=node_id)
