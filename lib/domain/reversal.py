"""What is left of the access that one payment gave, so that a refund can take it off (product.md, Payment methods).

Every grant fills a stretch of the time until the end, in the order in which they were made: what was bought later begins where the
time before it ends. What has passed is used and stays; a refund takes off what is left of its own stretch, and whatever was given
later moves up and keeps its length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from lib.domain import freezing, subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from fractions import Fraction

    from lib.db import Transaction
    from lib.domain.subscriptions import Subscription

_GRANTS = frozenset({"granted", "extended", "renewed", "converted"})
_ENDS = frozenset({"expired", "revoked"})
_STAND_STILL = _ENDS | {"frozen", "thawed"}
"""Changes after which a freeze begins, or one that ran is over."""

# `refunded_id`: of a refund, the payment whose time it took off. `period_days`: of a payment, what it bought.
_HISTORY = """
select h.event, h.tariff, h.created_at, h.expires_before, h.expires_at, h.payment_id, o.period_days, r.payment_id as refunded_id
from subscription_history h
left join payments p on p.id = h.payment_id
left join orders o on o.id = p.order_id
left join refunds r on r.id = h.refund_id
where h.subscription_id = :id order by h.id
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One row of a subscription's history."""

    event: str
    tariff: str
    created_at: datetime
    expires_before: datetime | None
    expires_at: datetime
    payment_id: int | None
    period_days: int | None
    refunded_id: int | None


@dataclass(frozen=True, slots=True)
class TakenOff:
    """Access that ends sooner: whose, and when."""

    subscription_id: int
    ends: datetime


@dataclass(frozen=True, slots=True)
class _Stretch:
    payment_id: int | None
    begins: datetime
    ends: datetime


def take_off(
    tx: Transaction,
    account_id: int,
    payment_id: int,
    conversion: Callable[[str, str], Fraction],
    *,
    refund_id: int,
    actor_id: int | None,
) -> TakenOff | None:
    """Take off what is left of the access that a payment gave; None when nothing is left of it.

    Args:
        tx: which holds the account's row.
        account_id: whose access.
        payment_id: that went back.
        conversion: what a second of one tariff is worth in another (`PriceList.conversion`), where the history does not tell.
        refund_id: by which it went back.
        actor_id: the operator who asked for it.
    """
    held = subscriptions.locked(tx, account_id)
    if held is None or not (held.is_current or held.status == "frozen"):
        return None
    moment = held.frozen_until or subscriptions.now(tx)
    left = left_of(tx.rows(Change, _HISTORY, id=held.id), payment_id, moment, held, conversion)
    if not left:
        return None
    ends = max(held.expires_at - left, moment)
    if held.frozen_until is not None and ends == moment:  # nothing is left that could be kept frozen
        held, ends = freezing.thaw(tx, held), subscriptions.now(tx)
    subscriptions.take_off(tx, held, ends, refund_id=refund_id, actor_id=actor_id)
    return TakenOff(held.id, ends)


def left_of(
    changes: Iterable[Change],
    payment_id: int,
    moment: datetime,
    held: Subscription,
    conversion: Callable[[str, str], Fraction],
) -> timedelta:
    """How much of a payment's time is still to come at `moment`."""
    stretches: list[_Stretch] = []
    taken: list[_Stretch] = []
    tariff = ""
    frozen_until: datetime | None = None
    for change in changes:
        if change.event in _STAND_STILL:
            frozen_until = _frozen_until(change)
        if change.event in _ENDS:
            taken, stretches = stretches, []
        elif change.event == "restored":
            stretches = taken  # time went on meanwhile, and the end is the one before
        elif change.event == "refunded":
            stretches = _without(stretches, change)
        elif change.event in _GRANTS:
            renewed = change.event != "granted" and change.expires_before is not None
            if not renewed:
                stretches, begins = [], change.created_at
            elif change.tariff == tariff:
                begins = max(change.expires_before or change.created_at, change.created_at)
            else:
                converted = _Conversion.of(change, tariff, held, conversion, frozen_until)
                stretches = [converted.of_stretch(one) for one in stretches]
                begins = converted.ends
            stretches.append(_Stretch(change.payment_id, begins, change.expires_at))
            tariff = change.tariff
        elif change.expires_before is not None and change.expires_at != change.expires_before:
            stretches = _moved(stretches, change, change.expires_at - change.expires_before)
    return sum(
        (one.ends - max(one.begins, moment) for one in stretches if one.payment_id == payment_id and one.ends > moment),
        timedelta(),
    )


def _moved(stretches: list[_Stretch], change: Change, by: timedelta) -> list[_Stretch]:
    """Access stood still, and all that was to come came later; a thaw sets right by how much."""
    if change.event == "thawed":
        return [replace(one, begins=one.begins + by, ends=one.ends + by) for one in stretches]
    return [
        replace(one, begins=max(one.begins, change.created_at) + by, ends=one.ends + by)
        for one in stretches
        if one.ends > change.created_at
    ]


def _frozen_until(change: Change) -> datetime | None:
    """Until when access stands still after a freeze: the end was moved by its length."""
    if change.event != "frozen" or change.expires_before is None:
        return None
    return change.created_at + (change.expires_at - change.expires_before)


def _without(stretches: list[_Stretch], change: Change) -> list[_Stretch]:
    """What a refund took off is gone, and what came after it moved up by as much."""
    kept: list[_Stretch] = []
    gone = timedelta()
    for one in stretches:
        if one.payment_id is not None and one.payment_id == change.refunded_id and one.ends > change.created_at:
            begins = max(one.begins, change.created_at)
            gone += one.ends - begins
            if one.begins < begins:
                kept.append(replace(one, ends=begins))
        else:
            kept.append(replace(one, begins=one.begins - gone, ends=one.ends - gone))
    return kept


@dataclass(frozen=True, slots=True)
class _Conversion:
    """Another tariff was granted: what was left of paid time counts by its value; a trial's is kept as it is."""

    moment: datetime
    trial_ends: datetime
    before: datetime
    ends: datetime

    @classmethod
    def of(
        cls,
        change: Change,
        tariff: str,
        held: Subscription,
        conversion: Callable[[str, str], Fraction],
        frozen_until: datetime | None,
    ) -> _Conversion:
        moment = frozen_until or change.created_at
        before = max(change.expires_before or moment, moment)
        trial_ends = max(min(held.trial_until or moment, before), moment)
        if change.period_days is not None:
            ends = change.expires_at - timedelta(days=change.period_days)
        else:
            value = conversion(tariff, change.tariff)
            minutes = (
                (before - trial_ends) // timedelta(microseconds=1) * value.numerator // (60_000_000 * value.denominator)
            )
            ends = trial_ends + timedelta(minutes=minutes)
        return cls(moment, trial_ends, before, max(ends, trial_ends))

    def of_stretch(self, one: _Stretch) -> _Stretch:
        return replace(one, begins=self._at(one.begins), ends=self._at(one.ends))

    def _at(self, at: datetime) -> datetime:
        if at <= self.trial_ends or self.before == self.trial_ends:
            return min(at, self.trial_ends)
        return self.trial_ends + (self.ends - self.trial_ends) * (
            (at - self.trial_ends) / (self.before - self.trial_ends)
        )
