"""Whatever a customer buys in whatever order, a day of access is never cheaper than the cheapest day of its tariff (N-25)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.domain import subscriptions
from lib.domain.pricelist import Tariff
from lib.domain.subscriptions import Subscription
from lib.settings import pricelist

if TYPE_CHECKING:
    from lib.domain.pricelist import PriceList

START = datetime(2026, 1, 1, tzinfo=UTC)
SHIPPED = pricelist.load()
PERIODS = (1, 30, 90, 180, 365)
MINUTE = timedelta(minutes=1)

# A purchase: after so many minutes, which of the tariffs, which of its periods.
Purchase = tuple[int, int, int]
purchases = st.lists(
    st.tuples(st.integers(0, 400 * 24 * 60) | st.integers(0, 90), st.integers(0, 7), st.integers(0, 7)),
    min_size=1,
    max_size=30,
)


@st.composite
def price_lists(draw: st.DrawFn) -> PriceList:
    """Any that is accepted: two tariffs always have a period in common, and not all need have all."""
    common = draw(st.sampled_from(PERIODS))
    tariffs = {}
    for number in range(draw(st.integers(2, 4))):
        periods = {common} | draw(st.sets(st.sampled_from(PERIODS)))
        tariffs[f"t{number}"] = Tariff(
            f"t{number}", 1, {days: draw(st.integers(10_000, 1_000_000)) for days in periods}
        )
    return replace(SHIPPED, tariffs=tariffs)


def cheapest_day(tariff: Tariff) -> Fraction:
    return min(Fraction(price, days) for days, price in tariff.prices.items())


def in_days(time: timedelta) -> Fraction:
    return Fraction(time // timedelta(microseconds=1), 86_400_000_000)


def live(prices: PriceList, bought: list[Purchase]) -> tuple[int, Fraction]:
    """What was paid, and what the access that it gave would have cost at each tariff's cheapest day."""
    paid, worth = 0, Fraction(0)
    now, held = START, None
    names = sorted(prices.tariffs)
    for minutes, which, period in bought:
        later = now + minutes * MINUTE
        if held is not None:
            used = max(min(held.expires_at, later) - now, timedelta(0))
            worth += in_days(used) * cheapest_day(prices.tariffs[held.tariff])
            if held.expires_at <= later:
                held = replace(held, status="expired")
        now = later
        tariff = prices.tariffs[names[which % len(names)]]
        days = sorted(tariff.prices)[period % len(tariff.prices)]
        paid += tariff.prices[days]
        running = subscriptions.running_tariff(held, tariff.name)
        end = subscriptions.end_after(held, now, prices.conversion(running, tariff.name), timedelta(days=days))
        held = Subscription(1, tariff.name, "payment", "active", "active", UUID(int=1), 1, end, None, is_current=True)
    assert held is not None
    return paid, worth + in_days(held.expires_at - now) * cheapest_day(prices.tariffs[held.tariff])


@pytest.mark.proves("N-25")
@given(purchases)
def test_no_sequence_of_purchases_is_cheaper_than_the_cheapest_days(bought: list[Purchase]) -> None:
    paid, worth = live(SHIPPED, bought)
    assert worth <= paid


@pytest.mark.proves("N-25")
@given(price_lists(), purchases)
def test_nor_is_one_by_any_price_list_that_is_accepted(prices: PriceList, bought: list[Purchase]) -> None:
    """Also where a tariff's cheapest day is of a period that another one lacks."""
    paid, worth = live(prices, bought)
    assert worth <= paid


@pytest.mark.proves("N-25")
def test_a_year_bought_cheaply_is_not_sold_dear_by_a_tariff_that_has_no_year() -> None:
    tariffs = {
        "a": Tariff("a", 1, {30: 30_000, 365: 36_500}),
        "b": Tariff("b", 1, {30: 30_000}),
    }
    assert live(replace(SHIPPED, tariffs=tariffs), [(0, 0, 1), (0, 1, 0)]) <= (66_500, Fraction(66_500))
    assert replace(SHIPPED, tariffs=tariffs).conversion("a", "b") == Fraction(1, 10)


def test_for_tariffs_with_the_same_periods_the_value_is_the_smallest_ratio_of_prices() -> None:
    basic, plus = SHIPPED.tariffs["basic"].prices, SHIPPED.tariffs["plus"].prices
    for old, new, theirs, ours in [("basic", "plus", basic, plus), ("plus", "basic", plus, basic)]:
        assert SHIPPED.conversion(old, new) == min(Fraction(theirs[days], ours[days]) for days in theirs)
