"""Bringing nodes to what Postgres wants: claims, confirmations, retries (docs/architecture.md, rule 2)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lib.domain import messages, outbox

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from lib.db import Transaction

LEASE_S = 60.0
"""A claim outlives the longest node call with its attempts; then another runner may try."""
RETRY_MIN_S, RETRY_MAX_S = 5.0, 300.0


@dataclass(frozen=True, slots=True)
class Node:
    """A VPN node; `key_name` is the setting that holds its API key."""

    id: int
    name: str
    api_url: str
    key_name: str


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


_FIRST_NODE = """
insert into nodes (name, api_url, key_name)
select 'first', :api_url, :key_name where not exists (select from nodes)
on conflict (name) do nothing
"""
# A node that joined after the grant, or a grant made before the first node was known.
# Locked, or passed over when an expiry or a grant is at work on it: what is inserted is what the subscription still is.
_SPREAD = """
with due as materialized (
    select s.id, n.id as node_id, s.uuid, s.version, s.expires_at
    from subscriptions s cross join nodes n
    where n.enabled and s.status = 'active' and (cast(:subscription_id as bigint) is null or s.id = :subscription_id)
      and not exists (select from node_clients c where c.subscription_id = s.id and c.node_id = n.id)
    order by s.id limit :page
    for no key update of s skip locked
)
insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at)
select id, node_id, uuid, version, true, expires_at from due
on conflict do nothing
"""

_CLAIM_TAIL = """
update node_clients c
set claimed_by = cast(:me as uuid), claimed_until = atlas.now() + make_interval(secs => :lease_s)
from due where c.subscription_id = due.subscription_id and c.node_id = due.node_id
returning c.subscription_id, c.node_id, c.uuid, c.version, c.wanted, c.expires_at, c.claimed_by
"""

# Work is claimed by lease: the node is called after this commits, and a runner that dies leaves a claim that ends by itself.
_CLAIM_ONE = f"""
with due as (
    select subscription_id, node_id from node_clients
    where subscription_id = :subscription_id
      and (not wanted or applied_version is distinct from version)
      and (claimed_until is null or claimed_until <= atlas.now())
    order by node_id
    for no key update skip locked
){_CLAIM_TAIL}"""  # noqa: S608 -- constants

_CLAIM_TO_ADD = f"""
with due as (
    select subscription_id, node_id from node_clients
    where wanted and applied_version is distinct from version and next_attempt_at <= atlas.now()
      and (claimed_until is null or claimed_until <= atlas.now())
    order by next_attempt_at, subscription_id, node_id limit :page
    for no key update skip locked
){_CLAIM_TAIL}"""  # noqa: S608 -- constants

_CLAIM_TO_REMOVE = f"""
with due as (
    select subscription_id, node_id from node_clients
    where not wanted and next_attempt_at <= atlas.now()
      and (claimed_until is null or claimed_until <= atlas.now())
    order by next_attempt_at, subscription_id, node_id limit :page
    for no key update skip locked
){_CLAIM_TAIL}"""  # noqa: S608 -- constants

# Locks in the order every grant takes them: subscriptions first, then their clients.
_LOCK_SUBSCRIPTIONS = """
select count(*) from (
    select id from subscriptions where id = any(cast(:ids as bigint[])) order by id for no key update
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
    set applied_version = a.version, applied_at = atlas.now(), link = a.link, attempts = 0, last_error = null,
        claimed_by = null, claimed_until = null
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
    insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_at)
    select id, 'activated', source, tariff, uuid, version, expires_at from activated
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

