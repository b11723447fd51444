"""The balance and its top-up: the typed amount, the order and the routes; the screens are lib/bot/top_up_dialogue.py.

An order for a top-up stands beside one for access (product.md#balance-and-top-up).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiogram import F, Router

from lib.bot import money_screens, order_screen
from lib.bot.callbacks import Go, PayTopUp, PickTopUp, Place, ShowMoves
from lib.bot.routers import menu, operator
from lib.bot.routers.purchase import MakeInvoice, call_or_screen, make_invoice, stale
from lib.bot.top_up_dialogue import (
    CONFIRM,
    TYPED,
    agreed,
    ask,
    ask_amount,
    confirm_next,
    is_offered,
    offers,
    pick_amount,
    show_balance,
)
from lib.domain import amounts, chat_state, consents, orders
from lib.domain.amounts import Refusal

if TYPE_CHECKING:
    from aiogram.types import CallbackQuery, Message

    from lib.bot.screen import Screen
    from lib.bot.update_context import UpdateContext, UpdateRunner
    from lib.db import Transaction

router = Router(name="balance")


def typed(tx: Transaction, context: UpdateContext, text: str) -> Screen | operator.Desk:
    """A text: the amount, when it was asked for; what an operator was asked for; else it is not understood."""
    state = chat_state.read(tx, context.account.id)
    if state.state in operator.TYPED:
        return operator.Desk(state.state)
    if state.state != TYPED or not is_offered(tx, context):
        return menu.not_understood(tx, context)
    amount = amounts.top_up(text, context.prices)
    if isinstance(amount, Refusal):
        return ask(context, context.texts.html(f"top-up-refused-{amount.value}"))
    return confirm_next(tx, context, state, amount)


def open_order(tx: Transaction, context: UpdateContext, method: str, version: int) -> Screen | MakeInvoice:
    """Consent, and the account's one open order for exactly what the confirm screen showed."""
    state = chat_state.read(tx, context.account.id)
    if state.version != version or state.state != CONFIRM:
        return stale(tx, context, state, version) if state.version else show_balance(tx, context, "toast-stale")
    amount = int(state.data.get("amount", 0))
    offered = offers(context, amount).get(method)
    if offered is None or not offered.is_payable or not is_offered(tx, context):
        return show_balance(tx, context, "toast-stale")
    quote = offered.quote
    if not agreed(state, method, quote):
        return confirm_next(tx, context, state, amount, "toast-price-changed")
    if not order_screen.terms_shown(state):
        return confirm_next(tx, context, state, amount, "toast-terms-changed")
    consents.answer(tx, context.account.telegram_id, consents.Kind.TERMS, accepted=True)
    opened = orders.open_top_up(
        tx, context.account.id, quote=quote, provider=method, minutes=context.prices.order_minutes
    )
    return call_or_screen(tx, context, opened, version)


# Routes ----------------------------------------------------------------------------------------------------------


@router.callback_query(Go.filter(F.to == Place.BALANCE))
async def _on_balance(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_balance)


@router.callback_query(Go.filter(F.to == Place.TOP_UP_OTHER))
async def _on_other_amount(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(ask_amount)


@router.callback_query(ShowMoves.filter())
async def _on_moves(_query: CallbackQuery, callback_data: ShowMoves, runner: UpdateRunner) -> None:
    await runner.run(money_screens.show_moves, callback_data.before)


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
    desk = await runner.run_step(typed, message.text or "")
    if desk is not None:
        await operator.typed(runner, desk, message.text or "")
