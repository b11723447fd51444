"""Who must have access until when: product.md's rules once more, over facts, with none of Atlas's code.

What is taken as a fact: which orders are paid, when, and by which charge, after each was found at its provider's; and when trials began,
after a tap for each was found. Everything else (ends, conversions, one trial for life) is reckoned here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

TRIAL: Final = timedelta(hours=72)
_PRICES: Final = {
    "basic": {30: 149, 90: 399, 180: 749, 365: 1399},
    "plus": {30: 299, 90: 699, 180: 1199, 365: 2299},
}
_A_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Gain:
    """Time that an account was given.

    Attributes:
        at: when.
        tariff: of what.
        period: how much.
        trial: it is the free period.
    """

    at: datetime
    tariff: str
    period: timedelta
    trial: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """What an account has."""

    tariff: str
    until: datetime
    trial_until: datetime | None


def worth(old: str, new: str) -> Fraction:
    """What a unit of the old tariff's time is of the new one's: the smallest of old / new over the periods."""
    return min(Fraction(_PRICES[old][days], _PRICES[new][days]) for days in _PRICES[old])


def after(had: Access | None, gain: Gain) -> Access:
    """What an account has once it was given that."""
    if had is None or had.until <= gain.at:
        until = gain.at + gain.period
        return Access(gain.tariff, until, until if gain.trial else None)
    trial_until = had.trial_until
    left_from = max(gain.at, min(trial_until or gain.at, had.until))
    if had.tariff == gain.tariff:
        until = had.until
    else:
        minutes = floor(
            Fraction((had.until - left_from) // timedelta(microseconds=1), 60_000_000) * worth(had.tariff, gain.tariff)
        )
        until = left_from + minutes * _A_MINUTE
    return Access(gain.tariff, until + gain.period, trial_until)


def reckoned(gains: list[Gain]) -> Access | None:
    """After all of them, in the order in which they came."""
    had: Access | None = None
    for gain in gains:
        had = after(had, gain)
    return had
