"""What Crypto Pay says of invoices, by signed webhooks and by its lists: read into events. Apart from the client, which a webhook has no use for."""

from __future__ import annotations

import hashlib
import hmac
import re
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lib import currencies, json_reader
from lib.domain.settlement import Event, Money

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAME = "cryptobot"
ACTIVE, PAID, EXPIRED = "active", "paid", "expired"
# What an amount can be; beyond it a string of a few characters would stand for megabytes of digits.
_MIN, _MAX, _MOST_DIGITS = Decimal(0), Decimal(10) ** 15, 20
_DECIMAL = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_ID = re.compile(r"[0-9]{1,19}", re.ASCII)


def signed_by(body: bytes, signature: str, tokens: Iterable[str]) -> bool:
    """Whether `signature` (hex) is the HMAC-SHA-256 of the raw body under one of the tokens.

    The key is SHA-256 of the token, raw. Compared as bytes, in constant time: a str with other than ASCII would raise.
    """
    given = signature.strip().lower().encode("utf-8", "surrogateescape")
    genuine = False
    for token in tokens:
        key = hashlib.sha256(token.encode()).digest()
        expected = hmac.new(key, body, hashlib.sha256).hexdigest().encode()
        genuine |= hmac.compare_digest(expected, given)
    return genuine


def read_webhook(body: bytes, correlation_id: str) -> Event:
    """The event of a webhook whose signature was right: it is never refused for its shape.

    What it says but we do not know (another kind, an unknown field, no id, no JSON) still makes an event, without money: it is
    recorded and answered 200, and what comes later under the invoice's id is read anew.
    """
    try:
        update = json_reader.read_object(body, exact=True)
    except json_reader.UnreadableJson as error:
        return _other(body, correlation_id, str(error))
    invoice = update.get("payload")
    if update.get("update_type") != "invoice_paid":
        says_paid = isinstance(invoice, dict) and invoice.get("status") == PAID
        return _other(body, correlation_id, "unknown kind of update", alarming=says_paid)
    if not isinstance(invoice, dict) or invoice_id_of(invoice) is None:
        return _other(body, correlation_id, "no invoice_id")
    return event_of(invoice, body, "webhook", correlation_id)


def _other(body: bytes, correlation_id: str, reason: str, *, alarming: bool = True) -> Event:
    """News that has no natural key: the same bytes are the same news (Crypto Pay's update_id is documented as not unique)."""
    key = f"body:{hashlib.sha256(body).hexdigest()}"
    return Event(NAME, key, body, "webhook", correlation_id, None, reason, kind="other", concerns_money=alarming)


def event_of(invoice: Mapping[str, Any], body: bytes, via: str, correlation_id: str) -> Event:
    """The event of an invoice that has an id, the same whether a webhook or a listing brought it."""
    key = str(invoice_id_of(invoice))
    if invoice.get("status") != PAID:
        is_known = invoice.get("status") in (ACTIVE, EXPIRED)  # another word may well tell of money
        return Event(NAME, key, body, via, correlation_id, None, "the invoice is not paid", concerns_money=not is_known)
    money, reason = _money(invoice)
    return Event(NAME, key, body, via, correlation_id, money, reason)


def invoice_id_of(invoice: Mapping[str, Any]) -> str | None:
    """The invoice's id in decimal, whether it came as a number or as text; None when it is none."""
    value = invoice.get("invoice_id")
    if isinstance(value, Decimal) and _MIN < value < _MAX and value == value.to_integral_value():
        value = int(value)
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return str(int(text)) if _ID.fullmatch(text) and json_reader.is_id(int(text)) else None


def _money(invoice: Mapping[str, Any]) -> tuple[Money | None, str]:
    """What a paid invoice says came, and why it pays for no order if it does not: what moved is money all the same."""
    reason = _not_agreed(invoice)
    if reason:
        return _moved(invoice), reason
    currency = str(invoice["fiat"])
    return Money(
        amount=int(minor_units(decimal(invoice["amount"]) or _MIN, currency)),
        currency=currency,
        invoice_id=str(invoice_id_of(invoice)),
        purchase_id=purchase_id_of(invoice.get("payload")),
        paid_asset=asset_code(invoice.get("paid_asset")),
        paid_amount=_number(invoice.get("paid_amount")),
        paid_rate=_number(invoice.get("paid_fiat_rate")),
        fee_asset=asset_code(invoice.get("fee_asset")),
        fee_amount=_number(invoice.get("fee_amount")),
    ), ""


def _not_agreed(invoice: Mapping[str, Any]) -> str:
    """Why no order can have asked for this; nothing when one can."""
    currency = invoice.get("fiat") if invoice.get("currency_type") == "fiat" else invoice.get("asset")
    amount = decimal(invoice.get("amount"))
    if not isinstance(currency, str) or not json_reader.is_storable(currency) or amount is None:
        return "no amount or currency"
    if invoice.get("currency_type") != "fiat":
        return "not an amount of fiat money that we ask for"
    if currency not in currencies.ALL:
        return "a currency that we don't know"
    if minor_units(amount, currency).denominator != 1:
        return "not an amount of fiat money that we ask for"
    return ""


def _moved(invoice: Mapping[str, Any]) -> Money | None:
    """What came, where the invoice says it, as an amount of its own: there is nothing agreed that it could be compared with."""
    asset, moved = asset_code(invoice.get("paid_asset")), _number(invoice.get("paid_amount"))
    if asset is None or moved is None or asset not in currencies.ALL:
        return None
    minor = round(minor_units(Decimal(moved), asset))  # half to even, as the books do
    if not minor:
        return None
    return Money(
        amount=minor,
        currency=asset,
        invoice_id=str(invoice_id_of(invoice)),
        purchase_id=purchase_id_of(invoice.get("payload")),
        paid_asset=asset,
        paid_amount=moved,
        fee_asset=asset_code(invoice.get("fee_asset")),
        fee_amount=_number(invoice.get("fee_amount")),
    )


def minor_units(amount: Decimal, currency: str) -> Fraction:
    """An amount in minor units of prices; exact, so that a fraction of a kopeck shows."""
    return Fraction(amount) * Fraction(10) ** currencies.of(currency).price_digits


def is_nothing(value: object) -> bool:
    """Whether it is an amount of zero, in any notation."""
    text = str(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""
    return bool(_DECIMAL.fullmatch(text)) and not Decimal(text)


def decimal(value: object) -> Decimal | None:
    """An amount in any notation of JSON: text, a whole number, a Decimal from the exact reader; None when it is none."""
    text = str(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""
    if not _DECIMAL.fullmatch(text):
        return None
    # The precision is longer than any such text: zeros at the end go, and nothing else.
    number = Decimal(text).normalize(Context(prec=400))
    if not _MIN < number < _MAX or number.as_tuple().exponent < -_MOST_DIGITS:  # type: ignore[operator] # finite: an int
        return None
    return number


def _number(value: object) -> str | None:
    number = decimal(value)
    return None if number is None else format(number, "f")


def asset_code(value: object) -> str | None:
    """The code of an asset, as the books can hold it; None when it is none."""
    fits = isinstance(value, str) and value.isascii() and value.isalnum() and value.isupper()
    return str(value) if fits and 2 <= len(str(value)) <= 12 else None  # noqa: PLR2004 -- a code, as payments.paid_asset has it


def purchase_id_of(payload: object) -> UUID | None:
    """The purchase of ours that an invoice's payload names, None when it names none."""
    try:
        return UUID(payload) if isinstance(payload, str) else None
    except ValueError:
        return None
