"""Access that stands still: it leaves the nodes, and its end moves by the time that it stood (product.md#subscription).

While it is frozen the end is the one that it has when the freeze runs to its end; what is kept is the time between. The UUID is
kept as well, so the customer's link works again after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from lib.domain import messages, outbox, subscriptions

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from lib.db import Transaction
    from lib.domain.pricelist import SelfService
    from lib.domain.subscriptions import Subscription

_DAY_S = 86_400
ABOUT_AN_END = ("reminder", "trial")
"""Kinds of messages that speak of an end: those that are unsent are no longer true once it moves."""


class Refusal(StrEnum):
    """Why it is not frozen, or not thawed; nothing was changed."""

    NO_ACCESS = "no-access"
    TRIAL = "trial"
    FROZEN = "frozen"
    NOT_FROZEN = "not-frozen"
    TOO_OFTEN = "too-often"
    DAYS = "days"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Frozen:
    """It stands still, or runs again.

    Attributes:
        until: when the freeze ends by itself; None of a thaw.
        expires_at: the end.
    """

    until: datetime | None
    expires_at: datetime
    follow_up: tuple[outbox.Item, ...]


@dataclass(frozen=True, slots=True)
class Thawed:
    """What `thaw_due` did."""

    count: int
    follow_up: tuple[outbox.Item, ...]


@dataclass(frozen=True, slots=True)
class _Changed:
    uuid: UUID
    version: int
    expires_at: datetime
    frozen_until: datetime | None


_FREEZE = """
update subscriptions
set status = 'frozen', activation_status = 'none', pending_since = null, version = version + 1,
    frozen_until = atlas.now() + make_interval(secs => :seconds), expires_at = expires_at + make_interval(secs => :seconds),
    trial_until = case when trial_until > atlas.now() then trial_until + make_interval(secs => :seconds) else trial_until end,
    updated_at = atlas.now()
where id = :id
returning uuid, version, expires_at, frozen_until
"""

# The end moves by the time that it really stood: less when it is thawed before its time, more when the sweep comes late.
_THAW = """
update subscriptions s
set status = 'active', activation_status = 'pending', pending_since = clock.at, version = s.version + 1, frozen_until = null,
    expires_at = clock.at + (s.expires_at - s.frozen_until),
    trial_until = case when s.trial_until > s.frozen_until then clock.at + (s.trial_until - s.frozen_until) else s.trial_until end,
    last_auto_renewal_at = case when s.last_auto_renewal_at <= clock.at + (s.expires_at - s.frozen_until) then s.last_auto_renewal_at end,
    placement = (select generation from placement), updated_at = clock.at
