"""Crypto Pay (CryptoBot): invoices in fiat RUB, signed webhooks. Amounts are decimal strings, never floats.

The two calls needed are written by hand: the libraries turn amounts into floats or block in their constructors.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lib.domain.settlement import Event, Money
from lib.payments.provider import Invoice, InvoiceOver, ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import httpx

    from lib.domain.orders import Order
    from lib.settings.plain import CryptoPaySettings

NAME = "cryptobot"
EXPIRED = "expired"
# What an amount can be; beyond it a string of a few characters would stand for megabytes of digits.
_MIN, _MAX, _MOST_DIGITS = Decimal(0), Decimal(10) ** 15, 20
PAGE = 1000
"""How many invoices one `getInvoices` call may be asked about."""
_FIAT_DIGITS = 2  # of every fiat currency that Crypto Pay offers
_ID_LIMIT = 2**63


class UnreadableEvent(Exception):
    """Genuine, but not JSON, not UTF-8 or without its id: answered 400."""


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
    """The event of a webhook whose signature was right.

    What it says but we do not know (another kind, an unknown field) still makes an event, without money: it is
    recorded and answered 200.

    Raises:
        UnreadableEvent: not JSON, not UTF-8, not an object, or without an id to record it under.
    """
    try:
        update = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UnreadableEvent("not JSON in UTF-8") from None
    if not isinstance(update, dict):
        raise UnreadableEvent("not an object")
    invoice = update.get("payload")
    if update.get("update_type") != "invoice_paid":
        if not _is_id(update.get("update_id")):
            raise UnreadableEvent("no update_id")
        # Crypto Pay's update_id is documented as not unique, so an unknown kind is told apart by its content.
        key = f"update:{update['update_id']}:{hashlib.sha256(body).hexdigest()[:16]}"
        return Event(NAME, key, body, "webhook", correlation_id, None, "unknown kind of update")
    if not isinstance(invoice, dict) or not _is_id(invoice.get("invoice_id")):
        raise UnreadableEvent("no invoice_id")
    return event_of(invoice, body, "webhook", correlation_id)


def event_of(invoice: dict[str, Any], body: bytes, via: str, correlation_id: str) -> Event:
    """The event of a paid invoice, the same whether a webhook or a listing brought it."""
    money, reason = _money(invoice)
    return Event(NAME, str(invoice["invoice_id"]), body, via, correlation_id, money, reason)


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _ID_LIMIT


def _money(invoice: dict[str, Any]) -> tuple[Money | None, str]:
    if invoice.get("status") != "paid":
        return None, "the invoice is not paid"
    currency = invoice.get("fiat") if invoice.get("currency_type") == "fiat" else invoice.get("asset")
    amount = _decimal(invoice.get("amount"))
    if not isinstance(currency, str) or amount is None:
        return None, "no amount or currency"
    minor = Fraction(amount) * 10**_FIAT_DIGITS
    if invoice.get("currency_type") != "fiat" or minor.denominator != 1:
        return None, "not an amount of fiat money that we ask for"
    return Money(
        amount=int(minor),
        currency=currency,
        invoice_id=str(invoice["invoice_id"]),
        purchase_id=_purchase_id(invoice.get("payload")),
        paid_asset=_code(invoice.get("paid_asset")),
        paid_amount=_number(invoice.get("paid_amount")),
        paid_rate=_number(invoice.get("paid_fiat_rate")),
        fee_asset=_code(invoice.get("fee_asset")),
        fee_amount=_number(invoice.get("fee_amount")),
    ), ""


def _decimal(value: object) -> Decimal | None:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    if not number.is_finite() or not _MIN < number < _MAX or number.as_tuple().exponent < -_MOST_DIGITS:  # type: ignore[operator] # finite: an int
        return None
    return number


def _number(value: object) -> str | None:
    number = _decimal(value)
    return None if number is None else format(number, "f")


def _code(value: object) -> str | None:
    fits = isinstance(value, str) and value.isascii() and value.isalnum() and value.isupper()
    return str(value) if fits and 2 <= len(str(value)) <= 12 else None  # noqa: PLR2004 -- the currencies table's own rule


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
                "amount": _decimal_string(order.price),
                "accepted_assets": ",".join(self._settings.assets),
                "description": description[:1024],
                "payload": str(order.purchase_id),
                "expires_in": self._invoice_seconds,
                "allow_comments": False,
            },
        )
        return _invoice(made)

    async def find(self, purchase_id: UUID, amount: int, currency: str) -> Invoice | None:
        """See `Provider.find`. The newest page is enough: an orphan is looked for within a day."""
        return matching(await self.listed(), purchase_id, amount, currency)

    async def paid_event(self, invoice_id: str, correlation_id: str, via: str) -> Event | None:
        """See `Provider.paid_event`."""
        for item in await self.invoices([invoice_id]):
            if str(item.get("invoice_id")) != invoice_id:
                continue
            if item.get("status") == "paid":
                return event_of(item, json.dumps(item).encode(), via, correlation_id)
            if item.get("status") == EXPIRED:
                raise InvoiceOver(invoice_id)
        return None

    async def delete_invoice(self, invoice_id: str) -> None:
        """See `Provider.delete_invoice`."""
        await self._call("deleteInvoice", {"invoice_id": int(invoice_id)})

    async def invoices(self, invoice_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Up to `PAGE` invoices in one call; deleted and unknown ones are absent.

        Raises:
            ProviderError: could not ask.
        """
        return _items(await self._call("getInvoices", {"invoice_ids": ",".join(invoice_ids), "count": PAGE}))

    async def listed(self) -> list[dict[str, Any]]:
        """The newest `PAGE` invoices, whoever they are for.

        Raises:
            ProviderError: could not ask.
        """
        return _items(await self._call("getInvoices", {"count": PAGE}))

    async def _call(self, method: str, parameters: dict[str, Any]) -> Any:
        import httpx  # noqa: PLC0415 -- loaded only when a call is made: the webhook's cold start makes none

        try:
            response = await self._client().post(
                f"{self._settings.api_base}/api/{method}",
                json=parameters,
                headers={"Crypto-Pay-API-Token": self._settings.tokens[0]},
                timeout=httpx.Timeout(10.0, connect=5.0),
            )
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderError(f"{method}: {type(error).__name__}") from None
        if not isinstance(answer, dict) or answer.get("ok") is not True:
            details = answer.get("error") if isinstance(answer, dict) else None
            name = details.get("name") if isinstance(details, dict) else None
            raise ProviderError(f"{method}: HTTP {response.status_code} {name or ''}".rstrip())
        return answer.get("result")


def matching(listed: list[dict[str, Any]], purchase_id: UUID, amount: int, currency: str) -> Invoice | None:
    """The listed invoice that carries our purchase id and the agreed amount; the id alone selects nothing."""
    for item in listed:
        if _purchase_id(item.get("payload")) == purchase_id and _agrees(item, amount, currency):
            return _invoice(item)
    return None


def _decimal_string(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"


def _agrees(item: dict[str, Any], amount: int, currency: str) -> bool:
    asked = _decimal(item.get("amount"))
    return item.get("fiat") == currency and asked is not None and Fraction(asked) * 10**_FIAT_DIGITS == amount


def _items(result: Any) -> list[dict[str, Any]]:
    items = result.get("items") if isinstance(result, dict) else None
    if not isinstance(items, list):
        raise ProviderError("getInvoices: unreadable answer")
    return [item for item in items if isinstance(item, dict)]


def _invoice(made: Any) -> Invoice:
    url = made.get("bot_invoice_url") if isinstance(made, dict) else None
    if not isinstance(made, dict) or not _is_id(made.get("invoice_id")) or not isinstance(url, str):
        raise ProviderError("createInvoice: unreadable answer")
    return Invoice(str(made["invoice_id"]), url)
