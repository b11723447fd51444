"""What a customer without any discount is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.domain.pricing import Customer, Quote, Surface, price

if TYPE_CHECKING:
    from lib.domain.pricelist import PriceList


def at_list_price(prices: PriceList, tariff: str, days: int, *, method: str = "cryptobot") -> Quote:
    return price(prices, tariff, days, customer=Customer(), promo=None, method=method, surface=Surface.CHAT).quote