"""
_THAW_ONE = f"""
with clock as materialized (select atlas.now() as at)
{_THAW} from clock where s.id = :id
returning s.uuid, s.version, s.expires_at, s.frozen_until
"""  # noqa: S608 -- a constant fragment

_LOCK_DUE = """
select id from subscriptions where status = 'frozen' and frozen_until <= atlas.now()
order by frozen_until, id limit :page
for no key update skip locked
"""
_LOCK_ONE = """
select id from subscriptions where id = :id and status = 'frozen' and frozen_until <= atlas.now() for no key update skip locked
"""

# Set-based, after the locks as an expiry is. Clients that a node was to give back are wanted again under the next version; what a
# node lacks is added. The sweep that runs this brings the nodes to it.
_THAW_MANY = f"""
with clock as materialized (
    select atlas.now() as at
), due as materialized (
    select id, account_id, tariff, source, expires_at, frozen_until from subscriptions where id = any(cast(:ids as bigint[]))
), thawed as (
    {_THAW} from clock, due where s.id = due.id
    returning s.id, s.uuid, s.version, s.expires_at
), history as (
    insert into subscription_history
        (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, created_at)
    select due.id, 'thawed', due.source, due.tariff, thawed.uuid, thawed.version, due.expires_at, thawed.expires_at, clock.at
    from due join thawed using (id), clock
), wanted as (
    insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at)
    select thawed.id, n.id, thawed.uuid, thawed.version, true, thawed.expires_at
    from thawed cross join nodes n where n.state = 'active' and n.lost_since is null
    on conflict (subscription_id, node_id) do update
    set uuid = excluded.uuid, version = excluded.version, wanted = true, expires_at = excluded.expires_at, attempts = 0,
        next_attempt_at = atlas.now(), claimed_by = null, claimed_until = null, last_error = null, changed_at = atlas.now()
), told as (
    select 'thawed:' || due.id || ':' || cast(extract(epoch from due.frozen_until) as bigint) as key, due.account_id,
           'thawed' as kind, 'once' as delivery, cast(null as timestamptz) as due_at, thawed.expires_at as not_after,
           cast('{{}}' as jsonb) as params
    from due join thawed using (id)
), {messages.QUEUE_TOLD}
select id, queue, target, payload, attempt, correlation_id from message_work
"""  # noqa: S608 -- constant fragments

# When the customer may freeze again, by when they did last: those of operators are not counted.
_AGAIN_FROM = """
select max(created_at) + make_interval(days => :every_days) from subscription_history
where subscription_id = :id and event = 'frozen' and actor_id is null
"""


def again_from(tx: Transaction, subscription_id: int, every_days: int) -> datetime | None:
    """When the customer may freeze the next time; None when they may now."""
    found: datetime | None = tx.value(_AGAIN_FROM, id=subscription_id, every_days=every_days)
    return found if found is not None and found > subscriptions.now(tx) else None


def length(days: int) -> timedelta:
    """Of a freeze of so many days."""
    return timedelta(seconds=days * _DAY_S)


def is_all_trial(held: Subscription) -> bool:
    """Whether nothing but a trial is left: its hours run from its start, whatever comes."""
    return held.trial_until is not None and held.trial_until >= held.expires_at


def refusal(tx: Transaction, held: Subscription | None, rules: SelfService | None) -> Refusal | None:
    """Why `held` can't be frozen now; the screen and the act use this one rule. No `rules`: an operator's, of any number."""
    if held is not None and held.status == "frozen":
        return Refusal.FROZEN
    if held is None or not held.is_current:
        return Refusal.NO_ACCESS
    if is_all_trial(held):
        return Refusal.TRIAL
    if rules is not None and again_from(tx, held.id, rules.freeze_every_days) is not None:
        return Refusal.TOO_OFTEN
    return None


def freeze(
    tx: Transaction,
    account_id: int,
    days: int,
    rules: SelfService,
    *,
    correlation_id: str,
    end: int | None = None,
    actor_id: int | None = None,
) -> Frozen | Refusal:
    """Let the access stand still for so many days: its nodes are told to remove it.

    Args:
        tx: of its own, or of the update.
        account_id: whose.
        days: at most `rules.freeze_most_days`.
        rules: of the price list; how often holds for the customer alone.
        correlation_id: of the update or command.
        end: the end that was looked at, in seconds since 1970: at another one nothing is changed, so that two taps are one.
        actor_id: the operator, by Telegram id; None: the customer.
    """
    if not 1 <= days <= rules.freeze_most_days:
        return Refusal.DAYS
    held = _locked(tx, account_id)
    if (why := refusal(tx, held, rules if actor_id is None else None)) is not None or held is None:
        return why or Refusal.NO_ACCESS
    if end is not None and end != end_mark(held):
        return Refusal.STALE
    changed = tx.one(_Changed, _FREEZE, id=held.id, seconds=days * _DAY_S)
    subscriptions.changed(
        tx,
        held,
        "frozen",
        uuid=changed.uuid,
        version=changed.version,
        expires_at=changed.expires_at,
        runs=False,
        actor_id=actor_id,
    )
    messages.cancel(tx, [account_id], ABOUT_AN_END, "access is frozen")
    work = outbox.add(tx, "nodes", "task_provision", {"subscription_id": held.id}, correlation_id)
    return Frozen(changed.frozen_until, changed.expires_at, (work,))


def thaw_now(
    tx: Transaction, account_id: int, *, correlation_id: str, end: int | None = None, actor_id: int | None = None
) -> Frozen | Refusal:
    """Let it run again before its time; see `freeze`."""
    held = _locked(tx, account_id)
    if held is None or held.status != "frozen":
        return Refusal.NOT_FROZEN
    if end is not None and end != end_mark(held):
        return Refusal.STALE
    running = thaw(tx, held, actor_id=actor_id)
    work = outbox.add(tx, "nodes", "task_provision", {"subscription_id": held.id}, correlation_id)
    return Frozen(None, running.expires_at, (work,))


def thaw(tx: Transaction, held: Subscription, *, actor_id: int | None = None) -> Subscription:
    """`held` as it runs again, in a transaction that goes on with it and holds its row; who calls adds the work for its nodes."""
    changed = tx.one(_Changed, _THAW_ONE, id=held.id)
    subscriptions.changed(
        tx,
        held,
        "thawed",
        uuid=changed.uuid,
        version=changed.version,
        expires_at=changed.expires_at,
        runs=True,
        actor_id=actor_id,
    )
    return replace(
        held,
        status="active",
        activation_status="pending",
        version=changed.version,
        expires_at=changed.expires_at,
        frozen_until=None,
        is_current=True,
    )


def thaw_due(tx: Transaction, page: int, correlation_id: str) -> Thawed:
    """Let up to `page` run again whose freeze is over; each is told."""
    return _thaw(tx, tx.values(_LOCK_DUE, page=page), correlation_id)


def thaw_one_due(tx: Transaction, subscription_id: int, correlation_id: str) -> Thawed:
    """`thaw_due` of one, when a page as a whole is refused."""
    return _thaw(tx, tx.values(_LOCK_ONE, id=subscription_id), correlation_id)


def due_to_thaw(tx: Transaction, after: int, page: int) -> list[int]:
    """Ids of subscriptions whose freeze is over, the page after that subscription."""
    return tx.values(
        "select id from subscriptions where status = 'frozen' and frozen_until <= atlas.now() and (frozen_until, id) >"
        " (coalesce((select last.frozen_until from subscriptions last where last.id = :after), '-infinity'), cast(:after as bigint))"
        " order by frozen_until, id limit :page",
        after=after,
        page=page,
    )


def _thaw(tx: Transaction, ids: list[int], correlation_id: str) -> Thawed:
    if not ids:
        return Thawed(0, ())
    return Thawed(len(ids), tuple(tx.rows(outbox.Item, _THAW_MANY, ids=ids, correlation_id=correlation_id)))


def end_mark(held: Subscription) -> int:
    """What a button carries to say which end it was shown with: seconds since 1970."""
    return int(held.expires_at.timestamp())


def _locked(tx: Transaction, account_id: int) -> Subscription | None:
    tx.value("select id from accounts where id = :id for no key update", id=account_id)
    return subscriptions.locked(tx, account_id)
