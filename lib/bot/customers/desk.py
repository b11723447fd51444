"""The operators' desk for customers: every button and text of an operator comes here, is asked for its role, and led on.

A person without a role is told what any unknown command or button is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.bot.customers import callbacks, form, views
from lib.bot.customers.callbacks import Begin, Card, Confirm, History, PickDays, PickTariff
from lib.bot.routers import menu, operator
from lib.domain import chat_state, operators
from lib.domain.access_desk import NEEDS
from lib.domain.operators import Action

if TYPE_CHECKING:
    from lib.bot.customers.callbacks import Pressed
    from lib.bot.screen import Rendered, Screen
    from lib.bot.update_context import UpdateContext, UpdateRunner
    from lib.db import Transaction
    from lib.domain.operators import Role


def needs(tx: Transaction, context: UpdateContext, pressed: Pressed) -> Action:
    """What a button does, for the table of roles."""
    if isinstance(pressed, Begin):
        return NEEDS[pressed.change]
    if isinstance(pressed, Confirm | PickTariff | PickDays):
        begun = form.Form.of(chat_state.read(tx, context.account.id))
        return Action.SEE_CUSTOMER if begun is None else NEEDS[begun.change]
    return Action.SEE_CUSTOMER


def press(tx: Transaction, context: UpdateContext, data: str) -> Screen | Rendered:
    """What a button leads to."""
    held = _roles(tx, context)
    if not operators.may(held, Action.SEE_CUSTOMER):
        return menu.show_menu(tx, context, "toast-stale")
    pressed = callbacks.read(data)
    if pressed is None:
        return views.ask_whom(tx, context, "toast-stale")
    if not operators.may(held, needs(tx, context, pressed)):
        return views.ask_whom(tx, context, "toast-finance-role")
    return _led(tx, context, held, pressed)


def _led(tx: Transaction, context: UpdateContext, held: frozenset[Role], pressed: Pressed) -> Screen | Rendered:
    match pressed:
        case Card():
            screen: Screen | Rendered = views.card(tx, context, held, pressed.account)
        case History():
            screen = views.history(tx, context, pressed.account, pressed.before)
        case Begin():
            screen = form.begin(tx, context, pressed.change, pressed.account)
        case PickTariff() | PickDays():
            screen = form.pick(tx, context, pressed)
        case Confirm():
            screen = form.confirm(tx, context, pressed.version)
        case _:
            screen = views.ask_whom(tx, context)
    return screen


def open_desk(tx: Transaction, context: UpdateContext) -> Screen:
    """/customers: the desk, for an operator who may see customers."""
    if not operators.may(_roles(tx, context), Action.SEE_CUSTOMER):
        return menu.not_understood(tx, context)
    return views.ask_whom(tx, context)


def take_text(tx: Transaction, context: UpdateContext, text: str) -> Screen:
    """What an operator typed at a place where a text was asked for."""
    held, state = _roles(tx, context), chat_state.read(tx, context.account.id)
    if not operators.may(held, Action.SEE_CUSTOMER):
        return menu.not_understood(tx, context)
    if state.state == operator.CUSTOMER_SEARCH:
        return views.found(tx, context, held, text)
    begun = form.Form.of(state)
    if begun is not None and operators.may(held, NEEDS[begun.change]):
        return form.typed(tx, context, state, text)
    return views.ask_whom(tx, context)


def _roles(tx: Transaction, context: UpdateContext) -> frozenset[Role]:
    return operators.roles(tx, context.person.telegram_id, context.owners)


async def opened(runner: UpdateRunner) -> None:
    """Answer /customers."""
    await runner.run(open_desk)


async def pressed(runner: UpdateRunner, data: str) -> None:
    """Answer a button."""
    await runner.run(press, data)


async def typed(runner: UpdateRunner, text: str) -> None:
    """Answer a text that was asked for."""
    await runner.run(take_text, text)
