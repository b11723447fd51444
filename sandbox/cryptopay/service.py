"""The service: invoices, calls, webhooks, and what a person or a test may make happen."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware

from sandbox.cryptopay.api import api_routes
from sandbox.cryptopay.invoices import ApiError, Invoice, InvoiceError, find_invoices, iso, new_invoice, wanted_id
from sandbox.cryptopay.pages import page_routes
from sandbox.cryptopay.rates import ASSETS, currencies, exchange_rates, text_of
from sandbox.cryptopay.store import Store, balances
from sandbox.cryptopay.webhooks import RETRY_AFTER_S, Delivery, Webhooks, sign
from sandbox.loopback import LoopbackOnly

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from sandbox.clock import Clock

_CALLS_KEPT = 20_000
# Exist in the real service, switched off for an app until its owner allows them.
_DISABLED = frozenset({"transfer", "getTransfers", "createCheck", "deleteCheck", "getChecks", "getStats"})


@dataclass(slots=True)
class Call:
    """One API call as it came. `duration` is in real seconds and None while it hangs."""

    method: str
    params: dict[str, Any]
    at: datetime
    status: int | None = None
    error: str = ""
    duration: float | None = None


@dataclass(slots=True)
class Fault:
    """What the next call of a method meets."""

    status: int
    name: str
    hang: bool
    done: bool  # the call takes effect before it fails


class CryptoPay:
    """One app of Crypto Pay.

    `app` is to be served on loopback; `public_url` is where (it goes into the invoices' URLs), `webhook_url` is the application's.

    Args:
        tokens: what calls may authenticate with; the first one signs webhooks.
        clock: the sandbox's; expiry and retries follow it.
        store: SQLite file that keeps invoices and undelivered webhooks between runs; None keeps them in memory.
        retry_after: seconds between attempts of a webhook.
        webhook_timeout: real seconds that one attempt may take.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        clock: Clock,
        store: Path | None = None,
        retry_after: Sequence[float] = RETRY_AFTER_S,
        webhook_timeout: float = 10.0,
    ) -> None:
        if not tokens:
            raise ValueError("at least one token")
        self.tokens = tuple(tokens)
        self.clock = clock
        self.public_url = "http://127.0.0.1"
        self.latency = 0.0
        self.calls: list[Call] = []
        self._store = Store(store)
        self._invoices = self._store.invoices()
        self._last_id = self._store.last_id()
        self._faults: dict[str, deque[Fault]] = {}
        self._released = asyncio.Event()
        self.webhooks = Webhooks(
            clock=clock,
            store=self._store,
            token=self.tokens[0],
            invoice=lambda invoice_id: self.invoice(invoice_id).shown(self.public_url),
            retry_after=retry_after,
            timeout=webhook_timeout,
        )
        self._methods: dict[str, Callable[[dict[str, Any]], Any]] = {
            "getMe": self._get_me,
            "createInvoice": self._create_invoice,
            "getInvoices": self._get_invoices,
            "deleteInvoice": self._delete_invoice,
            "getBalance": self._get_balance,
            "getExchangeRates": lambda _asked: exchange_rates(),
            "getCurrencies": lambda _asked: currencies(),
        }
        routes = [*api_routes(self), *page_routes(self)]
        self.app = Starlette(routes=routes, middleware=[Middleware(LoopbackOnly)])

    # -- life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to deliver webhooks, those of a former run included."""
        await self.webhooks.start()

    async def stop(self) -> None:
        """End for good: release hanging calls, stop delivering, close the store."""
        self._released.set()
        await self.webhooks.stop()
        self._store.close()

    async def idle(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - a bound is the point of it
        """Return when no webhook is under way or due now; TimeoutError after so many real seconds."""
        async with asyncio.timeout(timeout):
            await self.webhooks.idle()

    # -- for people and tests ------------------------------------------------------------------------------------------

    @property
    def webhook_url(self) -> str | None:
        """Where webhooks go; None sends none."""
        return self.webhooks.url

    @webhook_url.setter
    def webhook_url(self, url: str | None) -> None:
        self.webhooks.url = url

    @property
    def deliveries(self) -> list[Delivery]:
        """Attempts to deliver webhooks, oldest first."""
        return self.webhooks.deliveries

    @property
    def invoices(self) -> dict[int, dict[str, Any]]:
        """The API's objects of all invoices that were not deleted, by id."""
        return {number: self.invoice(number).shown(self.public_url) for number in self._invoices}

    def invoice(self, invoice_id: int) -> Invoice:
        """One invoice as it is now; KeyError when it is unknown or deleted."""
        invoice = self._invoices[invoice_id]
        if invoice.settle_expiry(self.clock.now()):
            self._store.save(invoice)
        return invoice

    def by_hash(self, wanted: str) -> Invoice | None:
        """The invoice that a page's address names."""
        for number, invoice in self._invoices.items():
            if invoice.fields["hash"] == wanted:
                return self.invoice(number)
        return None

    async def pay(
        self,
        invoice_id: int,
        asset: str = "USDT",
        *,
        webhook: bool = True,
        times_webhook: int = 1,
        webhook_delay: float = 0.0,
        anonymously: bool = True,
        comment: str | None = None,
    ) -> dict[str, Any]:
        """Pay an invoice and put its webhooks on their way (`idle` waits for them).

        Args:
            invoice_id: which.
            asset: what to pay with.
            webhook: False: it never comes.
            times_webhook: copies, at the same moment.
            webhook_delay: seconds of sandbox time before it is sent.
            anonymously: whether the payer shows no name.
            comment: the payer's.

        Raises:
            InvoiceError: unknown, deleted, expired, paid already, or the asset is not accepted.
        """
        invoice = self._known(invoice_id)
        invoice.pay(asset, self.clock.now(), anonymously=anonymously, comment=comment)
        self._store.save(invoice)
        if webhook:
            self.webhooks.send(invoice_id, times_webhook, webhook_delay)
        return invoice.shown(self.public_url)

    async def expire(self, invoice_id: int) -> dict[str, Any]:
        """Let an active invoice expire now; InvoiceError when it isn't active."""
        invoice = self._known(invoice_id)
        if invoice.status != "active":
            raise InvoiceError(f"invoice {invoice_id} is {invoice.status}")
        invoice.fields |= {"status": "expired", "expiration_date": iso(self.clock.now())}
        self._store.save(invoice)
        return invoice.shown(self.public_url)

    def sign(self, body: bytes, token: str | None = None) -> str:
        """The signature header's value for a body."""
        return sign(body, token or self.tokens[0])

    def webhook_body(self, invoice_id: int) -> bytes:
        """The raw body of an invoice's webhook as it would be sent now."""
        self._known(invoice_id)
        return self.webhooks.body(invoice_id)

    async def send_webhook(self, invoice_id: int, *, copies: int = 1, parallel: bool = False) -> list[Delivery]:
        """Send an invoice's webhook again and wait for the first attempt of each copy; failed ones are retried later."""
        self._known(invoice_id)
        if parallel:
            made = self.webhooks.send(invoice_id, copies)
            done = await asyncio.gather(*(self.webhooks.first_attempt(pending) for pending in made))
        else:
            done = []
            for _ in range(copies):
                for pending in self.webhooks.send(invoice_id, 1):
                    done.append(await self.webhooks.first_attempt(pending))
        return [delivery for delivery in done if delivery is not None]

    def fail_next(
        self, method: str, status: int = 500, name: str = "APP_ERROR", times: int = 1, *, done: bool = False
    ) -> None:
        """The next calls of a method fail; with `done` they take effect first (an unclear outcome)."""
        self._faults.setdefault(method, deque()).extend([Fault(status, name, hang=False, done=done)] * times)

    def hang_next(self, method: str, times: int = 1, *, done: bool = False) -> None:
        """The next calls of a method are not answered until `release` or `stop`; with `done` they take effect first."""
        self._faults.setdefault(method, deque()).extend([Fault(500, "APP_ERROR", hang=True, done=done)] * times)

    def release(self) -> None:
        """Answer the calls that hang (with an error)."""
        self._released.set()
        self._released = asyncio.Event()

    def _known(self, invoice_id: int) -> Invoice:
        try:
            return self.invoice(invoice_id)
        except KeyError as error:
            raise InvoiceError(f"there is no invoice {invoice_id}") from error

    # -- API methods ---------------------------------------------------------------------------------------------------

    def begin(self, method: str, params: dict[str, Any]) -> Call:
        """Record a call."""
        call = Call(method, params, self.clock.now())
        self.calls.append(call)
        if len(self.calls) > _CALLS_KEPT:
            del self.calls[: _CALLS_KEPT // 4]
        return call

    async def call(self, method: str, asked: dict[str, Any]) -> Any:
        """Result of an API method.

        Raises:
            ApiError: what the API answers instead.
        """
        if self.latency > 0:
            await asyncio.sleep(self.latency)
        known = self._methods.get(method)
        if known is None:
            raise ApiError(403, "METHOD_DISABLED") if method in _DISABLED else ApiError(405, "METHOD_NOT_FOUND")
        faults = self._faults.get(method)
        if not faults:
            return known(asked)
        fault = faults.popleft()
        if fault.done:
            known(asked)
        if fault.hang:
            released = self._released
            await released.wait()
        raise ApiError(fault.status, fault.name)

    def _get_me(self, _asked: dict[str, Any]) -> Any:
        app_id = self.tokens[0].partition(":")[0]
        return {
            "app_id": int(app_id) if app_id.isdigit() else 1,
            "name": "Sandbox",
            "payment_processing_bot_username": "CryptoTestnetBot",
        }

    def _create_invoice(self, asked: dict[str, Any]) -> Any:
        invoice = new_invoice(self._last_id + 1, asked, self.clock.now())
        self._last_id += 1
        self._invoices[invoice.invoice_id] = invoice
        self._store.save(invoice)
        return invoice.shown(self.public_url)

    def _get_invoices(self, asked: dict[str, Any]) -> Any:
        current = [self.invoice(number) for number in self._invoices]
        return {"items": [invoice.shown(self.public_url) for invoice in find_invoices(current, asked)]}

    def _delete_invoice(self, asked: dict[str, Any]) -> Any:
        invoice_id = wanted_id(asked)
        if invoice_id not in self._invoices:
            raise ApiError(400, "INVOICE_NOT_FOUND")
        if self.invoice(invoice_id).status == "paid":
            raise ApiError(400, "INVOICE_ALREADY_PAID")
        del self._invoices[invoice_id]
        self._store.delete(invoice_id)
        return True

    def _get_balance(self, _asked: dict[str, Any]) -> Any:
        total = balances(self._invoices)
        return [
            {"currency_code": asset, "available": text_of(total[asset]) if asset in total else "0", "onhold": "0"}
            for asset in ASSETS
        ]
