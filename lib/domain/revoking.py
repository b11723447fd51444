"""Access that an operator ends, and bans (product.md#payment-methods). Neither moves money.

Who is banned is kept out by the database as well (the triggers `access_of_the_banned`, `orders_of_the_banned`): each of these locks
the account's row, as the ban does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lib.domain import freezing, messages, orders, outbox, subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from fractions import Fraction
    from uuid import UUID

    from lib.db import Transaction
    from lib.domain.subscriptions import Subscription


class Refusal(StrEnum):
    """Why it was not done; nothing was changed."""

    NO_ACCESS = "no-access"
    BANNED = "banned"
    NOT_BANNED = "not-banned"


@dataclass(frozen=True, slots=True)
class Ban:
    """Why they are banned, since when, and by whom (an operator's Telegram id)."""

    reason: str
    since: datetime
    by: int


@dataclass(frozen=True, slots=True)
class Done:
    """What it did to the access.

    Attributes:
        expires_at: the end now; None when there is and was no access.
    """

    expires_at: datetime | None
    follow_up: tuple[outbox.Item, ...]


_BAN_OF = """
select ban_reason as reason, banned_at as since, banned_by as by from accounts where id = :id and banned_at is not null
"""
# Its moment is that of the change by which it ended the access, so that `unban` finds what it took: a transaction that began earlier
# may end a customer's access later, and by time alone a revoke would pass for the ban's. A ban that ended nothing has a moment that
# no change has.
_BAN = """
update accounts a
set banned_by = :actor_id, ban_reason = :reason,
    banned_at = case when cast(:has_ended as boolean) then last.at
                     else greatest(atlas.now(), last.at + interval '1 microsecond') end
from (select (select h.created_at from subscription_history h join subscriptions s on s.id = h.subscription_id
              where s.account_id = :id order by h.id desc limit 1) as at) last
where a.id = :id
"""
_UNBAN = "update accounts set banned_at = null, banned_by = null, ban_reason = null where id = :id"


@dataclass(frozen=True, slots=True)
class _Version:
    version: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Taken:
    ends: datetime


@dataclass(frozen=True, slots=True)
class _Restored:
    uuid: UUID
    version: int


@dataclass(frozen=True, slots=True)
class _WentBack:
    id: int
    payment_id: int
    made_by: int | None


class _NothingLeft(RuntimeError):
    """All that the ban took went back meanwhile."""


_END = """
update subscriptions
set status = 'expired', uuid = null, activation_status = 'none', pending_since = null, version = version + 1,
    expires_at = least(expires_at, greatest(started_at, atlas.now())),
    last_auto_renewal_at = case when last_auto_renewal_at <= least(expires_at, greatest(started_at, atlas.now())) then last_auto_renewal_at end,
    updated_at = atlas.now()
where id = :id
returning version, expires_at
"""

# What the ban ended, while it would still run: it is the subscription's last change, since the banned are given nothing.
_TAKEN = """
select h.expires_before as ends
from subscriptions s join lateral (
    select event, expires_before, created_at from subscription_history where subscription_id = s.id order by id desc limit 1
) h on h.event = 'revoked'
join accounts a on a.id = s.account_id
where s.account_id = :account_id and s.status = 'expired' and h.created_at = a.banned_at and h.expires_before > atlas.now()
"""

_RESTORE = """
update subscriptions
set status = 'active', uuid = gen_random_uuid(), activation_status = 'pending', pending_since = atlas.now(), version = version + 1,
    expires_at = :ends, placement = (select generation from placement), updated_at = atlas.now()
where id = :id
returning uuid, version
"""

# Refunds that were to take access off, and found none to take it off.
_WENT_BACK = """
select r.id, r.payment_id, r.made_by from refunds r join payments p on p.id = r.payment_id
where p.account_id = :account_id and r.reverses_access
  and not exists (select from subscription_history h where h.refund_id = r.id)
order by r.id
"""


def ban_of(tx: Transaction, account_id: int) -> Ban | None:
    """Why they are banned; None: they are not."""
    return tx.row(Ban, _BAN_OF, id=account_id)


def revoke(tx: Transaction, account_id: int, *, actor_id: int, correlation_id: str) -> Done | Refusal:
    """End the access now; nothing is given back, and nothing is forbidden.

    Args:
        tx: of its own, or of the update.
        account_id: whose.
        actor_id: the operator, by Telegram id.
        correlation_id: of the update or command.
    """
    _lock(tx, account_id)
    held = subscriptions.locked(tx, account_id)
    if held is None or held.status == "expired":
        return Refusal.NO_ACCESS
    ended, work = _end(tx, account_id, held, actor_id, correlation_id)
    told = _tell(tx, f"revoked:{held.id}:{ended.version}", account_id, "revoked", correlation_id)
    return Done(ended.expires_at, (*work, *told))


def ban(tx: Transaction, account_id: int, *, actor_id: int, reason: str, correlation_id: str) -> Done | Refusal:
    """End the access, and let them order and be given nothing until `unban`; they are told why.

    `reason` is what the customer reads as well.
    """
    _lock(tx, account_id)
    if ban_of(tx, account_id) is not None:
        return Refusal.BANNED
    orders.close_open(tx, account_id)
    held = subscriptions.locked(tx, account_id)
    work: tuple[outbox.Item, ...] = ()
    end: datetime | None = None
    if held is not None and held.status != "expired":
        ended, work = _end(tx, account_id, held, actor_id, correlation_id)
        end = ended.expires_at
    tx.execute(_BAN, id=account_id, actor_id=actor_id, reason=reason, has_ended=end is not None)
    told = _tell(tx, f"banned:{account_id}:{_moment(tx)}", account_id, "banned", correlation_id)
    return Done(end, (*work, *told))


def unban(
    tx: Transaction,
    account_id: int,
    *,
    actor_id: int,
    conversion: Callable[[str, str], Fraction],
    correlation_id: str,
) -> Done | Refusal:
    """Undo the ban: what of the access that it ended would still run runs again, to its end of then, under a new key.

    The time of the ban is not made good: an operator who wants that gives it (`access_by_hand`). What was given back meanwhile with
    its access stays taken off.

    Args:
        tx: of its own, or of the update.
        account_id: whose.
        actor_id: the operator, by Telegram id.
        conversion: what a second of one tariff is worth in another (`PriceList.conversion`).
        correlation_id: of the update or command.
    """
    _lock(tx, account_id)
    if ban_of(tx, account_id) is None:
        return Refusal.NOT_BANNED
    held = subscriptions.locked(tx, account_id)
    taken = tx.row(_Taken, _TAKEN, account_id=account_id)
    tx.execute(_UNBAN, id=account_id)
    work: tuple[outbox.Item, ...] = ()
    end: datetime | None = None
    if held is not None and taken is not None:
        end = _restore(tx, account_id, held, taken.ends, actor_id=actor_id, conversion=conversion)
    if held is not None and end is not None:
        work = (outbox.add(tx, "nodes", "task_provision", {"subscription_id": held.id}, correlation_id),)
    told = _tell(tx, f"unbanned:{account_id}:{_moment(tx)}", account_id, "unbanned", correlation_id)
    return Done(end, (*work, *told))


def _restore(
    tx: Transaction,
    account_id: int,
    held: Subscription,
    ends: datetime,
    *,
    actor_id: int,
    conversion: Callable[[str, str], Fraction],
) -> datetime | None:
    """Let it run again, but for what went back meanwhile; its end, None when nothing is left and nothing was changed."""
    from lib.domain import reversal  # noqa: PLC0415 -- an operator's alone: most ask only whether there is a ban

    try:
        with tx.savepoint("restored"):
            restored = tx.one(_Restored, _RESTORE, id=held.id, ends=ends)
            subscriptions.changed(
                tx,
                held,
                "restored",
                uuid=restored.uuid,
                version=restored.version,
                expires_at=ends,
                runs=True,
                actor_id=actor_id,
            )
            for refund in tx.rows(_WentBack, _WENT_BACK, account_id=account_id):
                reversal.take_off(
                    tx, account_id, refund.payment_id, conversion, refund_id=refund.id, actor_id=refund.made_by
                )
            now = subscriptions.current(tx, account_id)
            if now is None or not now.is_current:
                raise _NothingLeft
            return now.expires_at
    except _NothingLeft:
        return None


def _end(
    tx: Transaction, account_id: int, held: Subscription, actor_id: int, correlation_id: str
) -> tuple[_Version, tuple[outbox.Item, ...]]:
    if held.status == "frozen":  # what is taken is the time that was left, not the freeze
        held = freezing.thaw(tx, held, actor_id=actor_id)
    if held.uuid is None:
        raise RuntimeError("access that has not ended has a UUID")
    ended = tx.one(_Version, _END, id=held.id)
    subscriptions.changed(
        tx,
        held,
        "revoked",
        uuid=held.uuid,
        version=ended.version,
        expires_at=ended.expires_at,
        runs=False,
        actor_id=actor_id,
    )
    messages.cancel(tx, [account_id], freezing.ABOUT_AN_END, "access was ended")
    return ended, (outbox.add(tx, "nodes", "task_provision", {"subscription_id": held.id}, correlation_id),)


def _tell(tx: Transaction, key: str, account_id: int, kind: str, correlation_id: str) -> list[outbox.Item]:
    return messages.queue(
        tx, key=key, account_id=account_id, kind=kind, params={}, correlation_id=correlation_id, delivery="once"
    )


def _moment(tx: Transaction) -> int:
    return int(tx.value("select cast(extract(epoch from atlas.now()) * 1000000 as bigint)"))


def _lock(tx: Transaction, account_id: int) -> None:
    tx.value("select id from accounts where id = :id for no key update", id=account_id)
