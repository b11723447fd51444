"""What can be sold: the rules of sendInvoice and createInvoiceLink, and the server's words for what breaks them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.protocol.arguments import whole_number
from sandbox.telegram.protocol.errors import bad_request, not_modelled
from sandbox.telegram.text.texts import clean

if TYPE_CHECKING:
    from collections.abc import Collection

    from sandbox.telegram.protocol.arguments import Arguments

STARS: Final = "XTR"
TITLE_LIMIT: Final = 32  # code points
DESCRIPTION_LIMIT: Final = 255  # code points
PAYLOAD_LIMIT: Final = 128  # bytes
AMOUNT_LIMIT: Final = 999_999_999_999
TIPS_LIMIT: Final = 4
SUBSCRIPTION_PERIOD: Final = 2_592_000  # seconds, the only one there is
SUBSCRIPTION_LIMIT: Final = 10_000  # Stars
# Digits after the point, then the smallest and largest total in the smallest unit. The real bounds are about 1 and
# 10 000 US dollars and move with the exchange rates every day; these are of their size.
CURRENCIES: Final = {
    STARS: (0, 1, 100_000),
    "AED": (2, 367, 3_673_000),
    "AMD": (2, 38_000, 383_000_000),
    "BYN": (2, 300, 3_000_000),
    "CNY": (2, 700, 7_200_000),
    "EUR": (2, 86, 870_000),
    "GBP": (2, 75, 760_000),
    "GEL": (2, 270, 2_700_000),
    "IDR": (2, 1_600_000, 16_600_000_000),
    "ILS": (2, 330, 3_400_000),
    "INR": (2, 8_800, 89_000_000),
    "JPY": (0, 150, 1_540_000),
    "KZT": (2, 52_000, 525_000_000),
    "PLN": (2, 360, 3_700_000),
    "RUB": (2, 8_000, 82_000_000),
    "THB": (2, 3_200, 33_000_000),
    "TRY": (2, 4_200, 42_500_000),
    "UAH": (2, 4_200, 42_300_000),
    "USD": (2, 100, 1_000_000),
    "UZS": (2, 1_200_000, 12_100_000_000),
}
# What the payer fills in, by the flag that asks for it; what goes to the provider is asked for by that alone.
_ASKED: Final = {"need_name": "name", "need_phone_number": "phone_number", "need_email": "email"}
_SHARED: Final = {"send_phone_number_to_provider": "phone_number", "send_email_to_provider": "email"}
_SHIPPING: Final = ("need_shipping_address", "is_flexible")


@dataclass(frozen=True)
class Invoice:
    """One offer. `total` and tips are in the currency's smallest unit, `subscription_period` in seconds (0 = once).

    `asks` names what of Bot API's `OrderInfo` the payer fills in, `shares` what of it the provider is told, with
    `provider_data` as the bot gave it.
    """

    title: str
    description: str
    payload: str
    currency: str
    total: int
    start_parameter: str = ""
    max_tip: int = 0
    subscription_period: int = 0
    asks: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    provider_data: str = ""

    def __post_init__(self) -> None:
        """Lists, as the store gives them back, become what they were."""
        object.__setattr__(self, "asks", tuple(self.asks))
        object.__setattr__(self, "shares", tuple(self.shares))

    def shown(self) -> dict[str, Any]:
        """Bot API `Invoice`, which keeps the payload to itself."""
        return {
            "title": self.title,
            "description": self.description,
            "start_parameter": self.start_parameter,
            "currency": self.currency,
            "total_amount": self.total,
        }

    @property
    def pay_button(self) -> dict[str, Any]:
        """The button Telegram adds when the bot gave none."""
        return {"text": f"Pay {money(self.currency, self.total)}", "pay": True}


def money(currency: str, amount: int) -> str:
    """An amount as the app's button writes it."""
    if currency == STARS:
        return f"⭐️{amount}"
    digits = CURRENCIES[currency][0]
    return f"{currency} {amount / 10**digits:.{digits}f}"


def _required(arguments: Arguments, name: str) -> str:
    if not arguments.text(name):
        raise bad_request(f'parameter "{name}" is required')
    return clean(arguments.text(name))


def _number(raw: Any, name: str) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise bad_request(f'can\'t parse labeled price: Field "{name}" must be of type Number')
    try:
        return int(str(raw))
    except ValueError:
        raise bad_request(f"can't parse labeled price: Can't parse as an integer string \"{raw}\"") from None


def _price(raw: Any) -> int:
    if not isinstance(raw, dict):
        raise bad_request("can't parse labeled price: LabeledPrice must be an Object")
    for name in ("label", "amount"):
        if name not in raw:
            raise bad_request(f"can't parse labeled price: Can't find field \"{name}\"")
    if not isinstance(raw["label"], str):
        raise bad_request('can\'t parse labeled price: Field "label" must be of type String')
    if not raw["label"]:
        raise bad_request("can't parse labeled price: LabeledPrice label must be non-empty")
    return _number(raw["amount"], "amount")


