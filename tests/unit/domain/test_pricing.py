"""The one price function."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.domain import pricing
from lib.domain.pricing import CodeUnused, Customer, NotSold, Offer, Promo, Quote, Surface
from lib.settings import pricelist

if TYPE_CHECKING:
    from lib.domain.pricelist import PriceList

PRICES = pricelist.load()
NO_ONE_SPECIAL = Customer()


def price(
    tariff: str = "basic",
    days: int = 30,
    *,
    prices: PriceList = PRICES,
    customer: Customer = NO_ONE_SPECIAL,
    promo: Promo | None = None,
    method: str = "cryptobot",
    surface: Surface = Surface.CHAT,
) -> Offer:
    return pricing.price(prices, tariff, days, customer=customer, promo=promo, method=method, surface=surface)


def test_a_customer_without_discounts_pays_the_list_price() -> None:
    assert price() == Offer(Quote(14900, 14900, "RUB", 14900), 100)


def test_stars_have_a_price_of_their_own_and_the_value_of_the_list() -> None:
    assert price(method="stars") == Offer(Quote(120, 120, "XTR", 14900), 1)
    vip = price("plus", 365, method="stars", customer=Customer(vip=True)).quote
    assert (vip.list_price, vip.price, vip.value) == (1840, 1288, 229900 - 68970)


@pytest.mark.parametrize(
    ("customer", "promo", "kind", "paid", "unused"),
    [
        (Customer(vip=True), None, "vip", 10430, None),
        (Customer(personal_percent=31), None, "personal", 10281, None),
        (Customer(vip=True, personal_percent=29), None, "vip", 10430, None),
        (Customer(), Promo(33), "promo", 9983, None),
        (Customer(vip=True), Promo(31), "promo", 10281, None),
        # equally large: the code is not used up
        (Customer(vip=True), Promo(30), "vip", 10430, CodeUnused.NOT_THE_LARGEST),
        (Customer(personal_percent=50), Promo(40), "personal", 7450, CodeUnused.NOT_THE_LARGEST),
        (Customer(vip=True), Promo(90, frozenset({"plus"})), "vip", 10430, CodeUnused.OTHER_TARIFF),
        (Customer(), Promo(90, frozenset({"plus"})), None, 14900, CodeUnused.OTHER_TARIFF),
        (Customer(), Promo(10, frozenset({"plus", "basic"})), "promo", 13410, None),
        (Customer(vip=True, personal_percent=99), Promo(100), "promo", 0, None),
    ],
)
def test_the_largest_discount_wins_alone(
    customer: Customer, promo: Promo | None, kind: str | None, paid: int, unused: CodeUnused | None
) -> None:
    offer = price(customer=customer, promo=promo)
    quote = offer.quote
    assert (quote.list_price, quote.price, quote.discount, offer.code_unused) == (14900, paid, kind, unused)


percents = st.integers(1, 99)


@given(
    tariff=st.sampled_from(["basic", "plus"]),
    days=st.sampled_from([30, 90, 180, 365]),
    method=st.sampled_from(["stars", "cryptobot", "card", "balance", "transfer"]),
    customer=st.builds(Customer, vip=st.booleans(), personal_percent=st.none() | percents),
    promo=st.none() | st.builds(Promo, st.integers(1, 100), st.none() | st.just(frozenset({"plus"}))),
)
def test_every_quote_is_one_that_an_order_may_keep(
    tariff: str, days: int, method: str, customer: Customer, promo: Promo | None
) -> None:
    """The rules of the table `orders`, and: no discount is ever more than the largest one."""
    offer = price(tariff, days, customer=customer, promo=promo, method=method)
    quote = offer.quote
    percent = quote.discount_percent or 0
    assert (quote.discount is None) == (quote.discount_percent is None)
    assert quote.price == quote.list_price - quote.list_price * percent // 100
    assert (quote.value == 0) == (quote.price == 0)
    assert (quote.currency == "XTR") == (method == "stars")
    assert percent < 100 or quote.discount == "promo"
    usable = [PRICES.vip_percent] * customer.vip + [customer.personal_percent or 0]
    usable += [promo.percent] if promo and (promo.tariffs is None or tariff in promo.tariffs) else []
    assert percent == max(usable)
    assert (offer.code_unused is None) == (promo is None or quote.discount == "promo")
    assert offer.is_payable <= (quote.price > 0)


def test_a_method_below_its_minimum_is_not_payable_and_the_price_stays() -> None:
    small = Customer(personal_percent=60)
    card, crypto = price(customer=small, method="card"), price(customer=small, method="cryptobot")
    assert (card.quote.price, card.is_payable, card.minimum) == (5960, False, 6400)
    assert (crypto.quote.price, crypto.is_payable) == (5960, True)
    assert price(method="card").is_payable
    exactly = replace(PRICES, minimums={"card": 5960})
    assert price(customer=small, method="card", prices=exactly).is_payable


@pytest.mark.parametrize("method", ["stars", "cryptobot", "card", "balance"])
def test_what_is_free_is_paid_by_no_method(method: str) -> None:
    assert not price(promo=Promo(100), method=method).is_payable


@pytest.mark.parametrize(("tariff", "days"), [("gold", 30), ("basic", 31), ("trial", 30), ("", 0)])
@pytest.mark.parametrize("method", ["stars", "cryptobot"])
def test_what_is_not_on_the_list_is_not_sold(tariff: str, days: int, method: str) -> None:
    with pytest.raises(NotSold):
        price(tariff, days, method=method)


def test_a_retired_tariff_is_not_sold() -> None:
    retired = replace(PRICES.tariffs["plus"], sold=False)
    with pytest.raises(NotSold):
        price("plus", 30, prices=replace(PRICES, tariffs=PRICES.tariffs | {"plus": retired}))


def test_a_tariff_without_prices_in_stars_is_not_sold_for_stars() -> None:
    without = replace(PRICES, tariffs={"basic": replace(PRICES.tariffs["basic"], stars={})})
    assert price(prices=without).quote.price == 14900
    with pytest.raises(NotSold):
        price(prices=without, method="stars")


@pytest.mark.parametrize("method", ["stars", "card"])
def test_the_web_has_no_pay_sheet_of_telegram(method: str) -> None:
    with pytest.raises(NotSold):
        price(method=method, surface=Surface.WEB)
    with pytest.raises(NotSold):
        pricing.top_up(PRICES, 25000, method=method, surface=Surface.WEB)
    assert price(surface=Surface.WEB).quote.price == 14900


@pytest.mark.parametrize(
    ("amount", "stars"), [(25000, 200), (75000, 600), (99900, 800), (10000, 80), (10001, 81), (10_000_000, 80_000)]
)
def test_a_top_up_costs_what_it_brings(amount: int, stars: int) -> None:
    card = pricing.top_up(PRICES, amount, method="card", surface=Surface.CHAT)
    assert card == Offer(Quote(amount, amount, "RUB", amount), 6400)
    assert pricing.top_up(PRICES, amount, method="stars", surface=Surface.CHAT).quote == Quote(
        stars, stars, "XTR", amount
    )


@pytest.mark.parametrize("amount", [-25000, 0, 9999, 10_000_001, 10**30])
def test_a_top_up_outside_its_limits_is_not_sold(amount: int) -> None:
    with pytest.raises(NotSold):
        pricing.top_up(PRICES, amount, method="cryptobot", surface=Surface.CHAT)


@given(st.integers(10_000, 10_000_000))
def test_stars_never_bring_more_than_they_count_for(amount: int) -> None:
    quote = pricing.top_up(PRICES, amount, method="stars", surface=Surface.CHAT).quote
    assert 0 <= quote.price * 125 - amount < 125


def test_a_list_that_says_nothing_of_top_ups_offers_none() -> None:
    with pytest.raises(NotSold):
        pricing.top_up(replace(PRICES, top_up=None), 25000, method="cryptobot", surface=Surface.CHAT)
