"""The currencies that Atlas knows, and their digits: the one list of them.

Prices, books, texts, providers' amounts and the database's table `currencies` (`migrate` fills it from here) all go by it. A
currency that is not here is refused by name, and never given a number of digits by default.
"""

from __future__ import annotations

from dataclasses import dataclass

_FIAT = (
    "RUB", "USD", "EUR", "BYN", "UAH", "GBP", "CNY", "KZT", "UZS", "GEL", "TRY", "AMD", "THB", "INR", "BRL", "IDR", "AZN",
    "AED", "PLN", "ILS", "KGS", "TJS",
)  # fmt: skip
_CRYPTO = {
    "USDT": 6, "USDC": 6, "TRX": 6, "XAUT": 6, "BTC": 8, "LTC": 8, "TON": 9, "SOL": 9, "JET": 9, "ETH": 18, "BNB": 18,
}  # fmt: skip


class UnknownCurrency(LookupError):
    """A code that the list does not have; the text names it."""


@dataclass(frozen=True, slots=True)
class Currency:
    """One currency.

    Attributes:
        digits: after the point, in the books.
        price_digits: after the point, in prices and payments. Stars are sold whole and booked in nanostars; all others have the
            same number in both.
    """

    code: str
    digits: int
    price_digits: int

    def booked(self, price: int) -> int:
        """An amount of prices and payments in the minor units of the books."""
        return int(price * 10 ** (self.digits - self.price_digits))

    def decimal(self, price: int) -> str:
        """An amount of prices and payments in whole units, exact: 14900 kopecks are `149.00`, 100 Stars `100`."""
        whole, part = divmod(price, 10**self.price_digits)
        return f"{whole}.{part:0{self.price_digits}}" if self.price_digits else str(whole)

    def said(self, minor: int) -> str:
        """An amount of the books, from 0, in whole units with its code, exact: `149.00 RUB`, `120.000000000 XTR`."""
        whole, part = divmod(minor, 10**self.digits)
        return f"{whole}.{part:0{self.digits}} {self.code}"


FIAT = frozenset(_FIAT)
"""What Crypto Pay makes invoices in."""
CRYPTO = frozenset(_CRYPTO)
"""What such an invoice is paid in."""
ALL = (
    {code: Currency(code, 2, 2) for code in _FIAT}
    | {code: Currency(code, digits, digits) for code, digits in _CRYPTO.items()}
    | {"XTR": Currency("XTR", 9, 0)}
)
"""By code."""


def of(code: str) -> Currency:
    """The currency of a code.

    Raises:
        UnknownCurrency: the list does not have it.
    """
    try:
        return ALL[code]
    except KeyError:
        raise UnknownCurrency(f"unknown currency {code!r}") from None