def _prices(text: str) -> list[int]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        raise bad_request("can't parse prices JSON object") from None
    if not isinstance(listed, list):
        raise bad_request("expected an Array of labeled prices")
    if not listed:
        raise bad_request("there must be at least one price")
    return [_price(raw) for raw in listed]


def _total(prices: list[int]) -> int:
    if any(abs(price) > AMOUNT_LIMIT for price in prices):
        raise bad_request("too big amount of the currency specified")
    if sum(prices) <= 0:
        raise bad_request("total price must be positive")
    if sum(prices) > AMOUNT_LIMIT:
        raise bad_request("total price is too big")
    return sum(prices)


def _suggested_tips(arguments: Arguments) -> list[int]:
    suggested = arguments.parsed("suggested_tip_amounts", "can't parse suggested_tip_amounts JSON object")
    if not arguments.text("suggested_tip_amounts"):
        return []
    if not isinstance(suggested, list):
        raise bad_request("expected an Array of suggested tip amounts")
    if any(isinstance(raw, bool) or not isinstance(raw, int | float | str) for raw in suggested):
        raise bad_request("suggested tip amount must be of type Number or String")
    amounts = [whole_number(raw) for raw in suggested]
    if None in amounts:
        raise bad_request("can't parse suggested tip amount as Number")
    return [amount for amount in amounts if amount is not None]


def _tips(arguments: Arguments) -> int:
    """The largest tip, after a look at the suggested ones."""
    largest = whole_number(arguments.text("max_tip_amount") or 0)
    if largest is None:
        raise bad_request('can\'t parse "max_tip_amount" as Number')
    if not 0 <= largest <= AMOUNT_LIMIT:
        raise bad_request("invalid max_tip_amount of the currency specified")
    amounts = _suggested_tips(arguments)
    if any(amount <= 0 for amount in amounts):
        raise bad_request("suggested tip amount must be positive")
    if any(amount > largest for amount in amounts):
        raise bad_request("suggested tip amount can't be bigger than max_tip_amount")
    if len(amounts) > TIPS_LIMIT:
        raise bad_request("there can be at most 4 suggested tip amounts")
    return largest


def _check_provider(arguments: Arguments, currency: str, provider_tokens: Collection[str]) -> None:
    token = arguments.text("provider_token")
    if currency == STARS:
        if token:
            raise bad_request("PAYMENT_PROVIDER_INVALID")
        return
    if token not in provider_tokens:
        raise bad_request("PAYMENT_PROVIDER_INVALID")
    if any(arguments.flag(name) for name in _SHIPPING):
        raise not_modelled("invoices that ask for an address")


def _period(arguments: Arguments, currency: str, total: int) -> int:
    period = arguments.integer("subscription_period")
    if period == 0:
        return 0
    if period != SUBSCRIPTION_PERIOD or currency != STARS:
        raise bad_request("SUBSCRIPTION_PERIOD_INVALID")
    if total > SUBSCRIPTION_LIMIT:
        raise bad_request("CURRENCY_TOTAL_AMOUNT_INVALID")
    return period


def parse_invoice(arguments: Arguments, provider_tokens: Collection[str], *, link: bool = False) -> Invoice:
    """The invoice a call describes; `link` for createInvoiceLink, which alone can sell subscriptions.

    Raises:
        ApiError: what the server says to it; 501 for orders that are shipped.
    """
    title, description = _required(arguments, "title"), _required(arguments, "description")
    payload, currency = _required(arguments, "payload"), _required(arguments, "currency")
    prices = _prices(_required(arguments, "prices"))
    total, max_tip = _total(prices), _tips(arguments)
    if len(title) > TITLE_LIMIT or len(description) > DESCRIPTION_LIMIT:
        raise bad_request("wrong invoice information specified")
    if len(arguments.text("payload").encode()) > PAYLOAD_LIMIT:
        raise bad_request("INVOICE_PAYLOAD_INVALID")
    if currency not in CURRENCIES:
        raise bad_request("CURRENCY_INVALID")
    _check_provider(arguments, currency, provider_tokens)
    if currency == STARS and (len(prices) != 1 or max_tip):
        raise bad_request("STARS_INVOICE_INVALID")
    _, smallest, largest = CURRENCIES[currency]
    if not smallest <= total <= largest:
        raise bad_request("CURRENCY_TOTAL_AMOUNT_INVALID")
    start_parameter = "" if link else clean(arguments.text("start_parameter"))
    period = _period(arguments, currency, total) if link else 0
    invoice = Invoice(title, description, payload, currency, total, start_parameter, max_tip, period)
    return invoice if currency == STARS else _with_order(invoice, arguments)


def _with_order(invoice: Invoice, arguments: Arguments) -> Invoice:
    """The invoice with what its payer is asked for and its provider told; Stars know neither."""
    shares = tuple(field for flag, field in _SHARED.items() if arguments.flag(flag))
    asks = tuple(field for flag, field in _ASKED.items() if arguments.flag(flag) or field in shares)
    return replace(invoice, asks=asks, shares=shares, provider_data=clean(arguments.text("provider_data")))
