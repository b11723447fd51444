"""Crypto Pay (CryptoBot): invoices in fiat RUB, signed webhooks. Amounts are decimal strings, never floats.

The two calls needed are written by hand: the libraries turn amounts into floats or block in their constructors.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lib import currencies, json_reader
from lib.domain.settlement import Event, Money
from lib.payments.provider import Invoice, InvoiceOver, ProviderError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    import httpx

    from lib.domain.orders import Order
    from lib.settings.plain import CryptoPaySettings

NAME = "cryptobot"
ACTIVE, PAID, EXPIRED = "active", "paid", "expired"
# What an amount can be; beyond it a string of a few characters would stand for megabytes of digits.
_MIN, _MAX, _MOST_DIGITS = Decimal(0), Decimal(10) ** 15, 20
PAGE = 1000
"""How many invoices one `getInvoices` call may be asked about."""
_OVERLAP = 50
"""The next page begins so many before the last one's end: what is made or paid meanwhile moves the others."""
_MOST_PAGES = 10
_DECIMAL = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_ID = re.compile(r"[0-9]{1,19}", re.ASCII)
_ERROR_NAME = re.compile(r"[A-Za-z0-9_]{1,100}", re.ASCII)
_MOST_BYTES = 16 * 1024 * 1024
"""An answer about a thousand invoices is a tenth of it."""


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


def event_of(invoice: dict[str, Any], body: bytes, via: str, correlation_id: str) -> Event:
    """The event of an invoice that has an id, the same whether a webhook or a listing brought it."""
    key = str(invoice_id_of(invoice))
    if invoice.get("status") != PAID:
        is_known = invoice.get("status") in (ACTIVE, EXPIRED)  # another word may well tell of money
        return Event(NAME, key, body, via, correlation_id, None, "the invoice is not paid", concerns_money=not is_known)
    money, reason = _money(invoice)
    return Event(NAME, key, body, via, correlation_id, money, reason)


def invoice_id_of(invoice: dict[str, Any]) -> str | None:
    """The invoice's id in decimal, whether it came as a number or as text; None when it is none."""
    value = invoice.get("invoice_id")
    if isinstance(value, Decimal) and _MIN < value < _MAX and value == value.to_integral_value():
        value = int(value)
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return str(int(text)) if _ID.fullmatch(text) and json_reader.is_id(int(text)) else None


def _money(invoice: dict[str, Any]) -> tuple[Money | None, str]:
    currency = invoice.get("fiat") if invoice.get("currency_type") == "fiat" else invoice.get("asset")
    amount = _decimal(invoice.get("amount"))
    if not isinstance(currency, str) or not json_reader.is_storable(currency) or amount is None:
        return None, "no amount or currency"
    if invoice.get("currency_type") != "fiat":
        return None, "not an amount of fiat money that we ask for"
    if currency not in currencies.ALL:
        return None, "a currency that we don't know"
    minor = _minor(amount, currency)
    if minor.denominator != 1:
        return None, "not an amount of fiat money that we ask for"
    return Money(
        amount=int(minor),
        currency=currency,
        invoice_id=str(invoice_id_of(invoice)),
        purchase_id=_purchase_id(invoice.get("payload")),
        paid_asset=_code(invoice.get("paid_asset")),
        paid_amount=_number(invoice.get("paid_amount")),
        paid_rate=_number(invoice.get("paid_fiat_rate")),
        fee_asset=_code(invoice.get("fee_asset")),
        fee_amount=_number(invoice.get("fee_amount")),
    ), ""


def _minor(amount: Decimal, currency: str) -> Fraction:
    """Exact, so that a fraction of a kopeck shows."""
    return Fraction(amount) * Fraction(10) ** currencies.of(currency).price_digits


def _decimal(value: object) -> Decimal | None:
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
    number = _decimal(value)
    return None if number is None else format(number, "f")


def _code(value: object) -> str | None:
    fits = isinstance(value, str) and value.isascii() and value.isalnum() and value.isupper()
    return str(value) if fits and 2 <= len(str(value)) <= 12 else None  # noqa: PLR2004 -- a code, as payments.paid_asset has it


def _purchase_id(payload: object) -> UUID | None:
    try:
        return UUID(payload) if isinstance(payload, str) else None
    except ValueError:
        return None


