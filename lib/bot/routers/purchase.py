"""Buying: tariff, period, confirm, invoice, order status (product.md#payment-methods).

The dialogue's place is in Postgres, and its buttons carry the version of that place. A button of another version shows
where the dialogue is now. An order is two idempotent steps with the provider's call between them (docs/architecture.md, rule 3).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiogram import F, Router
from aiogram.filters import Command

from lib import failpoints, log
from lib.bot import buy_dialogue, order_screen
from lib.bot.buy_dialogue import BUY_CONFIRM, BUY_ORDER, begin, confirm_again, pick_period, pick_tariff, show_state
from lib.bot.callbacks import CheckOrder, Go, Pay, PickPeriod, PickTariff, Place
from lib.bot.screen import Rendered
from lib.bot.update_context import ExternalCall, UpdateRunner
from lib.domain import balance, chat_state, consents, inbox, orders, updates
from lib.domain.balance import Purchase
from lib.domain.ledger import BalanceTooLow
from lib.domain.pricelist import UnknownTariff
from lib.payments import provider
from lib.payments.provider import Invoice, InvoiceOver, Invoices, ProviderError
from lib.payments.reporting import report

if TYPE_CHECKING:
    from uuid import UUID

    from aiogram.types import CallbackQuery, Message

    from lib.bot.screen import Screen
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.chat_state import ChatState
    from lib.domain.orders import Opened, Order, Replaced
    from lib.domain.outbox import Item
    from lib.domain.settlement import Event

router = Router(name="purchase")

_ASK_S = 3.0
"""How long a customer who pressed "check" waits for the provider; the webhook and the sweep ask as well."""
_WITHDRAW_S = 2.0


@dataclass(frozen=True, slots=True)
class MakeInvoice(ExternalCall):
    """The order is ours to get an invoice for.

    Attributes:
        asked_before: one may exist already whose creation had no known outcome.
        version: of the dialogue that led here, or None when it was an order's own button.
        description: what the provider's page says is bought.
    """

    order: Order
    claim: UUID
    asked_before: bool
    replaced: tuple[Replaced, ...]
    version: int | None
    description: str


@dataclass(frozen=True, slots=True)
class AskProvider(ExternalCall):
    """Was this one paid?"""

    order: Order


@dataclass(frozen=True, slots=True)
class Withdraw(ExternalCall):
    """An order is paid, and others that made way for it have invoices that could still be paid."""

    order_id: int
    replaced: tuple[Replaced, ...]
    follow_up: tuple[Item, ...]


# Actions ---------------------------------------------------------------------------------------------------------


def open_order(
    tx: Transaction, context: UpdateContext, method: str, version: int
) -> Screen | Rendered | MakeInvoice | Withdraw:
    """Consent, and the account's one open order for exactly what the confirm screen showed."""
    account_id = context.account.id
    state = chat_state.read(tx, account_id)
    if state.version != version or state.state != BUY_CONFIRM:
        return stale(tx, context, state, version)
    tariff, days = str(state.data.get("tariff")), int(state.data.get("days", 0))
    offers = buy_dialogue.offers(context, tariff, days)
    if not offers:
        return begin(tx, context, "toast-stale")
    offered = offers.get(method)
    if offered is None or not offered.is_payable or not order_screen.takes_orders(tx, context):
        return _not_offered(tx, context, state)
    quote = offered.quote
    if not buy_dialogue.agreed(state, method, quote) or not order_screen.terms_shown(state):
        changed = "toast-price-changed" if order_screen.terms_shown(state) else "toast-terms-changed"
        return confirm_again(tx, context, state, changed)
    consents.answer(tx, context.account.telegram_id, consents.Kind.TERMS, accepted=True)
    if method == balance.PROVIDER:
        return _pay_from_balance(
            tx, context, state, Purchase(account_id, f"buy:{account_id}:{version}", tariff, days, quote)
        )
    opened = orders.open_subscription(
        tx,
        account_id,
        tariff=tariff,
        period_days=days,
        quote=quote,
        provider=method,
        minutes=context.prices.order_minutes,
    )
    return call_or_screen(tx, context, opened, version)


def stale(tx: Transaction, context: UpdateContext, state: ChatState, version: int) -> Screen | MakeInvoice:
    """A button to pay of another place than the dialogue's: of version `version`, for access or for the balance alike.

    Raises:
        NotYet: an earlier attempt at this update may be making the order's invoice.
    """
    # the second tap of two finds the order that the first one opened: nothing was wrong with the button
    second_tap = state.state == BUY_ORDER and state.version == version + 1
    if second_tap and (order := _without_invoice(tx, context, state)) is not None:
        return _resume(tx, context, order)
    return show_state(tx, context, state, "" if second_tap else "toast-stale")


