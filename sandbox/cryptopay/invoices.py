"""Invoices: what createInvoice accepts, what an invoice looks like, and how it is paid, expires and is found again."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from sandbox.cryptopay.rates import ASSETS, FIATS, amount_for, fee_on, parse_amount, price, text_of

_DESCRIPTION_LIMIT = 1024
_HIDDEN_LIMIT = 2048
_PAYLOAD_LIMIT = 4096  # bytes
_EXPIRES_IN = range(1, 2_678_401)
_BUTTONS = frozenset({"viewItem", "openChannel", "openBot", "callback"})
_COUNT = range(1, 1001)
_COUNT_DEFAULT = 100
_ID_LIMIT = 2**63


class ApiError(Exception):
    """`{"ok": false, "error": {"code", "name"}}`, the HTTP status being the code."""

    def __init__(self, code: int, name: str) -> None:
        super().__init__(f"{code} {name}")
        self.code = code
        self.name = name


class InvoiceError(ValueError):
    """What was asked of the sandbox (pay, expire) is not possible for this invoice."""


@dataclass(slots=True)
class Invoice:
    """One invoice: what was asked for and, once paid, how. `fields` is the API's object without its URLs."""

    invoice_id: int
    fields: dict[str, Any]

    @property
    def status(self) -> str:
        """active, paid or expired."""
        return str(self.fields["status"])

    @property
    def is_fiat(self) -> bool:
        """Whether it asks for fiat money."""
        return bool(self.fields["currency_type"] == "fiat")

    @property
    def assets(self) -> list[str]:
        """What it may be paid with."""
        return list(self.fields["accepted_assets"]) if self.is_fiat else [self.fields["asset"]]

    def settle_expiry(self, now: datetime) -> bool:
        """Mark it expired when its time is over; whether that changed it."""
        until = self.fields.get("expiration_date")
        if self.status != "active" or until is None or datetime.fromisoformat(until) > now:
            return False
        self.fields["status"] = "expired"
        return True

    def cost(self, asset: str) -> Decimal:
        """How much of the asset pays it."""
        amount = Decimal(self.fields["amount"])
        return amount_for(asset, self.fields["fiat"], amount) if self.is_fiat else amount

    def pay(self, asset: str, now: datetime, *, anonymously: bool, comment: str | None) -> None:
        """Book the payment.

        Raises:
            InvoiceError: it is not active, or the asset is not accepted.
        """
        if self.status != "active":
            raise InvoiceError(f"invoice {self.invoice_id} is {self.status}")
        if asset not in self.assets:
            raise InvoiceError(f"invoice {self.invoice_id} can't be paid with {asset}, only {', '.join(self.assets)}")
        paid = self.cost(asset)
        fee = fee_on(paid)
        usd = price(asset, "USD")
        self.fields |= {
            "status": "paid",
            "paid_asset": asset,
            "paid_amount": text_of(paid),
            "fee_asset": asset,
            "fee_amount": text_of(fee),
            "fee_in_usd": text_of((fee * usd).quantize(Decimal("0.00000001"))),
            "paid_usd_rate": text_of(usd),
            "paid_at": iso(now),
            "paid_anonymously": anonymously,
        }
        if self.is_fiat:
            self.fields["paid_fiat_rate"] = text_of(price(asset, self.fields["fiat"]))
        if comment is not None:
            self.fields["comment"] = comment

    def shown(self, public_url: str) -> dict[str, Any]:
        """The API's object, complete."""
        page = f"{public_url}/invoice/{self.fields['hash']}"
        urls = {
            "bot_invoice_url": page,
            "mini_app_invoice_url": f"{page}?mode=compact",
            "web_app_invoice_url": f"{page}?mode=web",
            "pay_url": page,  # deprecated, still sent
        }
        return {**self.fields, **urls}


