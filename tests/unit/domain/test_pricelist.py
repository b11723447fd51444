from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from lib.domain.pricelist import PriceList, Tariff, Trial
from lib.settings import pricelist

PRICES = pricelist.load()
PERIODS = (30, 90, 180, 365)


def test_the_shipped_prices_are_those_of_the_business() -> None:
    assert PRICES.tariffs["basic"].prices == {30: 14900, 90: 39900, 180: 74900, 365: 139900}
    assert PRICES.tariffs["plus"].prices == {30: 29900, 90: 69900, 180: 119900, 365: 229900}
    assert (PRICES.trial.hours, PRICES.trial.devices, PRICES.trial.traffic_gb) == (72, 1, 10)


def test_conversion_takes_the_smallest_ratio() -> None:
    assert PRICES.conversion("basic", "plus") == min(
        Fraction(a, b) for a, b in [(149, 299), (399, 699), (749, 1199), (1399, 2299)]
    )
    assert PRICES.conversion("plus", "basic") == Fraction(1199, 749)
    assert PRICES.conversion("basic", "basic") == 1
    assert PRICES.conversion("gone", "basic") == 1


prices = st.fixed_dictionaries({period: st.integers(1, 10**7) for period in PERIODS})


@given(prices, prices)
def test_no_detour_through_another_tariff_gains_time(old: dict[int, int], new: dict[int, int]) -> None:
    both = PriceList("RUB", 30, {"a": Tariff("a", 1, old), "b": Tariff("b", 1, new)}, Trial("a", 1, 1, 1, 1))
    assert both.conversion("a", "b") * both.conversion("b", "a") <= 1
