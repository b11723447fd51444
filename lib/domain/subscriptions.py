"""Access: grants, extensions, the end (product.md#subscription; docs/architecture.md, rule 2).

A UUID is born in the transaction of the grant that needs it. The end is one transaction: `expired`, UUID null, every
node client unwanted. Nodes converge afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from lib.domain import messages, outbox

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from lib.db import Transaction

SAME_VALUE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A customer's access as it is now.

    Attributes:
        auto_renew: it is extended from the balance before its end (lib/domain/renewals.py).
        frozen_until: when a freeze ends by itself; the time that is kept is `expires_at` less this.
        generation: of its link: one more with each reissue.
    """

    id: int
    tariff: str
    source: str
    status: str
    activation_status: str
    uuid: UUID | None
    version: int
    expires_at: datetime
    trial_until: datetime | None
    is_current: bool
    auto_renew: bool = False
    frozen_until: datetime | None = None
    generation: int = 1


@dataclass(frozen=True, slots=True)
class Grant:
    """What a grant did.

    Attributes:
        renewed: the access ran, or was frozen, so UUID and link stay.
        expires_before: the end before this grant, None for the first one.
        status: `frozen`: the time waits with the rest until the freeze ends.
        activation_status: `pending` until a node holds the client.
    """

    subscription_id: int
    uuid: UUID
    version: int
    expires_before: datetime | None
    expires_at: datetime
    status: str
    activation_status: str
    renewed: bool


_COLUMNS = """id, tariff, source, status, activation_status, uuid, version, expires_at, trial_until,
    status = 'active' and expires_at > atlas.now() as is_current, auto_renew, frozen_until, feed_generation as generation"""

_OF_ACCOUNT = f"select {_COLUMNS} from subscriptions where account_id = :account_id"  # noqa: S608 -- constant columns
_LOCKED = f"{_OF_ACCOUNT} for no key update"

_FIRST = """
insert into subscriptions
    (account_id, tariff, source, status, activation_status, uuid, started_at, expires_at, pending_since, trial_until, placement)
select :account_id, :tariff, :source, 'active', 'pending', gen_random_uuid(), atlas.now(), e.expires_at, atlas.now(),
       case when :source = 'trial' then e.expires_at end, (select generation from placement)
from (select atlas.now() + make_interval(secs => :seconds) as expires_at) e
on conflict (account_id) do nothing
returning id as subscription_id, uuid, version, cast(null as timestamptz) as expires_before, expires_at,
    status, activation_status, false as renewed
"""

# Active: end = max(end, now) + period, same UUID. Frozen: the same, reckoned from when the freeze ends, and it stays frozen.
# Expired: end = now + period, new UUID, from this very statement.
# Another tariff: paid time is converted by value, rounded down to minutes; what is left of a trial is kept as it is.
# Locked where it is read: an expiry that commits while this waits must be seen, or it would extend what has no UUID.
_AGAIN = """
with old as (
    select id, status <> 'expired' as renewed, expires_at as expires_before, coalesce(frozen_until, atlas.now()) as runs_from,
           trial_until
    from subscriptions where account_id = :account_id for no key update
), held as (
    select id, renewed, expires_before, greatest(expires_before, runs_from) as ends,
           greatest(least(coalesce(trial_until, runs_from), expires_before), runs_from) as trial_ends
    from old
), new as (
    select id, renewed, expires_before,
           case when not renewed then atlas.now()
                when cast(:numerator as bigint) = cast(:denominator as bigint) then ends
                else trial_ends + make_interval(mins => cast(
                         floor(extract(epoch from ends - trial_ends) * :numerator / (60 * :denominator)) as integer))
           end + make_interval(secs => :seconds) as expires_at
    from held
)
update subscriptions s
set tariff = :tariff,
    source = :source,
    status = case when new.renewed then s.status else 'active' end,
    uuid = case when new.renewed then s.uuid else gen_random_uuid() end,
    version = s.version + 1,
    activation_status = case when new.renewed then s.activation_status else 'pending' end,
    pending_since = case when new.renewed then s.pending_since else atlas.now() end,
    started_at = case when new.renewed then s.started_at else atlas.now() end,
    trial_until = case when :source = 'trial' then new.expires_at when new.renewed then s.trial_until end,
    expires_at = new.expires_at,
    -- what was asked for ends with the access it was asked for
    auto_renew = s.auto_renew and new.renewed,
    -- another tariff's value may leave less than there was: then that end is ahead, and is not one that was renewed
    last_auto_renewal_at = case
        when :source = 'renewal' and new.expires_before <= new.expires_at then new.expires_before
        when s.last_auto_renewal_at <= new.expires_at then s.last_auto_renewal_at end,
    placement = (select generation from placement),
    updated_at = atlas.now()
from new where s.id = new.id
returning s.id as subscription_id, s.uuid, s.version, new.expires_before, s.expires_at, s.status, s.activation_status, new.renewed
"""

