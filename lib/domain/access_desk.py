"""What operators do to a customer's access, and its history, to read: screens and the command `make access` share it.

Every change is one audit row in its own transaction. No customer's path loads this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lib.domain import access_by_hand, audit, freezing, operators, reissue, revoking, subscriptions
from lib.domain.operators import Action

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from lib.db import Transaction
    from lib.domain.outbox import Item
    from lib.domain.pricelist import PriceList

FIRST = 2**63 - 1
"""Before which the newest page of a history begins."""


class Change(StrEnum):
    """What may be done; the end of its texts' names, and of its audit rows' `access.<change>`."""

    GRANT = "grant"
    REISSUE = "reissue"
    FREEZE = "freeze"
    THAW = "thaw"
    REVOKE = "revoke"
    BAN = "ban"
    UNBAN = "unban"


NEEDS: dict[Change, Action] = {
    one: Action.BAN if one in {Change.BAN, Change.UNBAN} else Action.CHANGE_ACCESS for one in Change
}
HAS_DAYS = frozenset({Change.GRANT, Change.FREEZE})
MOST_DAYS = 3660


@dataclass(frozen=True, slots=True)
class Asked:
    """One change.

    Attributes:
        operator: who makes it, by Telegram id.
        reason: kept in the audit log; of a ban the customer reads it.
        once: names the change: under one name it is made once.
        tariff: of a grant.
        days: of a grant or a freeze.
    """

    change: Change
    account_id: int
    operator: int
    reason: str
    once: str
    tariff: str = ""
    days: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """A customer's access as an operator sees it; `status` is `none` when there never was any."""

    status: str
    tariff: str
    expires_at: datetime | None
    frozen_until: datetime | None
    generation: int
    ban_reason: str | None

    def as_facts(self) -> dict[str, Any]:
        """For the audit log."""
        return {
            "status": self.status,
            "tariff": self.tariff,
            "until": None if self.expires_at is None else self.expires_at.isoformat(),
            "frozen_until": None if self.frozen_until is None else self.frozen_until.isoformat(),
            "generation": self.generation,
            "banned": self.ban_reason,
        }


@dataclass(frozen=True, slots=True)
class Made:
    """What it did.

    Attributes:
        already: it had been made under this name before; nothing was changed now, and both states are today's.
    """

    already: bool
    before: State
    after: State
    follow_up: tuple[Item, ...] = ()


class NotMade(Exception):
    """Nothing was changed. `why` is the end of a text's name; the text says it for a command."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(text)
        self.why = why


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the history.

    Attributes:
        actor_id: the operator who did it, by Telegram id; None: it happened by itself or by the customer.
        payment_id: that it is for.
    """

    id: int
    event: str
    source: str
    tariff: str
    expires_before: datetime | None
    expires_at: datetime
    actor_id: int | None
    payment_id: int | None
    created_at: datetime


class _Undo(RuntimeError):
    """Undoes what was tried under the savepoint."""


_GRANTED = "access.granted"
# Two names: a grant's audit row has one of its own, whatever the change is a part of.
_MADE = """
select action, subject_key as account, coalesce(cast(after ->> 'days' as bigint), 0) as days from audit_log
where correlation_id in (:correlation_id, :by_hand) and subject_kind = 'account' and action like 'access.%'
order by id limit 1
"""
_HISTORY = """
select h.id, h.event, h.source, h.tariff, h.expires_before, h.expires_at, h.actor_id, h.payment_id, h.created_at
from subscription_history h join subscriptions s on s.id = h.subscription_id
where s.account_id = :account_id and h.id < :before
order by h.id desc limit :most
"""
SAID = {
    "no-access": "there is no access",
    "frozen": "access is frozen",
    "not-frozen": "access is not frozen",
    "trial": "a trial by itself is not frozen",
    "days": "not so many days",
    "banned": "they are banned",
    "not-banned": "they are not banned",
    "not-allowed": "this operator's roles do not allow it",
    "no-account": "there is no such account",
    "too-often": "too often",
    "stale": "it has changed meanwhile",
}


def state(tx: Transaction, account_id: int) -> State:
    """As it is now."""
    held, ban = subscriptions.current(tx, account_id), revoking.ban_of(tx, account_id)
    reason = None if ban is None else ban.reason
    if held is None:
        return State("none", "", None, None, 0, reason)
    return State(held.status, held.tariff, held.expires_at, held.frozen_until, held.generation, reason)


def history(tx: Transaction, account_id: int, *, before: int = FIRST, most: int) -> list[Event]:
    """What changed the access, newest first, older than that row."""
    return tx.rows(Event, _HISTORY, account_id=account_id, before=before, most=most)


def possible(now: State) -> tuple[Change, ...]:
    """What there is to do, in the order of buttons."""
    if now.ban_reason is not None:
        return (Change.UNBAN,)
    by_status = {
        "active": (Change.REISSUE, Change.FREEZE, Change.REVOKE),
        "frozen": (Change.THAW, Change.REISSUE, Change.REVOKE),
    }
    return (Change.GRANT, *by_status.get(now.status, ()), Change.BAN)


