"""The service: invoices, calls, webhooks, and what a person or a test may make happen."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.cryptopay.arguments import ApiError
from sandbox.cryptopay.faults import Faults
from sandbox.cryptopay.invoices import Invoice, InvoiceError, iso
from sandbox.cryptopay.methods import Methods
from sandbox.cryptopay.rates import assets_of
from sandbox.cryptopay.store import Payment, Store
from sandbox.cryptopay.webhooks import RETRY_AFTER_S, Delivery, Webhooks, sign

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path
    from typing import Literal

    from sandbox.stand_in.clock import Clock

_CALLS_KEPT = 20_000
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-]+(?::[0-9]+)?")
_UNNAMED_PAYER = 1  # the Telegram id of a payer whom no caller named


@dataclass(slots=True)
class Call:
    """One API call as it came. `duration` is in real seconds and None while it hangs."""

    method: str
    params: dict[str, Any]
    at: datetime
    status: int | None = None
    error: str = ""
    duration: float | None = None


class CryptoPayService:
    """One app of Crypto Pay.

    `app` is to be served on loopback; `public_url` is where (it goes into the invoices' URLs), `webhook_url` is the application's.
    `methods` has the app's invoices, transfers and checks, `webhooks` what is on its way, `faults` what goes wrong.

    Args:
        tokens: what calls may authenticate with; the first one signs webhooks.
        clock: the sandbox's; expiry and retries follow it.
        network: whose app it is. A token of the other network is refused like any unknown one.
        store: SQLite file that keeps everything between runs; None keeps it in memory.
        retry_after: seconds between attempts of a webhook.
        webhook_timeout: real seconds that one attempt may take.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        clock: Clock,
        network: Literal["main", "test"] = "test",
        store: Path | None = None,
        retry_after: Sequence[float] = RETRY_AFTER_S,
        webhook_timeout: float = 10.0,
    ) -> None:
        if not tokens:
            raise ValueError("at least one token")
        self.tokens = tuple(tokens)
        self.clock = clock
        self.latency = 0.0
        self.calls: list[Call] = []
        self._framed_by: str | None = None
        self._store = Store(store)
        self.faults = Faults(self._store)
        app_id = self.tokens[0].partition(":")[0]
        self.methods = Methods(
            int(app_id) if app_id.isdigit() else 1, network, assets_of(network), clock=clock, store=self._store
        )
        self.webhooks = Webhooks(
            clock=clock,
            store=self._store,
            token=self.tokens[0],
            invoice=lambda invoice_id: self.invoice(invoice_id).shown(self.public_url),
            faults=self.faults,
            retry_after=retry_after,
            timeout=webhook_timeout,
        )

    # -- life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to deliver webhooks, those of a former run included."""
        await self.webhooks.start()

    async def stop(self) -> None:
        """End for good: release hanging calls, stop delivering, close the store."""
        self.faults.release()
        await self.webhooks.stop()
        self._store.close()

    async def idle(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - a bound is the point of it
        """Return when no webhook is under way or due now; TimeoutError after so many real seconds."""
        async with asyncio.timeout(timeout):
            await self.webhooks.idle()

    # -- for people and tests ------------------------------------------------------------------------------------------

    @property
    def public_url(self) -> str:
        """Where `app` is served, without a trailing slash."""
        return self.methods.public_url

    @public_url.setter
    def public_url(self, url: str) -> None:
        self.methods.public_url = url

    @property
    def framed_by(self) -> str | None:
        """The one origin whose pages may show these pages in a frame; None allows none.

        The frame must keep its origin: with a `sandbox` attribute it needs allow-same-origin and allow-forms, for a
        form of an opaque origin is turned away.
        """
        return self._framed_by

    @framed_by.setter
    def framed_by(self, origin: str | None) -> None:
        if origin is not None and not _ORIGIN.fullmatch(origin):  # it goes into a header
            raise ValueError("framed_by: an origin such as http://127.0.0.1:8080")
        self._framed_by = origin

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
    def suspended(self) -> bool:
        """Whether the account is suspended: every call is answered 423."""
        return bool(self._store.switch("suspended"))

    @suspended.setter
    def suspended(self, suspended: bool) -> None:
        self._store.turn("suspended", suspended)

    @property
    def invoices(self) -> dict[int, dict[str, Any]]:
        """The API's objects of all invoices that were not deleted, by id."""
        return {number: self.invoice(number).shown(self.public_url) for number in self.methods.invoices}

    def invoice(self, invoice_id: int) -> Invoice:
        """One invoice as it is now; KeyError when it is unknown or deleted."""
        return self.methods.invoice(invoice_id)

    def by_hash(self, wanted: str) -> Invoice | None:
        """The invoice that a page's address names."""
        for number, invoice in self.methods.invoices.items():
            if invoice.fields["hash"] == wanted:
                return self.invoice(number)
        return None

    def is_silent(self, invoice_id: int) -> bool:
        """Whether it was paid so that its webhook never comes."""
        payment = self.methods.payments.get(invoice_id)
        return payment is not None and payment.silent

    async def pay(
        self,
        invoice_id: int,
        asset: str = "USDT",
        *,
        webhook: bool = True,
        times_webhook: int = 1,
        webhook_delay: float = 0.0,
        lost_attempts: int = 0,
        payer: int = _UNNAMED_PAYER,
        anonymously: bool | None = None,
        comment: str | None = None,
        swap: bool = True,
        instead: tuple[str, str] | None = None,
    ) -> dict[str, Any]:
        """Pay an invoice and put its webhooks on their way (`idle` waits for them).

        Args:
            invoice_id: which.
            asset: what to pay with.
            webhook: False: it never comes.
            times_webhook: copies, at the same moment.
            webhook_delay: seconds of sandbox time before it is sent.
            lost_attempts: how many first attempts are lost on the way.
            payer: Telegram id; statistics count them.
            anonymously: whether the payer shows no name; None: if the invoice allows it.
            comment: the payer's.
            swap: whether a swap that the invoice asks for succeeds.
            instead: an amount and a fiat currency that are paid in place of those agreed.

        Raises:
            InvoiceError: unknown, deleted, expired, paid already, the asset is not accepted, it takes no comment or
                no anonymous payer, or `instead` is no fiat money.
        """
        invoice = self._known(invoice_id)
        if instead is not None:
            invoice = Invoice(invoice_id, dict(invoice.fields))  # what is refused below leaves it as it was
            invoice.ask_instead(*instead)
        invoice.pay(asset, self.clock.now(), anonymously=anonymously, comment=comment, swap=swap)
        payment = self.methods.payments[invoice_id] = Payment(payer, silent=not webhook)
        self._store.keep_payment(invoice_id, payment)
        self.methods.invoices[invoice_id] = invoice
        self._store.save(invoice)
        if webhook:
            self.webhooks.send(invoice_id, times_webhook, webhook_delay, lost_attempts)
        return invoice.shown(self.public_url)

    async def pay_again(self, invoice_id: int, asset: str = "USDT", *, webhook: bool = True) -> dict[str, Any]:
        """Pay for the same purchase once more, by a second invoice of it; that one is returned.

        Raises:
            InvoiceError: unknown, deleted, or the asset is not accepted.
        """
        second = self.methods.second_of(self._known(invoice_id))
        try:
            return await self.pay(second.invoice_id, asset, webhook=webhook)
        except InvoiceError:
            self.methods.forget(second)
            raise

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
        self.faults.fail_next(method, status, name, times, done=done)

    def hang_next(self, method: str, times: int = 1, *, done: bool = False) -> None:
        """The next calls of a method are not answered until `release` or `stop`; with `done` they take effect first."""
        self.faults.fail_next(method, 500, "APP_ERROR", times, done=done, hang=True)

    def release(self) -> None:
        """Answer the calls that hang (with an error)."""
        self.faults.release()

    async def activate_check(self, check_id: int, user_id: int = _UNNAMED_PAYER, username: str | None = None) -> None:
        """A user opens a check's link and gets its coins; InvoiceError when that is not possible."""
        self.methods.checks.activate(check_id, user_id, username, self.clock.now())

    def _known(self, invoice_id: int) -> Invoice:
        try:
            return self.invoice(invoice_id)
        except KeyError as error:
            raise InvoiceError(f"there is no invoice {invoice_id}") from error

    # -- the API -------------------------------------------------------------------------------------------------------

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
        if self.suspended:
            raise ApiError(423, "ACCOUNT_SUSPENDED")
        return await self.faults.meet(method, self.methods.named(method), asked)
