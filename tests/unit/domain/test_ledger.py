from __future__ import annotations

from decimal import InvalidOperation

import pytest

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
    entries = bookings.entries("cryptobot", money, {"USDT": 6})
    assert [(e.debit, e.credit, e.amount, e.currency) for e in entries] == [
        ("clearing:cryptobot", "exchange", 1_862_500, "USDT"),
        ("exchange", "revenue", 14_900, "RUB"),
        ("provider_fees", "clearing:cryptobot", 55_875, "USDT"),
    ]


def test_dust_that_rounds_to_nothing_makes_no_entry() -> None:
    money = Money(14900, "RUB", "1", None, "USDT", "0.0000001", None, None, None)
    assert [entry.currency for entry in bookings.entries("cryptobot", money, {"USDT": 6})] == ["RUB"]