_HISTORY = """
    insert into subscription_history
        (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, payment_id, actor_id, refund_id)
    values (:subscription_id, :event, :source, :tariff, :uuid, :version, :expires_before, :expires_at, :payment_id, :actor_id,
            :refund_id)
"""

# Desired state is written for every row that exists, whatever its node's state: a row left behind would let its node drop
# the client at the old end. A node that takes new clients gets the missing ones (of the generation of `placement` that the
# statement before read, and of any later one); one that does not only keeps those it has. Claims on the rows end here, so a call that is under way confirms nothing of the older version.
_WANT = f"""
with history as ({_HISTORY}), held as (
    update node_clients c
    set uuid = :uuid, version = :version, expires_at = :expires_at,
        wanted = c.wanted or (n.state = 'active' and n.lost_since is null),
        attempts = 0, next_attempt_at = atlas.now(), claimed_by = null, claimed_until = null, last_error = null,
        changed_at = atlas.now()
    from nodes n where n.id = c.node_id and c.subscription_id = :subscription_id
), called_off as (
    -- what is unsent speaks of another end; what is being sent at this moment looks at the end itself
    update messages m
    set status = 'cancelled', finished_at = atlas.now(), last_error = 'another end', claimed_by = null, claimed_until = null
    from subscriptions s
    where s.id = :subscription_id and m.account_id = s.account_id and m.status = 'queued' and m.kind in ('reminder', 'trial')
      and (m.claimed_until is null or m.claimed_until <= atlas.now())
)
insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at)
select :subscription_id, n.id, :uuid, :version, true, :expires_at from nodes n
where n.state = 'active' and n.lost_since is null
on conflict (subscription_id, node_id) do nothing
"""  # noqa: S608 -- a constant fragment

# Of access that stands still no node is to know anything.
_NO_NODE = """
update node_clients
set wanted = false, version = :version, attempts = 0, next_attempt_at = atlas.now(), claimed_by = null, claimed_until = null,
    last_error = null, changed_at = atlas.now()
where subscription_id = :subscription_id
"""

# As in a grant, what is written now is for the nodes of this generation. `least` passes over what is null: without a trial there is
# none that ends now, and an end that was never renewed is not one that was.
_SHORTEN = """
update subscriptions
set expires_at = :expires_at, version = version + 1,
    trial_until = case when trial_until is not null then least(trial_until, :expires_at) end,
    last_auto_renewal_at = case when last_auto_renewal_at <= :expires_at then last_auto_renewal_at end,
    placement = (select generation from placement), updated_at = atlas.now()
where id = :id
returning uuid, version
"""


class _Shortened(NamedTuple):
    uuid: UUID
    version: int


_TARIFFS_HELD = """
select distinct tariff from subscriptions where status <> 'expired'
union
select distinct tariff from orders where tariff is not null and status <> 'paid' and provider_closed_at is null
order by tariff
"""

# A page of access that is over; rows that another transaction is at work on are passed over. `for update`, since the UUID is a key.
_LOCK_DUE = """
select id from subscriptions
where status = 'active' and expires_at <= atlas.now()
order by expires_at, id limit :page
for update skip locked
"""

_LOCK_ONE = "select id from subscriptions where id = :id and status = 'active' and expires_at <= atlas.now() for update skip locked"

