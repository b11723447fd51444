"""The balance and its top-up: a fixed or a typed amount, then the way to pay (product.md#balance-and-top-up).

Its place is the dialogue's, in Postgres; an order for a top-up stands beside one for access.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from aiogram import F, Router

from lib.bot import order_screen
from lib.bot.callbacks import Go, PayTopUp, PickTopUp, Place
from lib.bot.routers import menu
from lib.bot.routers.purchase import MakeInvoice, call_or_screen, make_invoice, stale
from lib.bot.screen import Screen, tap
from lib.domain import amounts, balance, chat_state, consents, flags, orders, pricing
from lib.domain.amounts import Refusal

if TYPE_CHECKING:
    from aiogram.types import CallbackQuery, Message

    from lib.bot.screen import Button, Rows
    from lib.bot.update_context import UpdateContext, UpdateRunner
    from lib.db import Transaction
    from lib.domain.chat_state import ChatState
    from lib.domain.pricing import Offer

router = Router(name="balance")

TYPED = "top_up.typed"
CONFIRM = "top_up.confirm"


def show_balance(tx: Transaction, context: UpdateContext, toast: str = "") -> Screen:
    """What there is, and the amounts to top up by; `toast` is the id of a text."""
    say = context.texts
    held = balance.of(tx, context.account.id)
    text = say.html("balance", balance=_money(context, held.total))
    if held.earned:
        text += "\n" + say.html("balance-earned", amount=_money(context, held.earned))
    said = say.plain(toast) if toast else ""
    if not _is_offered(tx, context):
        return Screen(text, ((_menu(context),),), toast=said)
    return Screen(f"{text}\n\n{say.html('balance-top-up')}", (*_amounts(context), (_menu(context),)), toast=said)


def _is_offered(tx: Transaction, context: UpdateContext) -> bool:
    return context.prices.top_up is not None and bool(context.methods) and flags.enabled(tx, flags.PAYMENTS)


def _amounts(context: UpdateContext) -> Rows:
    limits = context.prices.top_up
    fixed = () if limits is None else limits.amounts
    other = tap(context.texts.plain("button-other-amount"), Go(to=Place.TOP_UP_OTHER))
    return (*((tap(_money(context, amount), PickTopUp(amount=amount)),) for amount in fixed), (other,))


def ask_amount(tx: Transaction, context: UpdateContext) -> Screen:
    """The next text of the customer is the amount."""
    if not _is_offered(tx, context):
        return show_balance(tx, context, "toast-no-orders")
    state = chat_state.read(tx, context.account.id)
    chat_state.swap(tx, context.account.id, state.version, TYPED, {})
    return _ask(context)


def _ask(context: UpdateContext, refusal: str = "") -> Screen:
    say, limits = context.texts, context.prices.top_up
    assert limits is not None, "asked only where top-ups are offered"  # noqa: S101 -- for the type checker
    text = say.html("top-up-ask", least=_money(context, limits.least), most=_money(context, limits.most))
    back = tap(say.plain("button-back"), Go(to=Place.BALANCE))
    return Screen(f"{refusal}\n\n{text}" if refusal else text, ((back, _menu(context)),))


def typed(tx: Transaction, context: UpdateContext, text: str) -> Screen:
    """A text: the amount, when it was asked for; else it is not understood."""
    state = chat_state.read(tx, context.account.id)
    if state.state != TYPED or not _is_offered(tx, context):
        return menu.not_understood(tx, context)
    amount = amounts.top_up(text, context.prices)
    if isinstance(amount, Refusal):
        return _ask(context, context.texts.html(f"top-up-refused-{amount.value}"))
    return _confirm_next(tx, context, state, amount)


def pick_amount(tx: Transaction, context: UpdateContext, amount: int) -> Screen:
    """One of the amounts with a button; from a forged or an old one, back to those there are."""
    limits = context.prices.top_up
    if not _is_offered(tx, context) or limits is None or amount not in limits.amounts:
        return show_balance(tx, context, "toast-stale")
    return _confirm_next(tx, context, chat_state.read(tx, context.account.id), amount)


def _offers(context: UpdateContext, amount: int) -> dict[str, Offer]:
    found = {}
    for method in context.methods:
        with suppress(pricing.NotSold):
            found[method] = pricing.top_up(context.prices, amount, method=method, surface=pricing.Surface.CHAT)
    return found


def _confirm_next(tx: Transaction, context: UpdateContext, state: ChatState, amount: int, toast: str = "") -> Screen:
    offers = _offers(context, amount)
    prices = {method: [one.quote.price, one.quote.currency] for method, one in offers.items()}
    data = {"amount": amount, "prices": prices}
    moved = chat_state.swap(tx, context.account.id, state.version, CONFIRM, data)
    if moved is None:
        return show_balance(tx, context, "toast-stale")
    return _confirm(context, moved, amount, offers, toast)


def _confirm(context: UpdateContext, state: ChatState, amount: int, offers: dict[str, Offer], toast: str) -> Screen:
    say = context.texts
    parts = [say.html("top-up-confirm", amount=_money(context, amount))]
    parts += [
        say.html(
            "buy-confirm-minimum",
            method=context.methods[method],
            minimum=say.money(one.minimum, one.quote.currency),
        )
        for method, one in offers.items()
        if not one.is_payable
    ]
    parts.append(say.html("buy-confirm-consent"))
    payable = {method: one.quote for method, one in offers.items() if one.is_payable}
    rows: Rows = tuple(
        (
            tap(
                order_screen.pay_label(context, quote, context.methods[method], alone=len(payable) == 1),
                PayTopUp(method=method, version=state.version),
            ),
        )
        for method, quote in payable.items()
    )
    back = tap(say.plain("button-back"), Go(to=Place.BALANCE))
    return Screen("\n\n".join(parts), (*rows, (back, _menu(context))), toast=say.plain(toast) if toast else "")


def open_order(tx: Transaction, context: UpdateContext, method: str, version: int) -> Screen | MakeInvoice:
    """Consent, and the account's one open order for exactly what the confirm screen showed."""
    state = chat_state.read(tx, context.account.id)
    if state.version != version or state.state != CONFIRM:
        return stale(tx, context, state, version)
    amount = int(state.data.get("amount", 0))
    offered = _offers(context, amount).get(method)
    if offered is None or not offered.is_payable or not _is_offered(tx, context):
        return show_balance(tx, context, "toast-stale")
    quote = offered.quote
    if state.data.get("prices", {}).get(method) != [quote.price, quote.currency]:
        return _confirm_next(tx, context, state, amount, "toast-price-changed")
    consents.answer(tx, context.account.telegram_id, consents.Kind.TERMS, accepted=True)
    opened = orders.open_top_up(
        tx, context.account.id, quote=quote, provider=method, minutes=context.prices.order_minutes
    )
    return call_or_screen(tx, context, opened, version)


def _money(context: UpdateContext, amount: int) -> str:
    return context.texts.money(amount, context.prices.currency)


def _menu(context: UpdateContext) -> Button:
    return tap(context.texts.plain("button-menu"), Go(to=Place.MENU))


# Routes ----------------------------------------------------------------------------------------------------------


@router.callback_query(Go.filter(F.to == Place.BALANCE))
async def _on_balance(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_balance)


@router.callback_query(Go.filter(F.to == Place.TOP_UP_OTHER))
async def _on_other_amount(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(ask_amount)


@router.callback_query(PickTopUp.filter())
async def _on_amount(_query: CallbackQuery, callback_data: PickTopUp, runner: UpdateRunner) -> None:
    await runner.run(pick_amount, callback_data.amount)


@router.callback_query(PayTopUp.filter())
async def _on_pay(_query: CallbackQuery, callback_data: PayTopUp, runner: UpdateRunner) -> None:
    call = await runner.run_step(open_order, callback_data.method, callback_data.version)
    if call is not None:
        await make_invoice(runner, call)


@router.message(F.text & ~F.text.startswith("/"))
async def _on_text(message: Message, runner: UpdateRunner) -> None:
    await runner.run(typed, message.text or "")
