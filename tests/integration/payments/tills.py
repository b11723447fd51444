"""Where customers pay, one for each provider: what the contract needs of its other side."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from lib.payments import card, cryptopay, cryptopay_news, stars, synthetic, telegram_charges
from lib.payments.bot_api import BotApi
from lib.payments.provider import Invoice
from lib.settings import plain
from sandbox import cryptopay as cryptopay_stand_in
from sandbox.stand_in.clock import Clock
from sandbox.telegram import Telegram
from tests.integration.payments import sample
from tests.integration.payments.sample_stand_in import SampleStandIn
from tests.waiting import until

if TYPE_CHECKING:
    from lib.domain.orders import Order
    from lib.domain.settlement import Event
    from lib.payments.provider import GivesBack, Invoices, Provider, ProviderAccount

TOKEN = "1:contract-token"
_BOT, _CARD = "42:contract-token", "2:LIVE:contract-card"


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
        return Paid(cryptopay_news.read_webhook(body, "told"), invoice.invoice_id)

    async def expire(self, invoice: Invoice) -> None:
        await self.stand_in.expire(int(invoice.invoice_id))

    def break_down(self) -> None:
        self.stand_in.suspended = True

    async def close(self) -> None:
        await self.client.aclose()
        await self.stand_in.stop()


class StarsTill:
    """Over the sandbox's Telegram: people pay in its app, and its updates stay where a webhook would fetch them."""

    def __init__(self, environment: Any) -> None:
        self._seen: set[int] = set()
        self.stand_in = Telegram(_BOT, "atlas_bot", Clock(), provider_tokens=[_CARD])
        self.stand_in.limits = None
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.stand_in.app))
        environment.setenv("TELEGRAM_BOT_TOKEN", _BOT)
        environment.setenv("TELEGRAM_API_BASE", "http://127.0.0.1")
        plain.telegram.cache_clear()
        self.provider: Provider = stars
        self.invoices: Invoices | None = stars.connect(lambda: self.client)
        self.giver: GivesBack | None = stars.gives_back(lambda: self.client)
        self.account: ProviderAccount | None = stars.account(lambda: self.client)

    async def invoice(self, order: Order) -> Invoice:
        api = BotApi(lambda: self.client, plain.telegram())
        return await api.invoice_link(order, "Basic", "" if order.currency == stars.STAR else _CARD)

    async def pay(self, invoice: Invoice, _order: Order | None) -> Paid:
        """By the first customer, for any order; the bot says yes."""
        anna = self.stand_in.user(1)
        anna.account.stars = 10**6
        paying = asyncio.create_task(anna.pay_link(invoice.url))
        (asked,) = await until(lambda: self._updates("pre_checkout_query"))
        answer = {"pre_checkout_query_id": asked["pre_checkout_query"]["id"], "ok": True}
        await self.client.post(f"http://127.0.0.1/bot{_BOT}/answerPreCheckoutQuery", json=answer)
        payment = await paying
        assert payment.status == "paid", payment
        update = self._updates("message")[-1]
        self._seen = {one.update_id for one in self.stand_in.pending}
        told = telegram_charges.read_update(update, json.dumps(update).encode(), "told")
        assert told is not None
        return Paid(told, invoice.invoice_id)

    def _updates(self, kind: str) -> list[dict[str, Any]]:
        """Those that came since the last payment."""
        return [one.body for one in self.stand_in.pending if kind in one.body and one.update_id not in self._seen]

    async def stand_in_balance(self) -> int:
        """What the bot holds, in nanostars."""
        connected = stars.connect(lambda: self.client)
        assert connected is not None
        return await connected.balance()

    async def expire(self, _invoice: Invoice) -> None:
        """A link never does."""

    def break_down(self) -> None:
        self.stand_in.fail_next("*", 500, "Internal Server Error", times=100)

    async def close(self) -> None:
        await self.client.aclose()
        self.stand_in.close()
        plain.telegram.cache_clear()


class CardTill(StarsTill):
    """Over the same Telegram, by the token of a payment provider."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        environment.setenv("TELEGRAM_PROVIDER_TOKEN", _CARD)
        environment.setenv("CARD_RECEIPT", "vat_code=1,tax_system_code=2")
        plain.card.cache_clear()
        self.provider = card
        self.invoices = card.connect(lambda: self.client)
        self.giver = self.provider.gives_back(lambda: self.client)
        self.account = self.provider.account(lambda: self.client)

    async def close(self) -> None:
        await super().close()
        plain.card.cache_clear()


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
