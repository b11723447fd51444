"""Access that an operator ends, and bans (product.md#payment-methods). Neither moves money.

Who is banned is kept out by the database as well (the triggers `access_of_the_banned`, `orders_of_the_banned`): each of these locks
the account's row, as the ban does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lib.domain import freezing, messages, outbox, subscriptions

if TYPE_CHECKING:
    from datetime import datetime
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
_BAN = "update accounts set banned_at = atlas.now(), banned_by = :actor_id, ban_reason = :reason where id = :id"
_UNBAN = "update accounts set banned_at = null, banned_by = null, ban_reason = null where id = :id"


@dataclass(frozen=True, slots=True)
class _Version:
    version: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Taken:
    ends: datetime
    trial_until: datetime | None


@dataclass(frozen=True, slots=True)
class _Restored:
    uuid: UUID
    version: int


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
select h.expires_before as ends, s.trial_until
from subscriptions s join lateral (
    select event, expires_before, created_at from subscription_history where subscription_id = s.id order by id desc limit 1
) h on h.event = 'revoked'
join accounts a on a.id = s.account_id
where s.account_id = :account_id and s.status = 'expired' and h.created_at >= a.banned_at and h.expires_before > atlas.now()
"""

_RESTORE = """
update subscriptions
set status = 'active', uuid = gen_random_uuid(), activation_status = 'pending', pending_since = atlas.now(), version = version + 1,
    expires_at = :ends, placement = (select generation from placement), updated_at = atlas.now()
where id = :id
returning uuid, version
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
    held = subscriptions.locked(tx, account_id)
    tx.execute(_BAN, id=account_id, actor_id=actor_id, reason=reason)
    work: tuple[outbox.Item, ...] = ()
    end: datetime | None = None
    if held is not None and held.status != "expired":
        ended, work = _end(tx, account_id, held, actor_id, correlation_id)
        end = ended.expires_at
    told = _tell(tx, f"banned:{account_id}:{_moment(tx)}", account_id, "banned", correlation_id)
    return Done(end, (*work, *told))


def unban(tx: Transaction, account_id: int, *, actor_id: int, correlation_id: str) -> Done | Refusal:
    """Undo the ban: what of the access that it ended would still run runs again, to its end of then, under a new key.

    The time of the ban is not made good: an operator who wants that gives it (`access_by_hand`).
    """
    _lock(tx, account_id)
    if ban_of(tx, account_id) is None:
        return Refusal.NOT_BANNED
    held = subscriptions.locked(tx, account_id)
    taken = tx.row(_Taken, _TAKEN, account_id=account_id)
    tx.execute(_UNBAN, id=account_id)
    work: tuple[outbox.Item, ...] = ()
    if held is not None and taken is not None:
        restored = tx.one(_Restored, _RESTORE, id=held.id, ends=taken.ends)
        subscriptions.changed(
            tx,
            held,
            "restored",
            uuid=restored.uuid,
            version=restored.version,
            expires_at=taken.ends,
            runs=True,
            actor_id=actor_id,
        )
        work = (outbox.add(tx, "nodes", "task_provision", {"subscription_id": held.id}, correlation_id),)
    told = _tell(tx, f"unbanned:{account_id}:{_moment(tx)}", account_id, "unbanned", correlation_id)
    return Done(taken.ends if taken is not None else None, (*work, *told))


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
