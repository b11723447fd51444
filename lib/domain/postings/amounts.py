"""Amounts that a rule of the books makes of others, in minor units of the books."""

from __future__ import annotations

from dataclasses import dataclass


def credited(came: int, *, value: int, price: int) -> int:
    """What is credited for what came beyond an order's price, or for a top-up: floor(came x value / price) (money.md, Postings).

    `came` and `price` are in the order's currency, `value` and the result in that of the books.

    Raises:
        ValueError: less than nothing came, or the price is nothing.
    """
    if came < 0 or value < 0 or price <= 0:
        raise ValueError("money that came is credited at the value of a price")
    return came * value // price


@dataclass(frozen=True, slots=True)
class HadBack:
    """What of money that left can be had back from a balance.

    Attributes:
        taken: of the balance, in the currency of the books.
        given_back: its share of what left, in the asset that left.
        lost: the remainder, in that asset.
    """

    taken: int
    given_back: int
    lost: int


def had_back(left: int, *, credited: int, there: int) -> HadBack:
    """As far as it is there (money.md, Postings).

    Of a credit of `credited` the balance still holds `there` or more; `left` is what the provider's account gives up for all of it.
    The share of what is taken is rounded down, so what can't be had back is never shown too small.

    Raises:
        ValueError: less than nothing, or nothing was credited.
    """
    if left < 0 or there < 0 or credited <= 0:
        raise ValueError("only what was credited can be had back")
    taken = min(credited, there)
    given_back = left * taken // credited
    return HadBack(taken, given_back, left - given_back)