def iso(moment: datetime) -> str:
    """ISO 8601, milliseconds, Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_hash() -> str:
    """Like the real ones: IV and ten letters or digits."""
    letters = string.ascii_letters + string.digits
    return "IV" + "".join(secrets.choice(letters) for _ in range(10))


def new_invoice(invoice_id: int, asked: dict[str, Any], now: datetime) -> Invoice:
    """Make an invoice out of createInvoice's parameters.

    Raises:
        ApiError: a parameter is missing or wrong; 500 APP_ERROR when accepted_assets is an array, as the real service does.
    """
    if isinstance(asked.get("accepted_assets"), list | dict):
        raise ApiError(500, "APP_ERROR")
    currency_type = _one_of(asked, "currency_type", ("crypto", "fiat"), "crypto")
    fields: dict[str, Any] = {"invoice_id": invoice_id, "hash": new_hash(), "currency_type": currency_type}
    if currency_type == "fiat":
        fields["fiat"] = _one_of(asked, "fiat", tuple(FIATS), None)
        fields["accepted_assets"] = _accepted(asked.get("accepted_assets"))
    else:
        fields["asset"] = _one_of(asked, "asset", tuple(ASSETS), None)
    amount = parse_amount(asked.get("amount"))
    if amount is None:
        raise ApiError(400, "AMOUNT_INVALID")
    fields |= {"amount": text_of(amount), "status": "active", "created_at": iso(now)}
    for name, limit in (("description", _DESCRIPTION_LIMIT), ("hidden_message", _HIDDEN_LIMIT)):
        _copy_text(asked, fields, name, too_long=lambda text, limit=limit: len(text) > limit)
    _copy_text(asked, fields, "payload", too_long=lambda text: len(text.encode()) > _PAYLOAD_LIMIT)
    if "swap_to" in asked:
        fields["swap_to"] = _one_of(asked, "swap_to", tuple(ASSETS), None)
    _copy_button(asked, fields)
    fields["allow_comments"] = _flag(asked, "allow_comments")
    fields["allow_anonymous"] = _flag(asked, "allow_anonymous")
    if "expires_in" in asked:
        seconds = _integer(asked["expires_in"], _EXPIRES_IN, "EXPIRES_IN_INVALID")
        fields["expiration_date"] = iso(now + timedelta(seconds=seconds))
    return Invoice(invoice_id, fields)


def find_invoices(invoices: list[Invoice], asked: dict[str, Any]) -> list[Invoice]:
    """What getInvoices answers, newest first; unknown ids are simply absent."""
    found = sorted(invoices, key=lambda invoice: invoice.invoice_id, reverse=True)
    if "invoice_ids" in asked:
        wanted = set(_ids(asked["invoice_ids"]))
        found = [invoice for invoice in found if invoice.invoice_id in wanted]
    choices = {"status": ("active", "paid"), "asset": tuple(ASSETS), "fiat": tuple(FIATS)}
    for name, allowed in choices.items():
        if name in asked:
            value = _one_of(asked, name, allowed, None)
            found = [invoice for invoice in found if invoice.fields.get(name) == value]
    offset = _integer(asked.get("offset", 0), range(_ID_LIMIT), "OFFSET_INVALID")
    count = _integer(asked.get("count", _COUNT_DEFAULT), _COUNT, "COUNT_INVALID")
    return found[offset : offset + count]


def wanted_id(asked: dict[str, Any]) -> int:
    """The parameter invoice_id."""
    return _integer(asked.get("invoice_id"), range(_ID_LIMIT), "INVOICE_ID_INVALID")


def _ids(said: object) -> list[int]:
    if isinstance(said, list | dict):
        raise ApiError(500, "APP_ERROR")
    return [_integer(part.strip(), range(_ID_LIMIT), "INVOICE_IDS_INVALID") for part in str(said).split(",")]


def _integer(said: object, allowed: range, error: str) -> int:
    text = str(said) if isinstance(said, int | str) and not isinstance(said, bool) else ""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(_ID_LIMIT)) or int(text) not in allowed:
        raise ApiError(400, error)
    return int(text)


def _one_of(asked: dict[str, Any], name: str, allowed: tuple[str, ...], default: str | None) -> str:
    value = asked.get(name, default)
    if value not in allowed:
        raise ApiError(400, f"{name.upper()}_INVALID")
    return str(value)


def _accepted(said: object) -> list[str]:
    if said is None or said == "":
        return list(ASSETS)
    assets = [part.strip() for part in str(said).split(",")]
    if not all(asset in ASSETS for asset in assets):
        raise ApiError(400, "ACCEPTED_ASSETS_INVALID")
    return list(dict.fromkeys(assets))


def _copy_text(asked: dict[str, Any], fields: dict[str, Any], name: str, *, too_long: Any) -> None:
    text = asked.get(name)
    if text is None or text == "":
        return
    if not isinstance(text, str) or too_long(text):
        raise ApiError(400, f"{name.upper()}_INVALID")
    fields[name] = text


def _copy_button(asked: dict[str, Any], fields: dict[str, Any]) -> None:
    if not asked.get("paid_btn_name"):
        return
    fields["paid_btn_name"] = _one_of(asked, "paid_btn_name", tuple(_BUTTONS), None)
    url = asked.get("paid_btn_url")
    try:
        parts = urlsplit(str(url or ""))
    except ValueError as error:
        raise ApiError(400, "PAID_BTN_URL_INVALID") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ApiError(400, "PAID_BTN_URL_INVALID")
    fields["paid_btn_url"] = str(url)


def _flag(asked: dict[str, Any], name: str) -> bool:
    said = asked.get(name, True)
    known = {"true": True, "1": True, "false": False, "0": False}
    text = str(said).lower()
    if text not in known:
        raise ApiError(400, f"{name.upper()}_INVALID")
    return known[text]
