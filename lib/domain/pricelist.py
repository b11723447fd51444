"""What is sold for how much (product.md#tariffs). The numbers live in one file, `pricelist.toml` or `TARIFFS_PATH`."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Tariff:
    """One priced tariff.

    Attributes:
        prices: minor units of the price list's currency, by period in days.
        traffic_gb: None is unlimited.
    """

    name: str
    devices: int
    prices: dict[int, int]
    traffic_gb: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """The free start (product.md#trial)."""

    tariff: str
    hours: int
    daily_cap: int
    devices: int
    traffic_gb: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What something is sold for now; an order keeps all of it, whatever the price list says later.

    Attributes:
        list_price, price: before and after the discount, minor units of `currency`.
        value: the price in minor units of the price list's currency.
        discount: promo, vip, personal or None.
        discount_percent: None without a discount.
    """

    list_price: int
    price: int
    currency: str
    value: int
    discount: str | None = None
    discount_percent: int | None = None


@dataclass(frozen=True, slots=True)
class PriceList:
    """All of it.

    Attributes:
        currency: of every price.
        order_minutes: how long an order stays open.
    """

    currency: str
    order_minutes: int
    tariffs: dict[str, Tariff]
    trial: Trial

    def price(self, tariff: str, period_days: int) -> int:
        """The list price in minor units.

        Raises:
            KeyError: no such tariff or period; a forged or an old button.
        """
        return self.tariffs[tariff].prices[period_days]

    def quote(self, tariff: str, period_days: int) -> Quote:
        """What the period is sold for.

        Raises:
            KeyError: as `price`.
        """
        price = self.price(tariff, period_days)
        return Quote(list_price=price, price=price, currency=self.currency, value=price)

    def conversion(self, old: str, new: str) -> Fraction:
        """How much of a minute of `old` a minute of `new` is worth: remaining time is multiplied by this.

        The smallest of old / new list price over the periods both have (product.md#tariffs), so that no detour
        through another tariff makes time cheaper. 1 for the same tariff, and for one that is no longer sold or shares no
        period (which the check of the price list refuses).
        """
        if old == new or old not in self.tariffs or new not in self.tariffs:
            return Fraction(1)
        theirs, ours = self.tariffs[old].prices, self.tariffs[new].prices
        shared = theirs.keys() & ours.keys()
        return min((Fraction(theirs[period], ours[period]) for period in shared), default=Fraction(1))
