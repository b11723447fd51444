"""People with an order whose invoice is paid, and the signed webhook that Crypto Pay would send about it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import httpx

from lib.db import Database
from lib.domain import accounts, orders, pricing
from lib.domain.accounts import Person
from lib.domain.pricing import STARS
from lib.payments.cryptopay import NAME, CryptoPay
from lib.settings import pricelist
from lib.settings.plain import CryptoPaySettings
from sandbox.system.customer import Customer, urls_of

if TYPE_CHECKING:
    from lib.db import Transaction
    from sandbox.system.customer import Message
    from sandbox.system.system import System
    from sandbox.telegram import User

_FIRST_ID = 40_000_001
_TARIFF, _DAYS = "basic", 30


@dataclass(frozen=True, slots=True)
class Paid:
    """One new order of a new customer, paid at the provider, unknown to Atlas as yet."""

    user: User
    account_id: int
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Checkout:
    """What Telegram asks before it charges; `accepted`: the answer is to be yes, else any answer will do."""

    telegram_id: int
    currency: str
    amount: int
    payload: str
    accepted: bool


class Payers(Protocol):
    """Where a benchmark gets them from."""

    def telegram_id(self) -> int:
        """Of a person the bot does not know."""

    async def paid(self) -> Paid:
        """The next one."""

    async def checkout(self) -> Checkout:
        """Of another person."""


class Buyers:
    """Makes them by the code that the bot runs, without its dialogue: what is measured begins with the webhook."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._ids = itertools.count(_FIRST_ID)
        self.prices = pricelist.load()
        # whichever commit brought the schema
        self.db = Database(system.database.functions_url, connections=2, application="bench", needs=0)
        self._client = httpx.AsyncClient(trust_env=False)
        settings = CryptoPaySettings((system.cryptopay_token,), system.urls["cryptopay"], ("USDT",))
        self._provider = CryptoPay(lambda: self._client, settings, invoice_seconds=self.prices.order_minutes * 60)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()
        await self.db.close()

    def telegram_id(self) -> int:
        """Of a person the bot does not know."""
        return next(self._ids)

    async def checkout(self) -> Checkout:
        """Of a new customer's open order, paid by Stars: it is to be accepted.

        Raises:
            lib.db.DatabaseError: a part does not work.
        """
        telegram_id = self.telegram_id()
        order = await self.db.run(self._open, Person(telegram_id, "Anna", None, "en"), STARS)
        return Checkout(telegram_id, order.currency, order.price, str(order.purchase_id), accepted=True)

    async def paid(self) -> Paid:
        """The next one. They have started the bot, so their key can be delivered.

        Raises:
            lib.db.DatabaseError, lib.payments.provider.ProviderError: a part does not work.
        """
        user = self._system.telegram.user(self.telegram_id(), "Anna", language_code="en")
        user.account.started = True
        self._system.telegram.chats.save(user.account)
        order = await self.db.run(self._open, Person(user.id, user.account.first_name, None, "en"))
        invoice = await self._provider.make(order, "30 days")
        await self.db.run(orders.attach_invoice, order.id, invoice.invoice_id, invoice.url)
        return await _paid(self._system, user, order.account_id, int(invoice.invoice_id))

    def _open(self, tx: Transaction, person: Person, method: str = NAME) -> orders.Order:
        opened = orders.open_subscription(
            tx,
            accounts.meet(tx, person).id,
            tariff=_TARIFF,
            period_days=_DAYS,
            quote=pricing.price(
                self.prices,
                _TARIFF,
                _DAYS,
                customer=pricing.Customer(),
                promo=None,
                method=method,
                surface=pricing.Surface.CHAT,
            ).quote,
            provider=method,
            minutes=self.prices.order_minutes,
        )
        return opened.order


class ChatBuyers:
    """Makes them through the chat alone: whatever commit runs behind it, people press the same buttons."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._ids = itertools.count(_FIRST_ID)

    def telegram_id(self) -> int:
        """Of a person the bot does not know."""
        return next(self._ids)

    async def checkout(self) -> Checkout:
        """For nothing: earlier commits sell nothing by Stars, and answer all the same."""
        return Checkout(self.telegram_id(), "XTR", 1, "none", accepted=False)

    async def paid(self) -> Paid:
        """The next one.

        Raises:
            sandbox.system.customer.StepFailedError: the bot did not offer an invoice.
        """
        user = self._system.telegram.user(self.telegram_id(), "Anna", language_code="en")
        screen = await Customer(user).order(_TARIFF, _DAYS, _invoice_url)
        url = _invoice_url(screen)
        invoice = next(one for one in self._system.cryptopay.invoices.values() if one["bot_invoice_url"] == url)
        (account,) = await self._system.sql("select id from accounts where telegram_id = :id", id=user.id)
        return await _paid(self._system, user, account["id"], invoice["invoice_id"])


def _invoice_url(message: Message) -> str | None:
    return next((url for url in urls_of(message) if "/invoice/" in url), None)


async def _paid(system: System, user: User, account_id: int, invoice_id: int) -> Paid:
    await system.cryptopay.pay(invoice_id, webhook=False)
    body = system.cryptopay.webhook_body(invoice_id)
    headers = {"Content-Type": "application/json", "crypto-pay-api-signature": system.cryptopay.sign(body)}
    return Paid(user, account_id, body, headers)
