"""An amount of money as a person types it (product.md#balance-and-top-up): plain digits, or a refusal that says why."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING

from lib import currencies

if TYPE_CHECKING:
    from lib.domain.pricelist import PriceList

_LONGEST = 64
_ROUBLE = "₽ р руб рубль рубля рублей rub rur ruble rubles rouble roubles"  # noqa: RUF001 -- Russian
_WORDS = {"RUB": frozenset(_ROUBLE.split())}
_MINUS = frozenset("-\N{MINUS SIGN}\N{EN DASH}\N{EM DASH}\N{FIGURE DASH}\N{HYPHEN}")
_NUMBER = re.compile(r"(?P<whole>[0-9]+|[0-9]{1,3}(?: [0-9]{3})+)(?:[.,](?P<part>[0-9]+))?")
_PARTS = re.compile(r"(?P<before>[^0-9.,]*)(?P<number>[0-9].*[0-9]|[0-9])(?P<after>[^0-9]*)", re.DOTALL)
_MOST_DIGITS = 30


class Refusal(StrEnum):
    """Why it is no amount; the end of its text's name."""

    NOT_A_NUMBER = "not-a-number"
    OTHER_DIGITS = "other-digits"
    OTHER_CURRENCY = "other-currency"
    BELOW_ZERO = "below-zero"
    ZERO = "zero"
    TOO_FINE = "too-fine"
    TOO_LITTLE = "too-little"
    TOO_MUCH = "too-much"


def top_up(text: str, prices: PriceList) -> int | Refusal:
    """What the customer wants to top up by, minor units of the price list's currency, within its limits."""
    limits = prices.top_up
    amount = read(text, prices.currency)
    if isinstance(amount, Refusal):
        return amount
    if limits is None or amount > limits.most:
        return Refusal.TOO_MUCH
    return amount if amount >= limits.least else Refusal.TOO_LITTLE


def read(text: str, currency: str) -> int | Refusal:
    """An amount above zero in minor units of `currency`.

    Digits are those of ASCII, thousands may be parted by spaces, one point or comma parts the minor units. The currency's own sign
    or word may stand beside it. Nothing is rounded and nothing is guessed.
    """
    said = " ".join(text.split())  # each run of spaces of any kind is one; none at the ends
    if not 0 < len(said) <= _LONGEST or len(text.strip().splitlines()) > 1:
        return Refusal.NOT_A_NUMBER
    if any(unicodedata.numeric(character, None) is not None and character not in "0123456789" for character in said):
        return Refusal.OTHER_DIGITS
    is_negative = said[0] in _MINUS
    parts = _PARTS.fullmatch(said[1:].lstrip() if is_negative else said)
    number = _NUMBER.fullmatch(parts["number"]) if parts else None
    if parts is None or number is None:
        return Refusal.NOT_A_NUMBER
    if (refusal := _beside(parts["before"].strip(), parts["after"].strip(), currency)) is not None:
        return refusal
    if is_negative:
        return Refusal.BELOW_ZERO
    return _counted(number["whole"].replace(" ", ""), number["part"] or "", currencies.of(currency).price_digits)


def _beside(before: str, after: str, currency: str) -> Refusal | None:
    """Beside the number stands nothing, or once the name of the currency."""
    if not before and not after:
        return None
    said = (before or after).removesuffix(".").casefold()
    if (before and after) or not said:
        return Refusal.NOT_A_NUMBER
    if said in _WORDS.get(currency, ()) or said == currency.casefold():
        return None
    is_name = all(character.isalpha() or unicodedata.category(character) == "Sc" for character in said)
    return Refusal.OTHER_CURRENCY if is_name else Refusal.NOT_A_NUMBER


def _counted(whole: str, part: str, digits: int) -> int | Refusal:
    if len(part) > digits:
        return Refusal.TOO_FINE
    if len(whole.lstrip("0")) > _MOST_DIGITS:
        return Refusal.TOO_MUCH
    amount = int(whole + part.ljust(digits, "0"))
    return amount or Refusal.ZERO
