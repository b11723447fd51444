from __future__ import annotations

from decimal import InvalidOperation

import pytest

from lib.domain import ledger


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