class CryptoPay:
    """The API client. Every call is bounded; a token never gets into an error's text.

    `client` gives the HTTP client when the first call is made: most updates of the bot make none.
    """

    name = NAME

    def __init__(
        self, client: Callable[[], httpx.AsyncClient], settings: CryptoPaySettings, *, invoice_seconds: int
    ) -> None:
        self._client = client
        self._settings = settings
        self._invoice_seconds = invoice_seconds

    async def create_invoice(self, order: Order, description: str) -> Invoice:
        """See `Provider.create_invoice`. The invoice lives as long as the order."""
        made = await self._call(
            "createInvoice",
            {
                "currency_type": "fiat",
                "fiat": order.currency,
                "amount": _decimal_string(order.price, order.currency),
                "accepted_assets": ",".join(self._settings.assets),
                "description": description[:1024],
                "payload": str(order.purchase_id),
                "expires_in": self._invoice_seconds,
                "allow_comments": False,
            },
        )
        return _invoice(made)

    async def find(self, purchase_id: UUID, amount: int, currency: str) -> Invoice | None:
        """See `Provider.find`. Among those that can still be paid: the customer was never shown this one's address."""
        async for listing in self.active():
            found = matching(listing.items, purchase_id, amount, currency)
            if found is not None:
                return found
        return None

    async def paid_event(self, invoice_id: str, correlation_id: str, via: str) -> Event | None:
        """See `Provider.paid_event`."""
        for item in (await self.invoices([invoice_id])).items:
            if invoice_id_of(item) != invoice_id:
                continue
            if item.get("status") == PAID:
                return event_of(item, body_of(item), via, correlation_id)
            if item.get("status") == EXPIRED:
                raise InvoiceOver(invoice_id)
            return None
        # not listed: deleted, another account's, or a listing with holes. That is no answer.
        raise ProviderError("getInvoices: the invoice is not listed")

    async def delete_invoice(self, invoice_id: str) -> None:
        """See `Provider.delete_invoice`."""
        await self._call("deleteInvoice", {"invoice_id": int(invoice_id)})

    async def invoices(self, invoice_ids: Sequence[str]) -> Listing:
        """Up to `PAGE` invoices, asked for by id; deleted and unknown ones are absent.

        Raises:
            ProviderError: could not ask.
        """
        return await self._list({"invoice_ids": ",".join(invoice_ids), "count": PAGE})

    async def listed(self, status: str, *, offset: int = 0) -> Listing:
        """Up to `PAGE` invoices in one status, from the one at `offset` on, in an order that Crypto Pay documents nowhere.

        Raises:
            ProviderError: could not ask.
        """
        return await self._list({"status": status, "offset": offset, "count": PAGE})

    async def active(self) -> AsyncIterator[Listing]:
        """Invoices that can still be paid, page by page: those of the last half hour, ten pages at most.

        Raises:
            ProviderError: could not ask.
        """
        offset = 0
        for _ in range(_MOST_PAGES):
            listing = await self.listed(ACTIVE, offset=offset)
            yield listing
            if listing.longest <= _OVERLAP:
                return
            offset = listing.following(offset)

    async def _list(self, parameters: dict[str, Any]) -> Listing:
        """Ask with every token: invoices that were made under one before a rotation are another's to list."""
        found: list[dict[str, Any]] = []
        failed: ProviderError | None = None
        answered, longest = False, 0
        for token in self._settings.tokens:
            try:
                items = _items(await self._call("getInvoices", parameters, token))
                found += items
                answered, longest = True, max(longest, len(items))
            except ProviderError as error:
                failed = error
        if failed is not None and not answered:
            raise failed
        return Listing(found, complete=failed is None, longest=longest)

    async def _call(self, method: str, parameters: dict[str, Any], token: str | None = None) -> Any:
        import httpx  # noqa: PLC0415 -- loaded only when a call is made: the webhook's cold start makes none

        try:
            async with self._client().stream(
                "POST",
                f"{self._settings.api_base}/api/{method}",
                json=parameters,
                headers={"Crypto-Pay-API-Token": token or self._settings.tokens[0]},
                timeout=httpx.Timeout(10.0, connect=5.0),
            ) as response:
                answer = json_reader.read(await _bounded(response), exact=True)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ProviderError(f"{method}: {type(error).__name__}") from None
        if not isinstance(answer, dict) or answer.get("ok") is not True:
            details = answer.get("error") if isinstance(answer, dict) else None
            name = details.get("name") if isinstance(details, dict) else None
            known = name if isinstance(name, str) and _ERROR_NAME.fullmatch(name) else ""
            raise ProviderError(f"{method}: HTTP {response.status_code} {known}".rstrip())
        return answer.get("result")


async def _bounded(response: httpx.Response) -> bytes:
    """The answer's body.

    Raises:
        ProviderError: it is larger than any.
    """
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > _MOST_BYTES:
            raise ProviderError("an answer of more than 16 MiB")
        parts.append(part)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Listing:
    """What Crypto Pay listed.

    Attributes:
        complete: every token was answered; without that, what is absent says nothing.
        longest: how many invoices the answer to one token held at most. Pages may be shorter than what was asked for.
    """

    items: list[dict[str, Any]]
    complete: bool
    longest: int

    def following(self, offset: int) -> int:
        """Where the page after this one begins, which was asked for at `offset`."""
        return offset + max(1, self.longest - _OVERLAP)


def page_start(number: int) -> int:
    """Where the page of that number begins, counted from 0, when every page is full."""
    return number * (PAGE - _OVERLAP)


def body_of(item: dict[str, Any]) -> bytes:
    """A listed invoice as the body of its event; exact numbers become text, which is read the same."""
    return json.dumps(item, default=str).encode()


def matching(listed: list[dict[str, Any]], purchase_id: UUID, amount: int, currency: str) -> Invoice | None:
    """The listed invoice that carries our purchase id and the agreed amount; the id alone selects nothing."""
    for item in listed:
        if _purchase_id(item.get("payload")) == purchase_id and _agrees(item, amount, currency):
            return _invoice(item)
    return None


def _decimal_string(minor: int, currency: str) -> str:
    return format(Decimal(minor).scaleb(-currencies.of(currency).price_digits), "f")


def _agrees(item: dict[str, Any], amount: int, currency: str) -> bool:
    asked = _decimal(item.get("amount"))
    return item.get("fiat") == currency and asked is not None and _minor(asked, currency) == amount


def _items(result: Any) -> list[dict[str, Any]]:
    items = result.get("items") if isinstance(result, dict) else None
    if not isinstance(items, list):
        raise ProviderError("getInvoices: unreadable answer")
    return [item for item in items if isinstance(item, dict)]


def _invoice(made: Any) -> Invoice:
    url = made.get("bot_invoice_url") if isinstance(made, dict) else None
    invoice_id = invoice_id_of(made) if isinstance(made, dict) else None
    if invoice_id is None or not isinstance(url, str) or not json_reader.is_storable(url):
        raise ProviderError("createInvoice: unreadable answer")
    return Invoice(invoice_id, url)
