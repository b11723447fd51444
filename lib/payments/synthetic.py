"""Provider `test`: money that a command says came, for the purchase that proves a deploy. None of production's (`registry`).

It has no invoices and no page, so customers are never offered it; its clearing account holds nothing real.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lib import currencies, json_reader
from lib.domain.settlement import Event, Money
from lib.payments.provider import Answer, GivenBack

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from lib.db import Transaction
    from lib.domain.inbox import StoredEvent
    from lib.domain.pricelist import PriceList
    from lib.domain.refund_requests import Charge
    from lib.domain.settlement import Received

NAME = "test"
VIA = "command"
_SWEEP = "sweep"
_UNREADABLE = "not what the command writes"


def charge(charge_id: str, *, purchase_id: UUID, amount: int, currency: str, correlation_id: str) -> Event:
    """The news that so much came for a purchase; `amount` in minor units of prices. One charge id is one charge."""
    said = {"charge_id": charge_id, "purchase_id": str(purchase_id), "amount": amount, "currency": currency}
    return _event(json.dumps(said).encode(), charge_id, VIA, correlation_id)


class NotHere(Exception):
    """Nothing was bought: this database is production's, or another environment's than was meant, or lacks what was named."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """What a command buys.

    Attributes:
        environment: of the database that is meant.
        once: names this purchase: under one name there is one, however often it is asked for.
    """

    environment: str
    account_id: int
    tariff: str
    days: int
    once: str


def account_of(tx: Transaction, environment: str, telegram_id: int) -> int:
    """The account of a person; who never wrote to the bot is met as one who did.

    Raises:
        NotHere: nothing was changed.
    """
    from lib.domain import accounts  # noqa: PLC0415 -- a command's alone

    _belongs(tx, environment)
    known: int | None = tx.value("select id from accounts where telegram_id = :telegram_id", telegram_id=telegram_id)
    return known or accounts.meet(tx, accounts.Person(telegram_id, "Operator", None, None)).id


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a purchase has come.

    Attributes:
        nodes: how many take customers.
        applied: its access is where it belongs.
        given_back: its money, and its access with it.
    """

    nodes: int
    applied: bool
    given_back: bool


_PROGRESS = """
select (select count(*) from nodes where state = 'active') as nodes,
       exists (select from orders o join subscriptions s on s.account_id = o.account_id
               where o.id = e.order_id and s.activation_status <> 'pending') as applied,
       exists (select from refund_requests r where r.event_id = e.id and r.status = 'done') as given_back
from payment_events e where e.provider = :provider and e.kind = 'charge' and e.external_id = :once
"""


def progress(tx: Transaction, wanted: Purchase) -> Progress:
    """Of what was bought under that name."""
    return tx.one(Progress, _PROGRESS, provider=NAME, once=wanted.once)


def buy(tx: Transaction, wanted: Purchase, prices: PriceList) -> Received:
    """Order at list price and pay, as a customer and a provider would; the account's open order makes way.

    Raises:
        NotHere: nothing was changed.
    """
    from lib.domain import inbox, orders, pricing  # noqa: PLC0415 -- a command's alone; functions read what it left

    _belongs(tx, wanted.environment)
    if tx.value("select id from accounts where id = :id for no key update", id=wanted.account_id) is None:
        raise NotHere(f"there is no account {wanted.account_id}")
    try:
        offer = pricing.price(
            prices,
            wanted.tariff,
            wanted.days,
            customer=pricing.Customer(),
            promo=None,
            method=NAME,
            surface=pricing.Surface.CHAT,
        )
    except pricing.NotSold as error:
        raise NotHere(str(error)) from None
    before = tx.value(
        "select o.purchase_id from payment_events e join orders o on o.id = e.order_id"
        " where e.provider = :provider and e.kind = 'charge' and e.external_id = :once",
        provider=NAME,
        once=wanted.once,
    )
    purchase_id = (
        before
        or orders.open_subscription(
            tx,
            wanted.account_id,
            tariff=wanted.tariff,
            period_days=wanted.days,
            quote=offer.quote,
            provider=NAME,
            minutes=prices.order_minutes,
        ).order.purchase_id
    )
    told = charge(
        wanted.once,
        purchase_id=purchase_id,
        amount=offer.quote.price,
        currency=offer.quote.currency,
        correlation_id=f"test-purchase:{wanted.once}",
    )
    return inbox.receive(tx, told, prices)


