"""Currencies, fixed exchange rates, and how amounts are written. No float touches money."""

from __future__ import annotations

import re
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Context, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# Asset: name, decimals shown, price in USD. Made up, but of the right order.
ASSETS: dict[str, tuple[str, int, Decimal]] = {
    "USDT": ("Tether", 6, Decimal("1.0002")),
    "TON": ("Toncoin", 9, Decimal("3.141")),
    "BTC": ("Bitcoin", 8, Decimal("97012.5")),
    "ETH": ("Ethereum", 8, Decimal("3312.75")),
    "LTC": ("Litecoin", 8, Decimal("92.4")),
    "BNB": ("Binance Coin", 8, Decimal("884.1")),
    "TRX": ("Tron", 6, Decimal("0.2871")),
    "USDC": ("USD Coin", 6, Decimal("0.9998")),
    "JET": ("Jet", 9, Decimal("0.05")),
}
_TEST_ONLY = frozenset({"JET"})
# What createInvoice's swap_to may name, by the API's own description.
SWAP_TARGETS = ("USDT", "TON", "TRX", "ETH", "BTC", "LTC")
SWAP_TARGETS_WITHOUT_RATE = ("SOL",)
STABLE = frozenset({"USDT", "USDC"})
# Fiat: how many for one USD.
FIATS: dict[str, Decimal] = {
    "USD": Decimal(1),
    "EUR": Decimal("0.92"),
    "RUB": Decimal("80.5"),
    "BYN": Decimal("3.27"),
    "UAH": Decimal("41.6"),
    "GBP": Decimal("0.79"),
    "CNY": Decimal("7.12"),
    "KZT": Decimal("521.4"),
    "UZS": Decimal(12650),
    "GEL": Decimal("2.71"),
    "TRY": Decimal("42.3"),
    "AMD": Decimal("382.5"),
    "THB": Decimal("32.4"),
    "INR": Decimal("88.7"),
    "BRL": Decimal("5.34"),
    "IDR": Decimal(16640),
    "AZN": Decimal("1.7"),
    "AED": Decimal("3.6725"),
    "PLN": Decimal("3.65"),
    "ILS": Decimal("3.27"),
}
FEE = Decimal("0.03")  # deducted from what the merchant gets
_FEE_DIGITS = Decimal("0.00000001")
_RATE_DIGITS = Decimal("0.00000001")
USD_DIGITS = Decimal("0.00000001")
_SWAP_DIGITS = Decimal(1).scaleb(-18)  # so that a dear target gets no gift from rounding
_EXACT = Context(prec=100)  # an amount has up to 36 digits, and Python keeps 28 unless told otherwise
_AMOUNT_DIGITS = 18  # before the point and behind it
_AMOUNT = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")


def parse_amount(said: object) -> Decimal | None:
    """A positive plain decimal number, in ASCII digits without an exponent, or None. A JSON number may have one."""
    if isinstance(said, bool) or not isinstance(said, str | int | Decimal):
        return None
    fits = isinstance(said, Decimal) and abs(said.adjusted()) <= _AMOUNT_DIGITS
    text = f"{said:f}" if fits else str(said)
    if not _AMOUNT.fullmatch(text):
        return None
    amount = Decimal(text)
    return amount if amount > 0 else None


def text_of(amount: Decimal) -> str:
    """As the API writes amounts: plain, no needless zeros ("2.6")."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def product(one: Decimal, other: Decimal, digits: Decimal, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """Both multiplied, however great, rounded to the digits of `digits`."""
    return _EXACT.multiply(one, other).quantize(digits, rounding, _EXACT)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The sum, to its last digit."""
    made = Decimal(0)
    for amount in amounts:
        made = _EXACT.add(made, amount)
    return made


def difference(one: Decimal, *others: Decimal) -> Decimal:
    """What is left of `one`, to its last digit."""
    return _EXACT.subtract(one, total(others))


def _digits(asset: str) -> Decimal:
    return Decimal(1).scaleb(-ASSETS[asset][1])


def last_digits(asset: str, count: int) -> Decimal:
    """So many of the smallest amount of an asset that is shown."""
    return count * _digits(asset)


def price(asset: str, fiat: str) -> Decimal:
    """What one `asset` costs in `fiat`."""
    return product(ASSETS[asset][2], FIATS[fiat], _RATE_DIGITS)


def amount_for(asset: str, fiat: str, amount: Decimal) -> Decimal:
    """So much of `asset` buys the fiat amount, rounded up to the asset's digits."""
    return _EXACT.divide(amount, price(asset, fiat)).quantize(_digits(asset), ROUND_UP, _EXACT)


def fee_on(paid: Decimal) -> Decimal:
    """The service's fee on a payment, in the paid asset."""
    return product(paid, FEE, _FEE_DIGITS)


def swapped(amount: Decimal, asset: str, target: str) -> tuple[Decimal, Decimal, Decimal]:
    """A swap: its rate, what comes out in the target's digits (rounded down), and the target's price in USD."""
    usd = price(target, "USD")
    rate = _EXACT.divide(price(asset, "USD"), usd).quantize(_SWAP_DIGITS, ROUND_DOWN, _EXACT)
    return rate, product(amount, rate, _digits(target), ROUND_DOWN), usd


def assets_of(network: str) -> tuple[str, ...]:
    """What is accepted on a network, "main" or "test"."""
    return tuple(asset for asset in ASSETS if network == "test" or asset not in _TEST_ONLY)


def exchange_rates(assets: Iterable[str]) -> list[dict[str, Any]]:
    """Result of getExchangeRates."""
    return [
        {
            "is_valid": True,
            "is_crypto": True,
            "is_fiat": False,
            "source": asset,
            "target": fiat,
            "rate": text_of(price(asset, fiat)),
        }
        for asset in assets
        for fiat in FIATS
    ]


def currencies(assets: Iterable[str]) -> list[dict[str, Any]]:
    """Result of getCurrencies."""
    crypto = [
        {
            "is_blockchain": asset not in STABLE,
            "is_stablecoin": asset in STABLE,
            "is_fiat": False,
            "name": name,
            "code": asset,
            "url": f"https://coins.example/{asset}",
            "decimals": decimals,
        }
        for asset, (name, decimals, _) in ((asset, ASSETS[asset]) for asset in assets)
    ]
    fiat = [
        {"is_blockchain": False, "is_stablecoin": False, "is_fiat": True, "name": code, "code": code, "decimals": 8}
        for code in FIATS
    ]
    return crypto + fiat
