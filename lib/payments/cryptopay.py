"""Crypto Pay (CryptoBot): invoices in fiat RUB. What it says of them is read by `cryptopay_news`. Amounts are decimal strings, never floats.

The two calls needed are written by hand: the libraries turn amounts into floats or block in their constructors.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lib import currencies, json_reader
from lib.domain.settlement import Event
from lib.payments import cryptopay_news
from lib.payments.cryptopay_news import (
    ACTIVE,
    EXPIRED,
    PAID,
    decimal,
    event_of,
    invoice_id_of,
    minor_units,
    purchase_id_of,
    read_webhook,
)
from lib.payments.provider import Invoice, Looked, PaidPage, ProviderError, Unpaid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    import httpx

    from lib.domain.inbox import StoredEvent
    from lib.domain.orders import Order
    from lib.payments.cryptopay_account import CryptoPayAccount
    from lib.settings.plain import CryptoPaySettings

NAME = cryptopay_news.NAME
PAGE = 1000
"""How many invoices one `getInvoices` call may be asked about."""
OVERLAP = 50
"""The next page begins so many before the last one's end: what is made or paid meanwhile moves the others."""
_MOST_PAGES = 10
_ERROR_NAME = re.compile(r"[A-Za-z0-9_]{1,100}", re.ASCII)
_MOST_BYTES = 16 * 1024 * 1024
"""An answer about a thousand invoices is a tenth of it."""


def read(stored: StoredEvent) -> Event:
    """See `Provider.read`: of a webhook the whole body was kept, of a listing the one invoice."""
    if stored.via == "webhook":
        return read_webhook(stored.body, stored.correlation_id)
    try:
        invoice = json_reader.read_object(stored.body, exact=True)
    except json_reader.UnreadableJson as error:
        return Event(
            NAME, stored.external_id, stored.body, stored.via, stored.correlation_id, None, str(error), kind=stored.kind
        )
    return event_of(invoice, stored.body, stored.via, stored.correlation_id)


def connect(http: Callable[[], httpx.AsyncClient]) -> CryptoPay | None:
    """See `Provider.connect`."""
    from lib.settings import plain, pricelist  # noqa: PLC0415 -- only where invoices are made: the webhook makes none

    settings = plain.cryptopay()
    if not settings.tokens:
        return None
    return CryptoPay(http, settings, invoice_seconds=pricelist.load().order_minutes * 60)


def gives_back(_http: Callable[[], httpx.AsyncClient]) -> None:
    """See `Provider.gives_back`: Crypto Pay has no refunds, so they go to the balance or are paid by hand."""


def account(http: Callable[[], httpx.AsyncClient]) -> CryptoPayAccount | None:
    """See `Provider.account`."""
    from lib.payments.cryptopay_account import CryptoPayAccount  # noqa: PLC0415 -- only where it is compared: no public function does

    made = connect(http)
    return None if made is None else CryptoPayAccount(made)