def _pay_from_balance(
    tx: Transaction, context: UpdateContext, state: ChatState, purchase: Purchase
) -> Screen | Rendered | Withdraw:
    """Bought in this very transaction; the key is the step of the dialogue, so a second tap finds what the first one bought."""
    try:
        with tx.savepoint("purchase"):
            bought = balance.buy(tx, purchase, context.prices, context.correlation_id)
    except BalanceTooLow:
        return confirm_again(tx, context, state, "toast-balance-low")
    except UnknownTariff:
        return order_screen.unavailable(context)
    _move_on(tx, context, state.version, bought.order)
    if bought.replaced:
        return Withdraw(bought.order.id, bought.replaced, bought.follow_up)
    return Rendered(order_screen.show(tx, context, bought.order, "toast-paid"), bought.follow_up)


def _not_offered(tx: Transaction, context: UpdateContext, state: ChatState) -> Screen:
    """Nothing is sold now, or not by the method of that button: what is offered is shown."""
    if not buy_dialogue.can_order(tx, context):
        return order_screen.unavailable(context)
    return show_state(tx, context, state, "toast-stale")


def _without_invoice(tx: Transaction, context: UpdateContext, state: ChatState) -> Order | None:
    """The dialogue's order when its invoice is still to be made: this update's own first step, or the first of two taps, died."""
    order = orders.of_account(tx, context.account.id, int(state.data.get("order", 0)))
    return order if order is not None and order.invoice_id is None and order_screen.is_live(tx, order) else None


def call_or_screen(
    tx: Transaction, context: UpdateContext, opened: Opened, version: int | None
) -> Screen | MakeInvoice:
    """The order's invoice is to be made, or is shown; the dialogue stands at the order from now on."""
    if opened.claim is not None:
        order = opened.order
        if version is not None:
            # Already now: the same tap again finds this order, whatever becomes of it.
            _move_on(tx, context, version, order)
        description = context.texts.plain("invoice", what=order_screen.what(context, order))
        return MakeInvoice(order, opened.claim, opened.asked_before, opened.replaced, version, description)
    if opened.order.invoice_id is not None and version is not None:
        _move_on(tx, context, version, opened.order)
    if opened.claimed_s > 0 and context.redelivered:
        # The claim may be that of an attempt at this update which died: "is being prepared" would be its last word.
        raise updates.NotYet("another attempt may be making the invoice", opened.claimed_s)
    return order_screen.show(tx, context, opened.order)


def _move_on(tx: Transaction, context: UpdateContext, version: int, order: Order) -> None:
    # None when the dialogue has moved meanwhile: the order stands, and its screen does not need the dialogue.
    chat_state.swap(tx, context.account.id, version, BUY_ORDER, {"order": order.id})


def show_invoice(tx: Transaction, context: UpdateContext, made: MakeInvoice, order: Order) -> Screen:
    """The provider has it and the order holds it: show the order."""
    if made.version is not None:
        _move_on(tx, context, made.version, order)
    return order_screen.show(tx, context, order)


def give_up_invoice(tx: Transaction, context: UpdateContext, made: MakeInvoice) -> Screen:
    """The provider failed: the next tap may try at once."""
    orders.release_claim(tx, made.order.id, made.claim)
    return order_screen.provider_down(context, made.order)


def look_at_order(tx: Transaction, context: UpdateContext, order_id: int) -> Screen | MakeInvoice | AskProvider:
    """An order of one's own: asked about while unpaid, given an invoice when it is open and has none."""
    order = orders.of_account(tx, context.account.id, order_id)
    if order is None:
        return show_state(tx, context, chat_state.read(tx, context.account.id), "toast-not-yours")
    if order.status == "paid":
        return order_screen.show(tx, context, order, "toast-paid")
    if order.invoice_id is not None:
        return AskProvider(order)
    if not order_screen.is_live(tx, order):
        return order_screen.show(tx, context, order)
    return _resume(tx, context, order)


def _resume(tx: Transaction, context: UpdateContext, order: Order) -> Screen | MakeInvoice:
    """Get the invoice of an open order that has none, unless another delivery is at it or no invoices are made now."""
    if not order_screen.takes_orders(tx, context):
        return order_screen.unavailable(context)
    if order.provider not in context.methods:
        return order_screen.show(tx, context, order)
    # The account's row is locked since this transaction began, so it is still open.
    return call_or_screen(tx, context, orders.resume(tx, order), None)


def show_order(tx: Transaction, context: UpdateContext, order_id: int) -> Screen:
    """What is true of it now."""
    order = orders.of_account(tx, context.account.id, order_id)
    if order is None:
        return show_state(tx, context, chat_state.read(tx, context.account.id), "toast-not-yours")
    return order_screen.show(tx, context, order, "toast-paid" if order.status == "paid" else "toast-unpaid")


# External calls --------------------------------------------------------------------------------------------------


