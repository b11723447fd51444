"""The operators' desk: every button and text of an operator comes here, is asked for its role, and led on.

A person without a role is told what any unknown command or button is told.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lib.bot.finance import acts, callbacks, form, views
from lib.bot.finance.callbacks import (
    Begin,
    Books,
    Confirm,
    Customer,
    Differences,
    Event,
    Month,
    NoFee,
    Payment,
    Pick,
    Pressed,
    Search,
    Statement,
    Waiting,
)
from lib.bot.routers import menu, operator
from lib.domain import chat_state, operators
from lib.domain.operators import Action

if TYPE_CHECKING:
    from lib.bot.screen import Rendered, Screen
    from lib.bot.update_context import UpdateContext, UpdateRunner
    from lib.db import Transaction
    from lib.domain.operators import Role

_SEES = {
    Waiting: Action.SEE_MONEY,
    Event: Action.SEE_MONEY,
    Books: Action.SEE_MONEY,
    Month: Action.SEE_MONEY,
    Payment: Action.SEE_MONEY,
    Differences: Action.SEE_MONEY,
    Statement: Action.SEE_MONEY,
    Search: Action.SEE_CUSTOMER,
    Customer: Action.SEE_CUSTOMER,
}
"""What a screen shows."""


def needs(tx: Transaction, context: UpdateContext, pressed: Pressed) -> Action | None:
    """What a button does, for the table of roles; None of what every operator may."""
    if isinstance(pressed, Begin):
        return acts.NEEDS[pressed.act]
    if isinstance(pressed, Confirm | NoFee | Pick):
        act = form.needed(chat_state.read(tx, context.account.id))
        return None if act is None else acts.NEEDS[act]
    return _SEES.get(type(pressed))


def press(tx: Transaction, context: UpdateContext, data: str) -> Screen | Rendered:
    """What a button leads to."""
    held = _roles(tx, context)
    if not held:
        return menu.show_menu(tx, context, "toast-stale")
    pressed = callbacks.read(data)
    if pressed is None:
        return views.home(tx, context, held, "toast-stale")
    needed = needs(tx, context, pressed)
    if needed is not None and not operators.may(held, needed):
        return views.home(tx, context, held, "toast-finance-role")
    return _led(tx, context, held, pressed)


def _led(tx: Transaction, context: UpdateContext, held: frozenset[Role], pressed: Pressed) -> Screen | Rendered:  # noqa: PLR0911 -- a way for each
    match pressed:
        case Begin():
            return form.begin(tx, context, pressed.act, pressed.subject, pressed.target)
        case Pick():
            return form.pick(tx, context, pressed.value, pressed.version)
        case NoFee():
            return form.without_fee(tx, context, pressed.version)
        case Confirm():
            return form.confirm(tx, context, pressed.version)
        case Customer():
            return views.customer(tx, context, held, pressed.account)
        case Payment():
            return views.payment(tx, context, held, pressed.payment)
        case _:
            return _read(tx, context, held, pressed)


def _read(tx: Transaction, context: UpdateContext, held: frozenset[Role], pressed: Pressed) -> Screen:  # noqa: PLR0911 -- as above
    match pressed:
        case Waiting():
            return views.waiting(tx, context, pressed.before)
        case Event():
            return views.event(tx, context, pressed.event)
        case Search():
            return views.ask_whom(tx, context)
        case Books():
            return views.books(tx, context)
        case Month():
            return views.month(tx, context, pressed.month)
        case Statement():
            return views.statement(tx, context, pressed.ledger_account, pressed.before)
        case Differences():
            return views.differences(tx, context, pressed.after)
        case _:
            return views.home(tx, context, held)


def open_desk(tx: Transaction, context: UpdateContext) -> Screen:
    """/finance: the desk, for an operator."""
    held = _roles(tx, context)
    return views.home(tx, context, held) if held else menu.not_understood(tx, context)


def take_text(tx: Transaction, context: UpdateContext, text: str) -> Screen:
    """What an operator typed at a place where a text was asked for."""
    held, state = _roles(tx, context), chat_state.read(tx, context.account.id)
    if state.state == operator.SEARCH and operators.may(held, Action.SEE_CUSTOMER):
        return views.found(tx, context, held, text)
    act = form.needed(state)
    if state.state == operator.FORM and act is not None and operators.may(held, acts.NEEDS[act]):
        return form.typed(tx, context, state, text)
    return views.home(tx, context, held) if held else menu.not_understood(tx, context)


def _roles(tx: Transaction, context: UpdateContext) -> frozenset[Role]:
    return operators.roles(tx, context.person.telegram_id, context.owners)


async def opened(runner: UpdateRunner) -> None:
    """Answer /finance."""
    await _with_what_gives_back(runner).run(open_desk)


async def pressed(runner: UpdateRunner, data: str) -> None:
    """Answer a button."""
    await _with_what_gives_back(runner).run(press, data)


async def typed(runner: UpdateRunner, text: str) -> None:
    """Answer a text that was asked for."""
    await _with_what_gives_back(runner).run(take_text, text)


def _with_what_gives_back(runner: UpdateRunner) -> UpdateRunner:
    named = runner.services.giving_back
    runner.context = replace(runner.context, gives_back=None if named is None else frozenset(named()))
    return runner
