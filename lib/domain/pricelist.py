"""What is sold for how much (product.md#tariffs). The numbers live in one file, `pricelist.toml` or `TARIFFS_PATH`."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


class UnknownTariff(LookupError):
    """Time of a tariff can't be converted: what it is worth is not known. One to one would be a price that was never agreed."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """One priced tariff.

    Attributes:
        prices: minor units of the price list's currency, by period in days.
        traffic_gb: None is unlimited.
        sold: False once it is retired: customers who hold it keep it, and its prices say what their time is worth.
    """

    name: str
    devices: int
    prices: dict[int, int]
    traffic_gb: int | None = None
    sold: bool = True


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

    @property
    def on_sale(self) -> dict[str, Tariff]:
        """What a customer may buy now."""
        return {name: tariff for name, tariff in self.tariffs.items() if tariff.sold}

    def price(self, tariff: str, period_days: int) -> int:
        """The list price in minor units.

        Raises:
            KeyError: no such tariff or period is sold; a forged or an old button.
        """
        return self.on_sale[tariff].prices[period_days]

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
        through another tariff makes time cheaper; 1 for the same tariff.

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
        return min(Fraction(theirs[period], ours[period]) for period in shared)