# The node knows a newer version than ours: ours goes beyond it, and is due at once; but the node is believed once only,
# after that the row's own next time stands.
_OVERTAKE = """
with answer as (
    select subscription_id, max(held_version) as held
    from jsonb_to_recordset(cast(:answers as jsonb)) as a (subscription_id bigint, held_version bigint)
    where held_version is not null group by subscription_id
), newer as (
    update subscriptions s set version = answer.held + 1 from answer
    where s.id = answer.subscription_id and s.version <= answer.held
    returning s.id, s.version
)
update node_clients c
set version = newer.version, claimed_by = null, claimed_until = null,
    next_attempt_at = case when c.attempts > 1 then c.next_attempt_at else atlas.now() end
from newer where c.subscription_id = newer.id
"""


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
class Confirmed:
    """How many subscriptions became usable, and the follow-up work that sends their keys."""

    activated: int
    follow_up: tuple[outbox.Item, ...]


def ensure_first_node(tx: Transaction, api_url: str, key_name: str) -> None:
    """The configured node, while the table is empty (`XRAY_API_URL`)."""
    tx.execute(_FIRST_NODE, api_url=api_url, key_name=key_name)


def nodes(tx: Transaction) -> list[Node]:
    """Every node, the disabled ones too: a removal may still be owed to them."""
    return tx.rows(Node, "select id, name, api_url, key_name from nodes order by id")


def spread(tx: Transaction, *, subscription_id: int | None, page: int) -> int:
    """Want active subscriptions on enabled nodes that do not have them yet; how many clients were added."""
    return tx.execute(_SPREAD, subscription_id=subscription_id, page=page)


def claim_subscription(tx: Transaction, subscription_id: int, me: UUID) -> list[Work]:
    """Everything that nodes still have to learn about one subscription, whatever its next time says."""
    return tx.rows(Work, _CLAIM_ONE, subscription_id=subscription_id, me=me, lease_s=LEASE_S)


def claim_to_add(tx: Transaction, me: UUID, page: int) -> list[Work]:
    """A page of wanted clients that no node has confirmed, due now."""
    return tx.rows(Work, _CLAIM_TO_ADD, me=me, page=page, lease_s=LEASE_S)


def claim_to_remove(tx: Transaction, me: UUID, page: int) -> list[Work]:
    """A page of clients that must go, due now."""
    return tx.rows(Work, _CLAIM_TO_REMOVE, me=me, page=page, lease_s=LEASE_S)


def record(tx: Transaction, answers: list[Answer], correlation_id: str) -> Confirmed:
    """Write down what nodes answered; claims that were lost meanwhile change nothing."""
    rows = json.dumps([asdict(answer) for answer in answers])
    tx.value(_LOCK_SUBSCRIPTIONS, ids=sorted({answer.subscription_id for answer in answers}))
    activated = tx.rows(_Activated, _CONFIRM, answers=rows)
    if activated:
        tx.reach("activation.mid-transaction")
    if not all(answer.applied for answer in answers):
        ours = set(tx.rows(_Row, _PUT_OFF, answers=rows, min_s=RETRY_MIN_S, max_s=RETRY_MAX_S))
        behind = [
            {"subscription_id": answer.subscription_id, "held_version": answer.held_version}
            for answer in answers
            if answer.held_version is not None and _Row(answer.subscription_id, answer.node_id) in ours
        ]
        if behind:
            tx.execute(_OVERTAKE, answers=json.dumps(behind))
    follow_up: list[outbox.Item] = []
    for one in activated:
        # the UUID's first digits tell two keys of one subscription apart without naming either
        follow_up += messages.queue(
            tx,
            key=f"key:{one.subscription_id}:{str(one.uuid)[:8]}",
            account_id=one.account_id,
            kind="key",
            params={"subscription_id": one.subscription_id},
            correlation_id=correlation_id,
        )
    return Confirmed(len(activated), tuple(follow_up))


def share_link(tx: Transaction, account_id: int) -> str | None:
    """The share link a node built for the account's current access, or None while no node holds it."""
    link: str | None = tx.value(
        "select c.link from subscriptions s join node_clients c on c.subscription_id = s.id"
        " where s.account_id = :account_id and s.status = 'active' and s.expires_at > atlas.now()"
        " and c.wanted and c.uuid = s.uuid and c.link is not null and c.applied_version is not null"
        " order by c.node_id limit 1",
        account_id=account_id,
    )
    return link