async def make_invoice(runner: UpdateRunner, call: MakeInvoice) -> None:
    """Get the invoice with no transaction open, then keep it and finish the update."""
    invoices = runner.services.invoices.get(call.order.provider)
    if invoices is None:
        await runner.run(give_up_invoice, call)
        return
    failpoints.reach("invoice.before-call")
    try:
        invoice = await _invoice(invoices, call)
    except ProviderError as error:
        log.warning("invoice_failed", order_id=call.order.id, reason=str(error))
        await runner.run(give_up_invoice, call)
        return
    failpoints.reach("invoice.after-call")
    # In a transaction of its own, under the key of the order: another delivery of this update may have finished it meanwhile
    # ("the invoice is being made"), and an invoice that exists must be known whichever delivery answers.
    order = await runner.services.db.run(orders.attach_invoice, call.order.id, invoice.invoice_id, invoice.url)
    failpoints.reach("invoice.after-commit")
    await runner.run(show_invoice, call, order)
    for replaced in call.replaced:
        await _withdraw(runner, replaced)


async def withdraw(runner: UpdateRunner, call: Withdraw) -> None:
    """Show what was bought, then take back the invoices of orders that made way for it."""
    await runner.run(show_order, call.order_id)
    runner.add_follow_up(call.follow_up)
    for replaced in call.replaced:
        await _withdraw(runner, replaced)


async def _invoice(invoices: Invoices, call: MakeInvoice) -> Invoice:
    order = call.order
    if call.asked_before:
        found = await provider.find(invoices, order.purchase_id, order.price, order.currency)
        if found is not None:
            return found
    return await invoices.make(order, call.description)


async def _withdraw(runner: UpdateRunner, replaced: Replaced) -> None:
    """Best effort: money for a replaced order settles all the same. Asked before it is taken back: what was paid meanwhile settles."""
    invoices = runner.services.invoices.get(replaced.provider)
    if invoices is None or invoices.asks_first:
        return  # where a charge is asked about first, it is refused from now on
    try:
        async with asyncio.timeout(_WITHDRAW_S):
            event = await _ask(invoices, runner, replaced.invoice_id)
            if event is None:
                await invoices.withdraw(replaced.invoice_id)
    except InvoiceOver:
        event = None
    except (ProviderError, TimeoutError) as error:
        log.warning("invoice_not_withdrawn", invoice_id=replaced.invoice_id, reason=str(error) or "timeout")
        return
    if event is None:
        await runner.services.db.run(orders.close_at_provider, [replaced.order_id])
        return
    received = await runner.services.db.run(inbox.receive, event, runner.services.prices)
    report(event.provider, event.via, received)
    runner.add_follow_up(received.follow_up)


async def _ask(invoices: Invoices, runner: UpdateRunner, invoice_id: str) -> Event | None:
    return await provider.ask(invoices, invoice_id, via="update", correlation_id=runner.context.correlation_id)


async def ask_provider(runner: UpdateRunner, call: AskProvider) -> None:
    """Settle by the very transaction that the webhook uses, then show what is true."""
    settled = await _settle(runner, call.order)
    await runner.run(show_order, call.order.id)
    runner.add_follow_up(settled)


async def _settle(runner: UpdateRunner, order: Order) -> tuple[Item, ...]:
    invoices = runner.services.invoices.get(order.provider)
    if invoices is None or order.invoice_id is None or invoices.asks_first:
        return ()
    try:
        async with asyncio.timeout(_ASK_S):
            event = await _ask(invoices, runner, order.invoice_id)
    except InvoiceOver:
        await runner.services.db.run(orders.close_at_provider, [order.id])
        return ()
    except (ProviderError, TimeoutError) as error:
        log.warning("invoice_not_asked", order_id=order.id, reason=str(error) or "timeout")
        return ()
    if event is None:
        return ()
    received = await runner.services.db.run(inbox.receive, event, runner.services.prices)
    report(event.provider, event.via, received)
    return received.follow_up


# Routes ----------------------------------------------------------------------------------------------------------


@router.message(Command("buy", ignore_case=True, ignore_mention=True))
@router.callback_query(Go.filter(F.to == Place.BUY))
async def _on_buy(_event: Message | CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(begin)


@router.callback_query(PickTariff.filter())
async def _on_tariff(_query: CallbackQuery, callback_data: PickTariff, runner: UpdateRunner) -> None:
    await runner.run(pick_tariff, callback_data.tariff, callback_data.version)


@router.callback_query(PickPeriod.filter())
async def _on_period(_query: CallbackQuery, callback_data: PickPeriod, runner: UpdateRunner) -> None:
    await runner.run(pick_period, callback_data.days, callback_data.version)


@router.callback_query(Pay.filter())
async def _on_pay(_query: CallbackQuery, callback_data: Pay, runner: UpdateRunner) -> None:
    call = await runner.run_step(open_order, callback_data.method, callback_data.version)
    if isinstance(call, Withdraw):
        await withdraw(runner, call)
    elif isinstance(call, MakeInvoice):
        await make_invoice(runner, call)


@router.callback_query(CheckOrder.filter())
async def _on_check(_query: CallbackQuery, callback_data: CheckOrder, runner: UpdateRunner) -> None:
    call = await runner.run_step(look_at_order, callback_data.order)
    if isinstance(call, MakeInvoice):
        await make_invoice(runner, call)
    elif isinstance(call, AskProvider):
        await ask_provider(runner, call)
