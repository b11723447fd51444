"""Who has access until when: a model of one customer's access, to judge the product by (docs/product.md, Subscription).

It shares nothing with what it judges. Time that was granted lies in parcels, one after the other: running access uses up the first,
access that stands still uses up none, a refund takes its own parcel away. The product reckons with ends instead, and finds out from its
history what is left of a payment. Its state is a value: the same customer can be led along several ways.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_MICROSECOND = timedelta(microseconds=1)
TRIAL = "trial"
DONE = "done"


class Status(StrEnum):
    """As the product has it; `NONE` when there never was any access. `ACTIVE` lasts until a sweep ends what is over."""

    NONE = "none"
    ACTIVE = "active"
    FROZEN = "frozen"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Rules:
    """Numbers of the price list, in the product's own units.

    Attributes:
        worth: how much of a minute of the first tariff a minute of the second is worth.
    """

    worth: Callable[[str, str], Fraction]
    trial: timedelta = timedelta(hours=72)
    trial_tariff: str = "basic"
    reissues_a_day: int = 3
    freeze_every: timedelta = 30 * DAY
    renewed_before: timedelta = timedelta(hours=6)


@dataclass(frozen=True)
class Parcel:
    """Time that was granted and is still to come, and for what: the name of a payment, `trial`, or an operator's."""

    of: str
    left: timedelta


@dataclass(frozen=True)
class Bought:
    """A payment for access, in the order in which they came."""

    name: str
    tariff: str
    days: int
    went_back: bool = False


