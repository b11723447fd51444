from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.domain.pricelist import Tariff, UnknownTariff
from lib.domain.pricing import NotSold
from lib.settings import pricelist
from tests.quoting import at_list_price

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


def test_a_retired_tariff_keeps_its_value_and_is_not_sold() -> None:
    tariffs = PRICES.tariffs
    retired = replace(PRICES, tariffs=tariffs | {"plus": replace(tariffs["plus"], sold=False)})
    assert retired.conversion("plus", "basic") == PRICES.conversion("plus", "basic") > 1
    assert retired.conversion("basic", "plus") == PRICES.conversion("basic", "plus") < 1
    assert list(retired.on_sale) == ["basic"]
    with pytest.raises(NotSold):
        at_list_price(retired, "plus", 30)


@pytest.mark.parametrize(("old", "new"), [("gone", "basic"), ("basic", "gone"), ("gone", "lost")])
def test_time_of_unknown_worth_is_never_converted_one_to_one(old: str, new: str) -> None:
    with pytest.raises(UnknownTariff):
        PRICES.conversion(old, new)
    assert PRICES.conversion(old, old) == 1


prices = st.fixed_dictionaries({period: st.integers(1, 10**7) for period in PERIODS})


@given(prices, prices)
def test_no_detour_through_another_tariff_gains_time(old: dict[int, int], new: dict[int, int]) -> None:
    both = replace(PRICES, tariffs={"a": Tariff("a", 1, old), "b": Tariff("b", 1, new)})
    assert both.conversion("a", "b") * both.conversion("b", "a") <= 1
