"""Invoices: what createInvoice accepts, what an invoice looks like, and how it is paid, expires and is found again."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sandbox.cryptopay import arguments
from sandbox.cryptopay.arguments import ApiError, identifiers, not_modelled, one_of, page, refused
from sandbox.cryptopay.rates import (
    FIATS,
    SWAP_TARGETS,
    SWAP_TARGETS_WITHOUT_RATE,
    USD_DIGITS,
    amount_for,
    difference,
    fee_on,
    parse_amount,
    price,
    product,
    swapped,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_DESCRIPTION_LIMIT = 1024
_HIDDEN_LIMIT = 2048
_PAYLOAD_LIMIT = 4096  # bytes
_EXPIRES_IN = range(1, 2_678_401)
_COMMENT_LIMIT = 1024
_BUTTONS = frozenset({"viewItem", "openChannel", "openBot", "callback"})


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

    def ask_instead(self, amount: str, fiat: str) -> None:
        """From now on it asks for this: so that other money than was agreed is paid.

        Crypto Pay itself lets no payer choose. An application has to know all the same what becomes of such money.

        Raises:
            InvoiceError: it is not active, asks for no fiat money, or this is no amount of any.
        """
        if self.status != "active":
            raise InvoiceError(f"invoice {self.invoice_id} is {self.status}")
        if not self.is_fiat:
            raise InvoiceError(f"invoice {self.invoice_id} asks for no fiat money")
        wanted = parse_amount(amount)
        if wanted is None:
            raise InvoiceError(f"{amount!r} is no amount")
        if fiat not in FIATS:
            raise InvoiceError(f"there is no fiat money {fiat!r}, only {', '.join(FIATS)}")
        self.fields |= {"amount": text_of(wanted), "fiat": fiat}

    def pay(self, asset: str, now: datetime, *, anonymously: bool | None, comment: str | None, swap: bool) -> None:
        """Book the payment, and the swap where one was asked for.

        Args:
            asset: what it is paid with.
            now: the sandbox's time.
            anonymously: whether the payer shows no name; None: if the invoice allows it.
            comment: the payer's.
            swap: whether a swap that was asked for succeeds; Crypto Pay does not promise one.

        Raises:
            InvoiceError: it is not active, the asset is not accepted, or it allows no comment or no anonymous payer.
        """
        if self.status != "active":
            raise InvoiceError(f"invoice {self.invoice_id} is {self.status}")
        if asset not in self.assets:
            raise InvoiceError(f"invoice {self.invoice_id} can't be paid with {asset}, only {', '.join(self.assets)}")
        if comment is not None and (not self.fields["allow_comments"] or len(comment) > _COMMENT_LIMIT):
            raise InvoiceError(f"invoice {self.invoice_id} takes no such comment")
        if anonymously and not self.fields["allow_anonymous"]:
            raise InvoiceError(f"invoice {self.invoice_id} can't be paid anonymously")
        paid = self.cost(asset)
        fee = fee_on(paid)
        usd = price(asset, "USD")
        self.fields |= {
            "status": "paid",
            "paid_asset": asset,
            "paid_amount": text_of(paid),
            "fee_asset": asset,
            "fee_amount": text_of(fee),
            "fee_in_usd": text_of(product(fee, usd, USD_DIGITS)),
            "paid_usd_rate": text_of(usd),
            "paid_at": iso(now),
            "paid_anonymously": self.fields["allow_anonymous"] if anonymously is None else anonymously,
        }
        if self.is_fiat:
            self.fields["paid_fiat_rate"] = text_of(price(asset, self.fields["fiat"]))
        if comment is not None:
            self.fields["comment"] = comment
        if "swap_to" in self.fields:
            self._swap(asset, difference(paid, fee), succeeds=swap)

    def _swap(self, asset: str, net: Decimal, *, succeeds: bool) -> None:
        target = self.fields["swap_to"]
        self.fields["is_swapped"] = succeeds and target != asset  # what is there already needs no swap
        if not self.fields["is_swapped"]:
            return
        rate, output, usd = swapped(net, asset, target)
        self.fields |= {
            "swapped_uid": secrets.token_hex(8),
            "swapped_to": target,
            "swapped_rate": text_of(rate),
            "swapped_output": text_of(output),
            "swapped_usd_rate": text_of(usd),
            "swapped_usd_amount": text_of(product(output, usd, USD_DIGITS)),
        }

    @property
    def income(self) -> tuple[str, Decimal] | None:
        """What the merchant got, after the fee and a swap: asset and amount; None while it is not paid."""
        if self.status != "paid":
            return None
        if self.fields.get("is_swapped"):
            return self.fields["swapped_to"], Decimal(self.fields["swapped_output"])
        left = difference(Decimal(self.fields["paid_amount"]), Decimal(self.fields["fee_amount"]))
        return self.fields["paid_asset"], left

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


def new_hash(kind: str = "IV") -> str:
    """Like the real ones: two letters for the kind of thing and ten letters or digits."""
    letters = string.ascii_letters + string.digits
    return kind + "".join(secrets.choice(letters) for _ in range(10))


def new_invoice(invoice_id: int, asked: dict[str, Any], now: datetime, assets: Collection[str]) -> Invoice:
    """Make an invoice out of createInvoice's parameters; `assets` are those of the network.

    Raises:
        ApiError: a parameter is missing or wrong; 500 APP_ERROR when accepted_assets is an array, as the real service does.
    """
    if isinstance(asked.get("accepted_assets"), list | dict):
        raise ApiError(500, "APP_ERROR")
    currency_type = one_of(asked, "currency_type", ("crypto", "fiat"), "crypto")
    fields: dict[str, Any] = {"invoice_id": invoice_id, "hash": new_hash(), "currency_type": currency_type}
    if currency_type == "fiat":
        fields["fiat"] = one_of(asked, "fiat", FIATS)
        fields["accepted_assets"] = _accepted(asked.get("accepted_assets"), assets)
    elif asked.get("accepted_assets"):
        raise refused("accepted_assets")  # for fiat only
    else:
        fields["asset"] = one_of(asked, "asset", assets)
    amount = parse_amount(asked.get("amount"))
    if amount is None:
        raise refused("amount")
    fields |= {"amount": text_of(amount), "status": "active", "created_at": iso(now)}
    texts: dict[str, tuple[Callable[[str], int], int]] = {
        "description": (len, _DESCRIPTION_LIMIT),
        "hidden_message": (len, _HIDDEN_LIMIT),
        "payload": (arguments.utf8_length, _PAYLOAD_LIMIT),
    }
    for name, (length, limit) in texts.items():
        said = arguments.text(asked, name, length, limit)
        if said is not None:
            fields[name] = said
    if asked.get("swap_to"):
        if asked["swap_to"] in SWAP_TARGETS_WITHOUT_RATE:
            raise not_modelled("swap_to")
        fields["swap_to"] = one_of(asked, "swap_to", SWAP_TARGETS)
    _copy_button(asked, fields)
    fields["allow_comments"] = arguments.flag(asked, "allow_comments", default=True)
    fields["allow_anonymous"] = arguments.flag(asked, "allow_anonymous", default=True)
    if "expires_in" in asked:
        seconds = arguments.integer(asked["expires_in"], _EXPIRES_IN, "expires_in")
        fields["expiration_date"] = iso(now + timedelta(seconds=seconds))
    return Invoice(invoice_id, fields)


def find_invoices(invoices: list[Invoice], asked: dict[str, Any], assets: Collection[str]) -> list[Invoice]:
    """What getInvoices answers, newest first; unknown ids are simply absent."""
    found = sorted(invoices, key=lambda invoice: invoice.invoice_id, reverse=True)
    if "invoice_ids" in asked:
        wanted = identifiers(asked["invoice_ids"], "invoice_ids")
        found = [invoice for invoice in found if invoice.invoice_id in wanted]
    choices: dict[str, Collection[str]] = {"status": ("active", "paid"), "asset": assets, "fiat": FIATS}
    for name, allowed in choices.items():
        if name in asked:
            value = one_of(asked, name, allowed)
            found = [invoice for invoice in found if invoice.fields.get(name) == value]
    return page(found, asked)


def _accepted(said: object, assets: Collection[str]) -> list[str]:
    if said is None or said == "":
        return list(assets)
    wanted = [part.strip() for part in str(said).split(",")]
    if not all(asset in assets for asset in wanted):
        raise refused("accepted_assets")
    return list(dict.fromkeys(wanted))


def _copy_button(asked: dict[str, Any], fields: dict[str, Any]) -> None:
    if not asked.get("paid_btn_name"):
        return
    fields["paid_btn_name"] = one_of(asked, "paid_btn_name", _BUTTONS)
    url = asked.get("paid_btn_url")
    try:
        parts = urlsplit(str(url or ""))
    except ValueError as error:
        raise refused("paid_btn_url") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not arguments.is_utf8(str(url)):
        raise refused("paid_btn_url")
    fields["paid_btn_url"] = str(url)