@dataclass(frozen=True)
class Access:
    """One customer's, at a moment.

    Attributes:
        parcels: in the order in which they are used up.
        still_for: of frozen access, how long it stands still yet.
        key: which one lets them in, counted from 1; 0: none does.
        keys: how many there were.
        taken: what the ban ended, as it would be used up meanwhile.
        waiting: payments that came while they were banned: an operator ends them, or news of them after the ban does.
        renews: they asked for it.
        renewed: ends that were renewed.
    """

    rules: Rules
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    status: Status = Status.NONE
    tariff: str = ""
    parcels: tuple[Parcel, ...] = ()
    still_for: timedelta = timedelta()
    key: int = 0
    keys: int = 0
    is_banned: bool = False
    taken: tuple[Parcel, ...] = ()
    had_trial: bool = False
    bought: tuple[Bought, ...] = ()
    waiting: frozenset[str] = frozenset()
    renews: bool = False
    renewed: frozenset[datetime] = frozenset()
    own_freezes: tuple[datetime, ...] = ()
    own_reissues: tuple[datetime, ...] = field(default=())

    # What is to be seen ---------------------------------------------------------------------------------------------

    @property
    def left(self) -> timedelta:
        """Time that is still to come."""
        return sum((one.left for one in self.parcels), timedelta())

    @property
    def end(self) -> datetime:
        """When it ends if nothing else happens."""
        return self.now + self.still_for + self.left

    @property
    def is_current(self) -> bool:
        """Whether their key lets them in, as soon as a node knows."""
        return self.status is Status.ACTIVE and self.left > timedelta()

    def _knows(self, payment: str) -> Bought | None:
        return next((one for one in self.bought if one.name == payment), None)

    def _last_bought(self) -> Bought | None:
        return next((one for one in reversed(self.bought) if not one.went_back), None)

    # Time -----------------------------------------------------------------------------------------------------------

    def passes(self, by: timedelta) -> Access:
        """Time goes on; a freeze that is over stands still until a sweep ends it, and that time is made good."""
        if self.status is Status.ACTIVE:
            return replace(self, now=self.now + by, parcels=_used(self.parcels, by))
        still_for = max(self.still_for - by, timedelta())
        return replace(self, now=self.now + by, still_for=still_for, taken=_used(self.taken, by))

    def swept(self) -> Access:
        """What is over ends, a freeze and access alike."""
        if self.status is Status.FROZEN and not self.still_for:
            return replace(self, status=Status.ACTIVE)
        if self.status is Status.ACTIVE and not self.left:
            return replace(self, status=Status.EXPIRED, key=0, parcels=())
        return self

    # Grants ---------------------------------------------------------------------------------------------------------

    def _granted(self, of: str, tariff: str, time: timedelta) -> Access:
        if self.status in {Status.ACTIVE, Status.FROZEN}:
            parcels = self.parcels if tariff == self.tariff else self._converted(tariff)
            return replace(self, tariff=tariff, parcels=(*parcels, Parcel(of, time)))
        anew = replace(self, status=Status.ACTIVE, tariff=tariff, parcels=(Parcel(of, time),), renews=False)
        return anew._with_new_key()

    def _converted(self, tariff: str) -> tuple[Parcel, ...]:
        """By value, in whole minutes; a trial's time is kept as it is."""
        paid = sum((one.left for one in self.parcels if one.of != TRIAL), timedelta())
        worth = self.rules.worth(self.tariff, tariff)
        minutes = (paid // _MICROSECOND) * worth.numerator // (60_000_000 * worth.denominator)
        factor = minutes * _MINUTE / paid if paid else 0.0
        return tuple(one if one.of == TRIAL else replace(one, left=one.left * factor) for one in self.parcels)

    def _with_new_key(self) -> Access:
        return replace(self, key=self.keys + 1, keys=self.keys + 1)

    def paid(self, name: str, tariff: str, days: int) -> tuple[str, Access]:
        """Money from outside for an order of theirs: each charge once; of the banned it waits."""
        if self._knows(name) is not None or (self.is_banned and name in self.waiting):
            return "repeated", self
        if self.is_banned:
            return "waits", replace(self, waiting=self.waiting | {name})
        after = replace(self, bought=(*self.bought, Bought(name, tariff, days)), waiting=self.waiting - {name})
        return DONE, after._granted(name, tariff, days * DAY)

    def spent(self, name: str, tariff: str, days: int) -> tuple[str, Access]:
        """Bought from a balance that holds enough."""
        if self.is_banned and self._knows(name) is None:
            return "refused", self
        return self.paid(name, tariff, days)

    def renewed_by_itself(self, name: str) -> tuple[str, Access]:
        """The sweep of renewals comes by: what was bought last, and did not go back, is bought again, an end once."""
        last = self._last_bought()
        if (
            last is None
            or not (self.renews and self.is_current and self.left <= self.rules.renewed_before)
            or self.end in self.renewed
        ):
            return "nothing", self
        after = replace(self, renewed=self.renewed | {self.end})
        said, after = after.paid(name, last.tariff, last.days)
        return said, after

    def asked_to_renew(self) -> tuple[str, Access]:
        """They turn auto-renewal on, while access runs that was bought."""
        if not self.is_current or self._last_bought() is None:
            return "refused", self
        return DONE, replace(self, renews=True)

    def tried(self) -> tuple[str, Access]:
        """They take the trial: once for life, before anything was paid, while no access is left."""
        has_access = self.status is Status.FROZEN or self.is_current
        if self.had_trial or self.is_banned or self.bought or has_access:
            return "refused", self
        return DONE, replace(self, had_trial=True)._granted(TRIAL, self.rules.trial_tariff, self.rules.trial)

    def given(self, tariff: str, days: int) -> tuple[str, Access]:
        """By an operator."""
        return ("refused", self) if self.is_banned else (DONE, self._granted("operator", tariff, days * DAY))

    # Changes --------------------------------------------------------------------------------------------------------

    def reissued(self, *, by_operator: bool = False) -> tuple[str, Access]:
        """A new key; so many a day for the customer, and none while it is frozen."""
        if not (self.is_current or self.status is Status.FROZEN):
            return "no-access", self
        if by_operator:
            return DONE, self._with_new_key()
        if self.status is Status.FROZEN:
            return "frozen", self
        if sum(at > self.now - DAY for at in self.own_reissues) >= self.rules.reissues_a_day:
            return "too-often", self
        return DONE, replace(self, own_reissues=(*self.own_reissues, self.now))._with_new_key()

    def frozen(self, days: int, *, by_operator: bool = False) -> tuple[str, Access]:
        """It stands still for so many days; a customer may once in so many."""
        if self.status is Status.FROZEN:
            return "frozen", self
        if not self.is_current:
            return "no-access", self
        if all(one.of == TRIAL for one in self.parcels):
            return "trial", self
        if not by_operator and self.own_freezes and self.now < self.own_freezes[-1] + self.rules.freeze_every:
            return "too-often", self
        freezes = self.own_freezes if by_operator else (*self.own_freezes, self.now)
        return DONE, replace(self, status=Status.FROZEN, still_for=days * DAY, own_freezes=freezes)

    def thawed(self) -> tuple[str, Access]:
        """It runs again before its time."""
        if self.status is not Status.FROZEN:
            return "not-frozen", self
        return DONE, replace(self, status=Status.ACTIVE, still_for=timedelta())

    def _ended(self) -> Access:
        return replace(self, status=Status.EXPIRED, key=0, parcels=(), still_for=timedelta())

    def revoked(self) -> tuple[str, Access]:
        """An operator ends it for good."""
        return (DONE, self._ended()) if self.status in {Status.ACTIVE, Status.FROZEN} else ("no-access", self)

    def banned(self) -> tuple[str, Access]:
        """It ends, and what is left of it goes by meanwhile."""
        if self.is_banned:
            return "banned", self
        return DONE, replace(self._ended_if_any(), is_banned=True, taken=self.parcels)

    def _ended_if_any(self) -> Access:
        return self._ended() if self.status in {Status.ACTIVE, Status.FROZEN} else self

    def unbanned(self) -> tuple[str, Access]:
        """What of it would still run runs again, under a new key."""
        if not self.is_banned:
            return "not-banned", self
        after = replace(self, is_banned=False, taken=())
        if not sum((one.left for one in self.taken), timedelta()):
            return DONE, after
        return DONE, replace(after, status=Status.ACTIVE, parcels=self.taken)._with_new_key()

    def refunded(self, name: str, *, with_access: bool) -> tuple[str, Access]:
        """A payment goes back; with its access, what of it is still to come is gone, of access that a ban ended as well."""
        payment = self._knows(name)
        if payment is None:
            return "no-payment", self
        if payment.went_back:
            return "went-back", self
        bought = tuple(replace(one, went_back=True) if one is payment else one for one in self.bought)
        after = replace(self, bought=bought)
        if not with_access:
            return DONE, after
        after = replace(after, parcels=_without(self.parcels, name), taken=_without(self.taken, name))
        if after.status is Status.FROZEN and not after.left:  # nothing is left that could stand still
            after = replace(after, status=Status.ACTIVE, still_for=timedelta())
        return DONE, after


def _used(parcels: tuple[Parcel, ...], by: timedelta) -> tuple[Parcel, ...]:
    """What is left after that time."""
    kept = []
    for one in parcels:
        used = min(one.left, by)
        by -= used
        if one.left > used:
            kept.append(replace(one, left=one.left - used))
    return tuple(kept)


def _without(parcels: tuple[Parcel, ...], name: str) -> tuple[Parcel, ...]:
    return tuple(one for one in parcels if one.of != name)
