"""Where customers pay, one for each provider: what the contract needs of its other side."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from lib.payments import cryptopay, synthetic
from lib.payments.provider import Invoice
from sandbox import cryptopay as cryptopay_stand_in
from sandbox.stand_in.clock import Clock
from tests.integration.payments import sample
from tests.integration.payments.sample_stand_in import SampleStandIn

if TYPE_CHECKING:
    from lib.domain.orders import Order
    from lib.domain.settlement import Event
    from lib.payments.provider import GivesBack, Invoices, Provider, ProviderAccount

TOKEN = "1:contract-token"


@dataclass(frozen=True)
class Paid:
    """One charge, as the provider tells of it by itself."""

    told: Event
    invoice_id: str


class Till(Protocol):
    """One provider and its other side.

    Attributes:
        invoices: None when it has none to ask about.
        giver: None when it gives nothing back.
        account: None when it tells of none.
    """

    provider: Provider
    invoices: Invoices | None
    giver: GivesBack | None
    account: ProviderAccount | None

    async def invoice(self, order: Order) -> Invoice:
        """What is to be paid, made at the provider for this order."""

    async def pay(self, invoice: Invoice, order: Order) -> Paid:
        """One charge of exactly what the invoice asks for."""

    async def expire(self, invoice: Invoice) -> None:
        """The provider takes no more money for it."""

    def break_down(self) -> None:
        """From now on every call fails."""

    async def close(self) -> None:
        """Let go of what it holds."""


class CryptoPayTill:
    """Over the sandbox's stand-in."""

    def __init__(self, environment: Any) -> None:
        self.stand_in = cryptopay_stand_in.CryptoPay([TOKEN], clock=Clock())
        self.stand_in.public_url = "http://127.0.0.1"
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.stand_in.app))
        environment.setenv("CRYPTOPAY_TOKEN", TOKEN)
        environment.setenv("CRYPTOPAY_API_BASE", "http://127.0.0.1")
        self.provider: Provider = cryptopay
        self.invoices: Invoices | None = cryptopay.connect(lambda: self.client)
        self.giver: GivesBack | None = self.provider.gives_back(lambda: self.client)
        self.account: ProviderAccount | None = cryptopay.account(lambda: self.client)

    async def invoice(self, order: Order) -> Invoice:
        assert self.invoices is not None
        return await self.invoices.make(order, "Basic")

    async def pay(self, invoice: Invoice, _order: Order) -> Paid:
        await self.stand_in.pay(int(invoice.invoice_id), webhook=False)
        body = self.stand_in.webhook_body(int(invoice.invoice_id))
        return Paid(cryptopay.read_webhook(body, "told"), invoice.invoice_id)

    async def expire(self, invoice: Invoice) -> None:
        await self.stand_in.expire(int(invoice.invoice_id))

    def break_down(self) -> None:
        self.stand_in.suspended = True

    async def close(self) -> None:
        await self.client.aclose()
        await self.stand_in.stop()


class SampleTill:
    """The provider that is in these tests alone."""

    def __init__(self, _environment: Any) -> None:
        self.stand_in = SampleStandIn()
        self.provider: Provider = sample
        self.invoices: Invoices | None = sample.connect(lambda: self.stand_in.client)
        self.giver: GivesBack | None = sample.gives_back(lambda: self.stand_in.client)
        self.account: ProviderAccount | None = sample.account(lambda: self.stand_in.client)

    async def invoice(self, order: Order) -> Invoice:
        assert self.invoices is not None
        return await self.invoices.make(order, "Basic")

    async def pay(self, invoice: Invoice, _order: Order) -> Paid:
        charge = self.stand_in.pay(invoice.invoice_id)
        body = json.dumps(charge).encode()
        return Paid(sample.event_of(charge, body, "webhook", "told"), invoice.invoice_id)

    async def expire(self, invoice: Invoice) -> None:
        self.stand_in.expire(invoice.invoice_id)

    def break_down(self) -> None:
        self.stand_in.down = True

    async def close(self) -> None:
        await self.stand_in.client.aclose()


class TestTill:
    """A command says that money came; there is nothing to ask."""

    __test__ = False

    def __init__(self, _environment: Any) -> None:
        self.provider: Provider = synthetic
        self.invoices: Invoices | None = self.provider.connect(httpx.AsyncClient)
        self.giver: GivesBack | None = self.provider.gives_back(httpx.AsyncClient)
        self.account: ProviderAccount | None = self.provider.account(httpx.AsyncClient)
        self._numbers = itertools.count(1)

    async def invoice(self, _order: Order) -> Invoice:
        return Invoice(f"charge-{next(self._numbers)}", "")

    async def pay(self, invoice: Invoice, order: Order) -> Paid:
        told = synthetic.charge(
            invoice.invoice_id,
            purchase_id=order.purchase_id,
            amount=order.price,
            currency=order.currency,
            correlation_id="told",
        )
        return Paid(told, invoice.invoice_id)

    async def expire(self, _invoice: Invoice) -> None:
        """It never does."""

    def break_down(self) -> None:
        """Nothing is called."""

    async def close(self) -> None:
        """It holds nothing."""