def make(tx: Transaction, asked: Asked, prices: PriceList, owners: Collection[int], correlation_id: str) -> Made:
    """Make the change, once under its name; nodes and messages follow by the work returned.

    Args:
        tx: of its own, or of the update.
        asked: what, to whom, by whom, why.
        prices: of today.
        owners: Telegram ids of those who may do everything (`ADMIN_IDS`).
        correlation_id: of the audit row; with `once` in it, so that it is found again.

    Raises:
        NotMade: it may not be, or can't; nothing was changed.
    """
    # Two runs of one name queue up here, whatever accounts they name.
    tx.execute("select pg_advisory_xact_lock(7300, hashtext(:name))", name=asked.once)
    if tx.value("select id from accounts where id = :id for no key update", id=asked.account_id) is None:
        raise _not_made("no-account")
    if not operators.may(operators.roles(tx, asked.operator, owners), NEEDS[asked.change]):
        raise _not_made("not-allowed")
    before = state(tx, asked.account_id)
    if _was_made(tx, asked, correlation_id):
        return Made(already=True, before=before, after=before)
    if (
        asked.change is Change.GRANT
    ):  # the one way in which access is given by hand, with its own audit row under the same name
        given = _grant(tx, asked, prices, owners)
        return Made(given.already, before, state(tx, asked.account_id), given.follow_up)
    follow_up = _do(tx, asked, prices, correlation_id)
    after = state(tx, asked.account_id)
    audit.record(
        tx,
        asked.operator,
        f"access.{asked.change.value}",
        audit.Subject("account", str(asked.account_id)),
        before=before.as_facts(),
        after=after.as_facts() | {"reason": asked.reason} | ({"days": asked.days} if asked.days else {}),
        correlation_id=correlation_id,
    )
    return Made(already=False, before=before, after=after, follow_up=follow_up)


def try_out(tx: Transaction, asked: Asked, prices: PriceList, owners: Collection[int], correlation_id: str) -> Made:
    """What `make` would do, done and undone.

    Raises:
        NotMade: as `make`.
    """
    made: list[Made] = []
    try:
        with tx.savepoint("access"):
            made.append(make(tx, asked, prices, owners, correlation_id))
            raise _Undo
    except _Undo:
        return made[0]


@dataclass(frozen=True, slots=True)
class _Earlier:
    action: str
    account: str
    days: int


def _was_made(tx: Transaction, asked: Asked, correlation_id: str) -> bool:
    """Whether this very change was made under this name; a grant finds that out by itself, with the end that it led to.

    Raises:
        NotMade: the name stands for another change, or for one of another customer.
    """
    found = tx.row(_Earlier, _MADE, correlation_id=correlation_id, by_hand=f"by-hand:{asked.once}")
    if found is None:
        return False
    action = _GRANTED if asked.change is Change.GRANT else f"access.{asked.change.value}"
    if (found.action, found.account, found.days) != (action, str(asked.account_id), asked.days):
        raise NotMade("other", f"{asked.once!r} stands for another change already")
    return asked.change is not Change.GRANT


def _not_made(why: str) -> NotMade:
    return NotMade(why, SAID[why])


def _do(tx: Transaction, asked: Asked, prices: PriceList, correlation_id: str) -> tuple[Item, ...]:
    account, actor = asked.account_id, asked.operator
    done: reissue.Reissued | freezing.Frozen | revoking.Done | StrEnum
    match asked.change:
        case Change.REISSUE:
            done = reissue.reissue(tx, account, correlation_id=correlation_id, actor_id=actor)
        case Change.FREEZE:
            done = freezing.freeze(
                tx, account, asked.days, prices.access, correlation_id=correlation_id, actor_id=actor
            )
        case Change.THAW:
            done = freezing.thaw_now(tx, account, correlation_id=correlation_id, actor_id=actor)
        case Change.REVOKE:
            done = revoking.revoke(tx, account, actor_id=actor, correlation_id=correlation_id)
        case Change.BAN:
            done = revoking.ban(tx, account, actor_id=actor, reason=asked.reason, correlation_id=correlation_id)
        case _:
            done = revoking.unban(
                tx, account, actor_id=actor, conversion=prices.conversion, correlation_id=correlation_id
            )
    if isinstance(done, StrEnum):
        raise _not_made(done.value)
    return tuple(done.follow_up)


def _grant(tx: Transaction, asked: Asked, prices: PriceList, owners: Collection[int]) -> access_by_hand.Given:
    if not 1 <= asked.days <= MOST_DAYS:
        raise _not_made("days")
    wanted = access_by_hand.Wanted(
        asked.account_id,
        asked.tariff,
        asked.days,
        asked.operator,
        asked.reason,
        asked.once,
        str(tx.value("select environment from deployment")),
    )
    try:
        return access_by_hand.give(tx, wanted, prices, owners)
    except access_by_hand.NotGiven as error:
        raise NotMade("other", str(error)) from None