def ask_back(tx: Transaction, wanted: Purchase, prices: PriceList) -> bool:
    """Ask for a purchase to be given back, its access with it; the payments sweep does. False when that was asked for before.

    Raises:
        NotHere: nothing was changed.
    """
    from lib.domain import refund_requests  # noqa: PLC0415 -- a command's alone

    _belongs(tx, wanted.environment)
    event_id = tx.value(
        "select id from payment_events where provider = :provider and kind = 'charge' and external_id = :once",
        provider=NAME,
        once=wanted.once,
    )
    if event_id is None:
        raise NotHere(f"nothing was bought under the name {wanted.once}")
    if tx.value(
        "select exists (select from refund_requests where event_id = :id and status <> 'refused')", id=event_id
    ):
        return False
    refund_requests.ask(
        tx,
        event_id,
        prices.currency,
        reverses_access=True,
        reason="the purchase that proved a release",
        correlation_id=f"test-purchase:{wanted.once}",
    )
    return True


def read(stored: StoredEvent) -> Event:
    """See `Provider.read`."""
    if stored.kind == "refund":
        return _refund(stored.body, stored.external_id, stored.via, stored.correlation_id)
    return _event(stored.body, stored.external_id, stored.via, stored.correlation_id)


def connect(_http: Callable[[], httpx.AsyncClient]) -> None:
    """See `Provider.connect`: there is nothing to ask."""


def gives_back(_http: Callable[[], httpx.AsyncClient]) -> GivesBack:
    """See `Provider.gives_back`."""
    return GivesBack()


class GivesBack:
    """Gives back what never came: whatever it is asked for has left, once, under an id made of the charge's."""

    async def give_back(self, charge: Charge, correlation_id: str) -> GivenBack:
        """See `GivesBack.give_back`."""
        said = {"refund_of": charge.charge_id, "amount": charge.amount, "currency": charge.currency}
        return GivenBack(Answer.DONE, _refund(json.dumps(said).encode(), charge.charge_id, _SWEEP, correlation_id))

    async def outcome(self, charge: Charge, correlation_id: str) -> GivenBack:
        """See `GivesBack.outcome`: it holds nothing, so to give back again moves nothing twice."""
        return await self.give_back(charge, correlation_id)


def _refund(body: bytes, charge_id: str, via: str, correlation_id: str) -> Event:
    try:
        said = json_reader.read_object(body)
    except json_reader.UnreadableJson as error:
        return Event(NAME, charge_id, body, via, correlation_id, None, str(error), kind="refund", charge_id=charge_id)
    amount, currency = json_reader.id_or_zero(said.get("amount")), said.get("currency")
    fits = said.get("refund_of") == charge_id and amount and isinstance(currency, str) and currency in currencies.ALL
    money = Money(amount, str(currency), "", None) if fits else None
    reason = "" if money else _UNREADABLE
    return Event(NAME, charge_id, body, via, correlation_id, money, reason, kind="refund", charge_id=charge_id)


def account(_http: Callable[[], httpx.AsyncClient]) -> None:
    """See `Provider.account`: what only pretends to take money has none."""


def _belongs(tx: Transaction, environment: str) -> None:
    held = tx.value("select environment from deployment")
    if held == "prod":
        raise NotHere("this database is production's: nothing but money buys anything there")
    if held != environment:
        raise NotHere(f"this database belongs to environment {held}, not {environment}")


def _event(body: bytes, charge_id: str, via: str, correlation_id: str) -> Event:
    try:
        money = _money(json_reader.read_object(body))
    except json_reader.UnreadableJson as error:
        return Event(NAME, charge_id, body, via, correlation_id, None, str(error))
    return Event(NAME, charge_id, body, via, correlation_id, money, "" if money else _UNREADABLE)


def _money(said: dict[str, Any]) -> Money | None:
    charge_id, amount, currency = (
        said.get("charge_id"),
        json_reader.id_or_zero(said.get("amount")),
        said.get("currency"),
    )
    if not isinstance(charge_id, str) or not amount or not isinstance(currency, str) or currency not in currencies.ALL:
        return None
    try:
        purchase_id = UUID(str(said.get("purchase_id")))
    except ValueError:
        return None
    return Money(amount, currency, charge_id, purchase_id)