# Set-based, and a statement of its own: its snapshot is younger than the locks, so it sees every client that a node was
# given until they were taken.
_EXPIRE = f"""
with clock as materialized (
    select atlas.now() as at
), due as materialized (
    select id, account_id, uuid, tariff, source, expires_at from subscriptions
    where id = any(cast(:ids as bigint[]))
), ended as (
    update subscriptions s
    set status = 'expired', uuid = null, activation_status = 'none', pending_since = null,
        version = s.version + 1, updated_at = clock.at
    from due, clock where s.id = due.id
    returning s.id, s.version
), unwanted as (
    update node_clients c
    set wanted = false, version = ended.version, attempts = 0, next_attempt_at = clock.at,
        claimed_by = null, claimed_until = null, last_error = null, changed_at = clock.at
    from ended, clock where c.subscription_id = ended.id
), history as (
    insert into subscription_history
        (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, created_at)
    select due.id, 'expired', due.source, due.tariff, due.uuid, ended.version, due.expires_at, due.expires_at, clock.at
    from due join ended using (id), clock
), told as (
    -- the key holds the end it speaks of: each end is told once
    select 'expired:' || due.id || ':' || cast(extract(epoch from due.expires_at) as bigint) as key,
           due.account_id, 'expired' as kind, 'once' as delivery, cast(null as timestamptz) as due_at,
           cast(null as timestamptz) as not_after, jsonb_build_object('trial', due.source = 'trial') as params
    from due
), {messages.QUEUE_TOLD}
select id, queue, target, payload, attempt, correlation_id from message_work
"""  # noqa: S608 -- a constant fragment


@dataclass(frozen=True, slots=True)
class Ended:
    """What `expire` did: how many subscriptions ended, and the work that tells those who are to be told."""

    count: int
    follow_up: tuple[outbox.Item, ...]


def current(tx: Transaction, account_id: int) -> Subscription | None:
    """The account's subscription, ended or not, or None. Reading triggers nothing."""
    return tx.row(Subscription, _OF_ACCOUNT, account_id=account_id)


def locked(tx: Transaction, account_id: int) -> Subscription | None:
    """As `current`, locked until the transaction ends: for a decision that a grant follows."""
    return tx.row(Subscription, _LOCKED, account_id=account_id)


def now(tx: Transaction) -> datetime:
    """The one clock."""
    moment: datetime = tx.value("select atlas.now()")
    return moment


def running_tariff(held: Subscription | None, granted: str) -> str:
    """Whose time is left and is to be converted: the running subscription's; of none, that which is granted, so nothing is."""
    return held.tariff if held is not None and held.status != "expired" else granted


def end_after(held: Subscription | None, moment: datetime, value: Fraction, period: timedelta) -> datetime:
    """When access would end if `period` were granted at `moment`: what `grant` is going to say, to be shown before paying."""
    if held is None or held.status == "expired":
        return moment + period
    runs_from = held.frozen_until or moment
    ends = max(held.expires_at, runs_from)
    if value == SAME_VALUE:
        return ends + period
    trial_ends = _trial_ends(held, runs_from)
    microseconds = (ends - trial_ends) // timedelta(microseconds=1)
    minutes = microseconds * value.numerator // (60_000_000 * value.denominator)
    return trial_ends + timedelta(minutes=minutes) + period


def has_paid_time_left(held: Subscription | None, moment: datetime) -> bool:
    """Whether anything would be converted by another tariff's value: trial time is kept as it is."""
    if held is None or held.status == "expired":
        return False
    return held.expires_at > _trial_ends(held, held.frozen_until or moment)


def _trial_ends(held: Subscription, runs_from: datetime) -> datetime:
    return max(min(held.trial_until or runs_from, held.expires_at), runs_from)


