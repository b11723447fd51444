"""Typed amounts: what is meant is taken to the kopeck, everything else is refused in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.domain import amounts
from lib.domain.amounts import Refusal
from lib.settings import pricelist

PRICES = pricelist.load()


@pytest.mark.parametrize(
    ("text", "kopecks"),
    [
        ("250", 25000),
        (" 250 ", 25000),
        ("250.5", 25050),
        ("250,50", 25050),
        ("0100", 10000),
        ("1 000", 100000),
        ("1\N{NO-BREAK SPACE}000", 100000),
        ("12\N{NARROW NO-BREAK SPACE}345,60", 1234560),
        ("100 000", 10_000_000),
        ("300 ₽", 30000),
        ("₽300", 30000),
        ("300р", 30000),  # noqa: RUF001 -- Russian
        ("300 руб.", 30000),  # noqa: RUF001 -- Russian
        ("300 Рублей", 30000),
        ("300 RUB", 30000),
        ("999.00", 99900),
    ],
)
def test_an_amount_is_taken_as_it_is_meant(text: str, kopecks: int) -> None:
    assert amounts.top_up(text, PRICES) == kopecks


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", Refusal.NOT_A_NUMBER),
        ("   ", Refusal.NOT_A_NUMBER),
        ("много", Refusal.NOT_A_NUMBER),
        ("NaN", Refusal.NOT_A_NUMBER),
        ("inf", Refusal.NOT_A_NUMBER),
        ("-Infinity", Refusal.NOT_A_NUMBER),
        ("1e9", Refusal.NOT_A_NUMBER),
        ("1E9 руб", Refusal.NOT_A_NUMBER),  # noqa: RUF001 -- Russian
        ("0x1F4", Refusal.NOT_A_NUMBER),
        ("1_000", Refusal.NOT_A_NUMBER),
        ("0.1+0.2", Refusal.NOT_A_NUMBER),
        ("250*4", Refusal.NOT_A_NUMBER),
        ("1.000,50", Refusal.NOT_A_NUMBER),
        ("1..5", Refusal.NOT_A_NUMBER),
        ("250.", Refusal.NOT_A_NUMBER),
        (".50", Refusal.NOT_A_NUMBER),
        ("1 00", Refusal.NOT_A_NUMBER),
        ("25 0 000", Refusal.NOT_A_NUMBER),
        ("+250", Refusal.NOT_A_NUMBER),
        ("--250", Refusal.NOT_A_NUMBER),
        ("250-", Refusal.NOT_A_NUMBER),
        ("₽250₽", Refusal.NOT_A_NUMBER),
        ("250 или 300", Refusal.NOT_A_NUMBER),
        ("250\n300", Refusal.NOT_A_NUMBER),
        ("2" * 65, Refusal.NOT_A_NUMBER),
        ("-250", Refusal.BELOW_ZERO),
        ("\N{MINUS SIGN}250 ₽", Refusal.BELOW_ZERO),
        ("- 0.01", Refusal.BELOW_ZERO),
        ("0", Refusal.ZERO),
        ("0.00", Refusal.ZERO),
        ("000", Refusal.ZERO),
        ("100.12345678901234567", Refusal.TOO_FINE),
        ("250.500", Refusal.TOO_FINE),
        ("1,000", Refusal.TOO_FINE),
        ("\u0662\u0665\u0660", Refusal.OTHER_DIGITS),
        ("2\u0665\u0660", Refusal.OTHER_DIGITS),
        ("\uff12\uff15\uff10", Refusal.OTHER_DIGITS),
        ("25\u00b2", Refusal.OTHER_DIGITS),
        ("250\u00bd", Refusal.OTHER_DIGITS),
        ("$250", Refusal.OTHER_CURRENCY),
        ("250 USD", Refusal.OTHER_CURRENCY),
        ("250€", Refusal.OTHER_CURRENCY),
        ("250 звёзд", Refusal.OTHER_CURRENCY),
        ("250 USDT", Refusal.OTHER_CURRENCY),
        ("99.99", Refusal.TOO_LITTLE),
        ("1", Refusal.TOO_LITTLE),
        ("100000.01", Refusal.TOO_MUCH),
        ("1000000000", Refusal.TOO_MUCH),
        ("9" * 64, Refusal.TOO_MUCH),
        ("0" * 63 + "1", Refusal.TOO_LITTLE),
    ],
)
def test_everything_else_is_refused_with_its_reason(text: str, why: Refusal) -> None:
    assert amounts.top_up(text, PRICES) is why


@given(st.integers(1, 10**12))
def test_what_is_written_is_what_is_read(kopecks: int) -> None:
    whole, part = divmod(kopecks, 100)
    assert amounts.read(f"{whole}.{part:02}", "RUB") == kopecks
    assert amounts.read(f"{whole:,}".replace(",", " ") + f",{part:02} ₽", "RUB") == kopecks


@given(st.text(max_size=80) | st.from_regex(r"[-+]?[0-9.,e ]{1,70}"))
def test_whatever_is_typed_is_an_amount_within_the_limits_or_a_reason(text: str) -> None:
    read = amounts.top_up(text, PRICES)
    assert isinstance(read, Refusal) or 10_000 <= read <= 10_000_000


def test_a_list_without_top_ups_takes_no_amount() -> None:
    assert amounts.top_up("250", replace(PRICES, top_up=None)) is Refusal.TOO_MUCH