class CryptoPay:
    """The API client. Every call is bounded; a token never gets into an error's text.

    `client` gives the HTTP client when the first call is made: most updates of the bot make none.
    """

    def __init__(
        self, client: Callable[[], httpx.AsyncClient], settings: CryptoPaySettings, *, invoice_seconds: int
    ) -> None:
        self._client = client
        self._settings = settings
        self._invoice_seconds = invoice_seconds

    @property
    def name(self) -> str:
        """See `Invoices`."""
        return NAME

    @property
    def label(self) -> str:
        """See `Invoices`."""
        return "CryptoBot"

    @property
    def page(self) -> int:
        """See `Invoices`."""
        return PAGE

    @property
    def stride(self) -> int:
        """See `Invoices`."""
        return PAGE - OVERLAP

    @property
    def asks_first(self) -> bool:
        """See `Invoices`."""
        return False

    async def make(self, order: Order, title: str) -> Invoice:
        """See `Invoices.make`. The invoice lives as long as the order."""
        made = await self._call(
            "createInvoice",
            {
                "currency_type": "fiat",
                "fiat": order.currency,
                "amount": _decimal_string(order.price, order.currency),
                "accepted_assets": ",".join(self._settings.assets),
                "description": title[:1024],
                "payload": str(order.purchase_id),
                "expires_in": self._invoice_seconds,
                "allow_comments": False,
            },
        )
        invoice = _invoice(made)
        if invoice is None:
            raise ProviderError("createInvoice: unreadable answer")
        return invoice

    async def unpaid(self) -> AsyncIterator[list[Unpaid]]:
        """See `Invoices.unpaid`: those of the last half hour, ten pages at most."""
        offset = 0
        for _ in range(_MOST_PAGES):
            listing = await self._in_status(ACTIVE, offset)
            yield [one for item in listing.items if (one := _unpaid(item)) is not None]
            if listing.longest <= OVERLAP:
                return
            offset = listing.following(offset)

    async def look(self, invoice_ids: Sequence[str]) -> Looked:
        """See `Invoices.look`. Deleted and unknown invoices are absent."""
        listing = await self._list({"invoice_ids": ",".join(invoice_ids), "count": PAGE})
        listed = _by_id(listing)
        paid = {key: item for key, item in listed.items() if item.get("status") == PAID}
        over = frozenset(key for key, item in listed.items() if item.get("status") == EXPIRED)
        return Looked(paid, over, frozenset(listed.keys() - paid.keys() - over), listing.complete)

    async def listed(self, start: int) -> PaidPage:
        """See `Invoices.listed`. In which order Crypto Pay lists is documented nowhere."""
        listing = await self._in_status(PAID, start)
        paid = {key: item for key, item in _by_id(listing).items() if item.get("status") == PAID}
        return PaidPage(paid, listing.following(start))

    def event(self, said: Mapping[str, Any], via: str, correlation_id: str) -> Event:
        """See `Invoices.event`. The body is the invoice as it was listed; exact numbers become text, which is read the same."""
        return event_of(said, json.dumps(said, default=str).encode(), via, correlation_id)

    async def withdraw(self, invoice_id: str) -> None:
        """See `Invoices.withdraw`."""
        await self._call("deleteInvoice", {"invoice_id": int(invoice_id)})

    async def paid_invoices(self, offset: int) -> Listing:
        """The invoices that were paid, from one place of the list on.

        Raises:
            ProviderError: could not ask.
        """
        return await self._in_status(PAID, offset)

    async def of_each_app(self, method: str, parameters: dict[str, Any] | None = None) -> list[list[Any]]:
        """What a method answers for each app whose tokens there are; two tokens of one app, while it is rotated, are asked as one.

        Raises:
            ProviderError: of an app no token was answered.
        """
        found: dict[str, list[Any]] = {}
        failed: dict[str, ProviderError] = {}
        for token in self._settings.tokens:
            app = token.partition(":")[0]
            if app in found:
                continue
            try:
                answer = await self._call(method, parameters or {}, token)
            except ProviderError as error:
                failed[app] = error
                continue
            found[app] = answer if isinstance(answer, list) else _items(answer, method)
        for app, refusal in failed.items():
            if app not in found:
                raise refusal
        return list(found.values())

    async def _in_status(self, status: str, offset: int) -> Listing:
        return await self._list({"status": status, "offset": offset, "count": PAGE})

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
        return offset + max(1, self.longest - OVERLAP)


def _by_id(listing: Listing) -> dict[str, dict[str, Any]]:
    return {key: item for item in listing.items if (key := invoice_id_of(item))}


def _unpaid(item: dict[str, Any]) -> Unpaid | None:
    """None when no order can be given it: no purchase of ours, no whole amount of fiat money, no address."""
    purchase_id, amount, currency = purchase_id_of(item.get("payload")), decimal(item.get("amount")), item.get("fiat")
    invoice = _invoice(item)
    if purchase_id is None or amount is None or invoice is None:
        return None
    if not isinstance(currency, str) or currency not in currencies.ALL:
        return None
    minor = minor_units(amount, currency)
    return Unpaid(purchase_id, int(minor), currency, invoice) if minor.denominator == 1 else None


def _decimal_string(minor: int, currency: str) -> str:
    return format(Decimal(minor).scaleb(-currencies.of(currency).price_digits), "f")


def _items(result: Any, method: str = "getInvoices") -> list[dict[str, Any]]:
    items = result.get("items") if isinstance(result, dict) else None
    if not isinstance(items, list):
        raise ProviderError(f"{method}: unreadable answer")
    return [item for item in items if isinstance(item, dict)]


def _invoice(made: Any) -> Invoice | None:
    """None when it has no id or no address that can be kept."""
    url = made.get("bot_invoice_url") if isinstance(made, dict) else None
    invoice_id = invoice_id_of(made) if isinstance(made, dict) else None
    if invoice_id is None or not isinstance(url, str) or not json_reader.is_storable(url):
        return None
    return Invoice(invoice_id, url)