def grant(
    tx: Transaction,
    account_id: int,
    *,
    tariff: str,
    seconds: int,
    source: str,
    value: Fraction = SAME_VALUE,
    payment_id: int | None = None,
    actor_id: int | None = None,
) -> Grant:
    """Give so many seconds of a tariff, and tell every node in the same transaction; of frozen access none is told.

    `value` is what a second of the running tariff is worth in the new one (`PriceList.conversion`). `payment_id` is the
    payment this is for; a payment grants once (unique). `actor_id` is the operator who gives it, by Telegram id, for source
    `admin`. The caller holds the account's row lock.
    """
    parameters = {"account_id": account_id, "tariff": tariff, "source": source, "seconds": seconds}
    given = tx.row(Grant, _FIRST, **parameters) or tx.one(
        Grant, _AGAIN, numerator=value.numerator, denominator=value.denominator, **parameters
    )
    tx.execute(
        _HISTORY if given.status == "frozen" else _WANT,
        subscription_id=given.subscription_id,
        event="renewed" if source == "renewal" else "extended" if given.renewed else "granted",
        source=source,
        tariff=tariff,
        uuid=given.uuid,
        version=given.version,
        expires_before=given.expires_before,
        expires_at=given.expires_at,
        payment_id=payment_id,
        actor_id=actor_id,
        refund_id=None,
    )
    return given


def changed(
    tx: Transaction,
    held: Subscription,
    event: str,
    *,
    uuid: UUID,
    version: int,
    expires_at: datetime,
    runs: bool,
    actor_id: int | None = None,
    refund_id: int | None = None,
) -> None:
    """Write a change of `held` down, and what nodes are to hold from now on: the client as it is now, or nothing when it does not run.

    `version` is the subscription's after the change. The caller holds the subscription's row, and has changed it.
    """
    tx.execute(
        _WANT if runs else _HISTORY,
        subscription_id=held.id,
        event=event,
        source=held.source,
        tariff=held.tariff,
        uuid=uuid,
        version=version,
        expires_before=held.expires_at,
        expires_at=expires_at,
        payment_id=None,
        actor_id=actor_id,
        refund_id=refund_id,
    )
    if not runs:
        tx.execute(_NO_NODE, subscription_id=held.id, version=version)


def take_off(
    tx: Transaction, held: Subscription, expires_at: datetime, *, refund_id: int, actor_id: int | None
) -> None:
    """Access ends at `expires_at`, which is before its end so far and not over: a refund took the rest off. Nodes are told.

    An end that is now is the sweep's, as any other. The caller holds the subscription's row (`locked`).
    """
    shortened = tx.one(_Shortened, _SHORTEN, id=held.id, expires_at=expires_at)
    changed(
        tx,
        held,
        "refunded",
        uuid=shortened.uuid,
        version=shortened.version,
        expires_at=expires_at,
        runs=held.status == "active",
        actor_id=actor_id,
        refund_id=refund_id,
    )


def tariffs_held(tx: Transaction) -> list[str]:
    """Tariffs of access that runs or is frozen, and of orders that may still be paid: a price list must say what they are worth."""
    return tx.values(_TARIFFS_HELD)


def expire(tx: Transaction, page: int, correlation_id: str) -> Ended:
    """End the access of up to `page` subscriptions whose time is over.

    One transaction sets `expired`, takes the UUID away and makes every node client unwanted; an extension that commits
    first is seen by the row lock, so renewed access is never ended. Not every end is told: a page may end many and
    tell none, so `count` says whether there may be another.
    """
    return _end(tx, tx.values(_LOCK_DUE, page=page), correlation_id)


def expire_one(tx: Transaction, subscription_id: int, correlation_id: str) -> Ended:
    """`expire` of one subscription, when a page as a whole is refused."""
    return _end(tx, tx.values(_LOCK_ONE, id=subscription_id), correlation_id)


def due_to_expire(tx: Transaction, after: int, page: int) -> list[int]:
    """Ids of subscriptions whose time is over, the page after that subscription."""
    return tx.values(
        # in the index's own order, so that a page reads a page
        "select id from subscriptions where status = 'active' and expires_at <= atlas.now() and (expires_at, id) >"
        " (coalesce((select last.expires_at from subscriptions last where last.id = :after), '-infinity'), cast(:after as bigint))"
        " order by expires_at, id limit :page",
        after=after,
        page=page,
    )


def _end(tx: Transaction, ids: list[int], correlation_id: str) -> Ended:
    if not ids:
        return Ended(0, ())
    tx.reach("expire.after-claim")
    told = tx.rows(outbox.Item, _EXPIRE, ids=ids, correlation_id=correlation_id)
    tx.reach("expiry.mid-transaction")
    return Ended(len(ids), tuple(told))
