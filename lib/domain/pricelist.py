"""What is sold for how much (product.md#tariffs). The numbers live in one file, `pricelist.toml` or `TARIFFS_PATH`."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

_DAY_MIN = 24 * 60


class UnknownTariff(LookupError):
    """Time of a tariff can't be converted: what it is worth is not known. One to one would be a price that was never agreed."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """One priced tariff.

    Attributes:
        prices: minor units of the price list's currency, by period in days.
        stars: whole Stars, for the same periods; empty: not sold for Stars.
        traffic_gb: None is unlimited.
        sold: False once it is retired: customers who hold it keep it, and its prices say what their time is worth.
    """

    name: str
    devices: int
    prices: dict[int, int]
    traffic_gb: int | None = None
    sold: bool = True
    stars: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """The free start (product.md#trial)."""

    tariff: str
    hours: int
    daily_cap: int
    devices: int
    traffic_gb: int


@dataclass(frozen=True, slots=True)
class TopUp:
    """How the balance is topped up (product.md#balance-and-top-up).

    Attributes:
        amounts: those with a button of their own, minor units.
        least, most: of a typed amount, minor units.
        star_value: what one Star counts for, minor units; an amount's price in Stars is rounded up.
    """

    amounts: tuple[int, ...]
    least: int
    most: int
    star_value: int


@dataclass(frozen=True, slots=True)
class Quiet:
    """The part of a day in which customers are left alone (product.md#messages): minutes of the day, in the operator's zone.

    Attributes:
        begins, ends: tips and offers wait for its end.
        before: when a reminder is sent that falls in it, on the day it begins or the one before.
    """

    begins: int
    ends: int
    before: int

    @property
    def minutes(self) -> int:
        """How long it is."""
        return (self.ends - self.begins) % _DAY_MIN

    def contains(self, minute: int) -> bool:
        """Whether that minute of a day is in it."""
        return (minute - self.begins) % _DAY_MIN < self.minutes


@dataclass(frozen=True, slots=True)
class Reminders:
    """What customers are told before access ends (product.md#messages).

    Attributes:
        paid: hours before the end, of access that was paid for.
        given: of access that an operator gave: the hours by the days it lasts; those of the largest number that it reaches.
        trial: hours after a trial's start, by what is said then: `tip`, `offer`, `last`.
    """

    paid: tuple[int, ...]
    given: dict[int, tuple[int, ...]]
    trial: dict[str, int]
    quiet: Quiet


@dataclass(frozen=True, slots=True)
class AutoRenewal:
    """When access renews by itself (product.md#subscription).

    Attributes:
        window_hours: so long before its end it is tried first.
        notice_hours: so long before its end a price that is higher than last time must have been announced.
    """

    window_hours: int
    notice_hours: int


@dataclass(frozen=True, slots=True)
class SelfService:
    """What customers may do to their access by themselves, and how often (product.md#subscription)."""

    reissues_a_day: int
    freeze_every_days: int
    freeze_most_days: int


@dataclass(frozen=True, slots=True)
class PriceList:
    """All of it.

    Attributes:
        currency: of every price, but for those in Stars.
        order_minutes: how long an order stays open.
        top_up: None: the list says nothing of it, and it is not offered.
        vip_percent: a VIP's discount.
        minimums: below these a method takes nothing, minor units of its currency (whole Stars), by method.
        reminders: when customers are told that access is going to end.
        access: what customers may do to it by themselves.
    """

    currency: str
    order_minutes: int
    tariffs: dict[str, Tariff]
    trial: Trial
    top_up: TopUp | None
    vip_percent: int
    minimums: dict[str, int]
    reminders: Reminders
    auto_renewal: AutoRenewal
    access: SelfService

    @property
    def on_sale(self) -> dict[str, Tariff]:
        """What a customer may buy now."""
        return {name: tariff for name, tariff in self.tariffs.items() if tariff.sold}

    def conversion(self, old: str, new: str) -> Fraction:
        """How much of a minute of `old` a minute of `new` is worth: remaining time is multiplied by this.

        The smallest of old / new list price over the periods both have, and of their cheapest days (product.md#tariffs), so that
        no detour through another tariff makes time cheaper; 1 for the same tariff. Of two with the same periods, the cheapest
        days never decide.

        Raises:
            UnknownTariff: a tariff of which the list says nothing (`sold = false` retires one), or two without a period in
                common, which no list that was read has.
        """
        if old == new:
            return Fraction(1)
        if unknown := {old, new} - self.tariffs.keys():
            raise UnknownTariff(f"the price list lacks {', '.join(sorted(unknown))}")
        theirs, ours = self.tariffs[old].prices, self.tariffs[new].prices
        if not (shared := theirs.keys() & ours.keys()):
            raise UnknownTariff(f"{old} and {new} have no period in common")
        ratios = [Fraction(theirs[period], ours[period]) for period in shared]
        return min(*ratios, _cheapest_day(theirs) / _cheapest_day(ours))


def _cheapest_day(prices: dict[int, int]) -> Fraction:
    return min(Fraction(price, period) for period, price in prices.items())
