"""What something costs a customer: the one price function (product.md#discounts).

The only place that knows discounts, prices in Stars and what a method takes at least. Screens and orders ask it, so what is shown
is what is charged.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.domain.pricelist import PriceList

STARS = "stars"
_INSIDE_TELEGRAM = frozenset({STARS, "card"})
"""Methods whose pay sheet is Telegram's own: the web has none."""
_STAR = "XTR"


class Surface(StrEnum):
    """Where the customer is buying."""

    CHAT = "chat"
    WEB = "web"


class NotSold(LookupError):
    """No such tariff, period or method is sold there: an old or a forged button, a price list without Stars."""


class CodeUnused(StrEnum):
    """Why a promo code did not lower the price; it is not used up then."""

    OTHER_TARIFF = "other-tariff"
    NOT_THE_LARGEST = "not-the-largest"


@dataclass(frozen=True, slots=True)
class Customer:
    """What a customer gets less for than others.

    Attributes:
        personal_percent: of the personal discount that is in force.
    """

    vip: bool = False
    personal_percent: int | None = None


@dataclass(frozen=True, slots=True)
class Promo:
    """A promo code that may be used by this customer now.

    Attributes:
        tariffs: None for every tariff.
    """

    percent: int
    tariffs: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """What something is sold for now; an order keeps all of it, whatever the price list says later.

    Attributes:
        list_price, price: before and after the discount, minor units of `currency` (whole Stars).
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
class Offer:
    """A quote, and what is to be said beside it.

    Attributes:
        minimum: what the method takes at least, in minor units of the quote's currency.
        code_unused: why a code that was given did not make this price.
    """

    quote: Quote
    minimum: int
    code_unused: CodeUnused | None = None

    @property
    def is_payable(self) -> bool:
        """Whether the method takes so little; a price is never raised to its minimum."""
        return self.quote.price >= self.minimum


def price(
    prices: PriceList,
    tariff: str,
    period_days: int,
    *,
    customer: Customer,
    promo: Promo | None,
    method: str,
    surface: Surface,
) -> Offer:
    """What the period costs this customer.

    The largest discount wins, and they never add up; what it takes off is rounded down.

    Raises:
        NotSold: not this, or not by that method there.
    """
    _check_surface(method, surface)
    on_sale = prices.on_sale.get(tariff)
    listed = {} if on_sale is None else on_sale.stars if method == STARS else on_sale.prices
    if on_sale is None or period_days not in listed:
        raise NotSold(f"{tariff} for {period_days} days is not sold by {method}")
    kind, percent = _largest(prices, tariff, customer, promo)
    list_price = listed[period_days]
    quote = Quote(
        list_price=list_price,
        price=_less(list_price, percent),
        currency=_STAR if method == STARS else prices.currency,
        value=_less(on_sale.prices[period_days], percent),
        discount=kind,
        discount_percent=percent or None,
    )
    return Offer(quote, _minimum(prices, method), _unused(tariff, promo, kind))


def top_up(prices: PriceList, amount: int, *, method: str, surface: Surface) -> Offer:
    """What it costs to have `amount` more on the balance, minor units of the price list's currency; nothing is ever taken off.

    Raises:
        NotSold: not so little or so much, or not by that method there.
    """
    _check_surface(method, surface)
    limits = prices.top_up
    if limits is None or not limits.least <= amount <= limits.most:
        raise NotSold(f"a top-up of {amount} is not offered")
    if method == STARS:
        stars = -(-amount // limits.star_value)
        quote = Quote(stars, stars, _STAR, value=amount)
    else:
        quote = Quote(amount, amount, prices.currency, value=amount)
    return Offer(quote, _minimum(prices, method))


def _check_surface(method: str, surface: Surface) -> None:
    if surface is Surface.WEB and method in _INSIDE_TELEGRAM:
        raise NotSold(f"{method} is not offered on the web")


def _minimum(prices: PriceList, method: str) -> int:
    return max(prices.minimums.get(method, 1), 1)


def _largest(prices: PriceList, tariff: str, customer: Customer, promo: Promo | None) -> tuple[str | None, int]:
    """The first of those that are equally large: a code is used up, and a personal discount may end."""
    offered: list[tuple[str | None, int]] = [(None, 0)]
    if customer.vip:
        offered.append(("vip", prices.vip_percent))
    if customer.personal_percent is not None:
        offered.append(("personal", customer.personal_percent))
    if promo is not None and _is_for(promo, tariff):
        offered.append(("promo", promo.percent))
    return max(offered, key=lambda one: one[1])


def _is_for(promo: Promo, tariff: str) -> bool:
    return promo.tariffs is None or tariff in promo.tariffs


def _unused(tariff: str, promo: Promo | None, won: str | None) -> CodeUnused | None:
    if promo is None or won == "promo":
        return None
    return CodeUnused.NOT_THE_LARGEST if _is_for(promo, tariff) else CodeUnused.OTHER_TARIFF


def _less(amount: int, percent: int) -> int:
    return amount - amount * percent // 100
