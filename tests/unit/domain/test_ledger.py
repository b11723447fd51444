from __future__ import annotations

from decimal import InvalidOperation

import pytest

from lib.currencies import UnknownCurrency
from lib.domain import bookings, ledger
from lib.domain.bookings import Money


@pytest.mark.parametrize(
    ("amount", "exponent", "minor"),
    [
        ("149.00", 2, 14900),
        ("1.862500", 6, 1_862_500),
        ("0.0558755", 6, 55_876),
        ("0.0558745", 6, 55_874),  # half to even
        ("3", 0, 3),
        ("0.000000001", 6, 0),
        ("12345678901234567890.123456789012345678", 18, 12345678901234567890123456789012345678),
    ],
)
def test_decimal_strings_become_whole_minor_units(amount: str, exponent: int, minor: int) -> None:
    assert ledger.minor_units(amount, exponent) == minor


def test_nonsense_is_refused() -> None:
    with pytest.raises(InvalidOperation):
        ledger.minor_units("NaN or so", 2)


def test_a_foreign_payment_passes_the_exchange_account_so_each_currency_sums_to_zero() -> None:
    money = Money(14900, "RUB", "1", None, "USDT", "1.8625", "80.0", "USDT", "0.055875")
    entries = bookings.entries("cryptobot", money)
    assert [(e.debit, e.credit, e.amount, e.currency) for e in entries] == [
        ("clearing:cryptobot", "exchange", 1_862_500, "USDT"),
        ("exchange", "revenue", 14_900, "RUB"),
        ("provider_fees", "clearing:cryptobot", 55_875, "USDT"),
    ]


def test_dust_that_rounds_to_nothing_makes_no_entry() -> None:
    money = Money(14900, "RUB", "1", None, "USDT", "0.0000001", None, None, None)
    assert [entry.currency for entry in bookings.entries("cryptobot", money)] == ["RUB"]


@pytest.mark.parametrize(
    ("money", "booked"),
    [
        # Stars are sold whole and booked in nanostars
        (Money(250, "XTR", "1", None), [("clearing:x", "revenue", 250_000_000_000, "XTR")]),
        (Money(14900, "RUB", "1", None), [("clearing:x", "revenue", 14_900, "RUB")]),
        (Money(14900, "RUB", "1", None, "RUB", "149"), [("clearing:x", "revenue", 14_900, "RUB")]),
        (Money(14900, "RUB", "1", None, "NEWCOIN", "3"), [("exchange", "revenue", 14_900, "RUB")]),
        (Money(14900, "RUB", "1", None, "USDT", None), [("exchange", "revenue", 14_900, "RUB")]),
        (
            Money(14900, "RUB", "1", None, None, None, None, "RUB", "4.47"),
            [("clearing:x", "revenue", 14_900, "RUB"), ("provider_fees", "clearing:x", 447, "RUB")],
        ),
        (Money(14900, "RUB", "1", None, None, None, None, "NEWCOIN", "1"), [("clearing:x", "revenue", 14_900, "RUB")]),
    ],
)
def test_each_asset_is_booked_with_the_digits_of_the_list(
    money: Money, booked: list[tuple[str, str, int, str]]
) -> None:
    assert [(e.debit, e.credit, e.amount, e.currency) for e in bookings.entries("x", money)] == booked


def test_an_agreement_in_a_currency_that_no_list_has_is_refused_by_its_name() -> None:
    with pytest.raises(UnknownCurrency, match="NEWCOIN"):
        bookings.entries("x", Money(14900, "NEWCOIN", "1", None))
