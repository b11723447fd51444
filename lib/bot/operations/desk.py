"""The operations desk: every button and text of an operator comes here, is asked for its role, and led on.

A person without a role is told what any unknown command or button is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib import function_table
from lib.bot.operations import acts, callbacks, form, views
from lib.bot.operations.callbacks import (
    Begin,
    Confirm,
    Event,
    Events,
    Flags,
    GivenUp,
    Home,
    Message,
    Messages,
    Node,
    Nodes,
    Pending,
    Refunds,
    Sweep,
    Sweeps,
    Update,
    Updates,
)
from lib.bot.routers import menu, operator
from lib.domain import chat_state, operators
from lib.domain.operators import Action

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiogram.filters.callback_data import CallbackData

    from lib.bot.screen import Rendered, Screen
    from lib.bot.update_context import UpdateContext, UpdateRunner
    from lib.db import Transaction
    from lib.domain.operators import Role


def needs(tx: Transaction, context: UpdateContext, pressed: CallbackData) -> Action | None:
    """What a button does, for the table of roles; None of what every operator may."""
    match pressed:
        case Home():
            return None
        case Begin():
            return acts.NEEDS[pressed.act]
        case Confirm():
            act = form.needed(chat_state.read(tx, context.account.id))
            return None if act is None else acts.NEEDS[act]
        case _:
            return Action.SEE_OPERATIONS


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
    match pressed:
        case Begin():
            return form.begin(tx, context, pressed.act, pressed.subject)
        case Confirm():
            return form.confirm(tx, context, pressed.version)
        case _:
            return _shown(tx, context, held, pressed)


def _shown(tx: Transaction, context: UpdateContext, held: frozenset[Role], pressed: CallbackData) -> Screen:  # noqa: PLR0911, C901, PLR0912 -- a screen for each
    match pressed:
        case Pending():
            return views.pending(tx, context, held, pressed.after_us, pressed.after)
        case Nodes():
            return views.nodes(tx, context, pressed.after)
        case Node():
            return views.node(tx, context, held, pressed.node)
        case Sweeps():
            return views.sweeps(tx, context)
        case Sweep():
            return views.sweep(tx, context, held, pressed.name)
        case Flags():
            return views.switches(tx, context, held)
        case Updates():
            return views.updates(tx, context, pressed.place, pressed.after)
        case GivenUp():
            return views.given_up(tx, context, pressed.before)
        case Update():
            return views.update(tx, context, held, pressed.update)
        case Events():
            return views.events(tx, context, held, pressed.after)
        case Event():
            return views.event(tx, context, held, pressed.event)
        case Messages():
            return views.messages(tx, context, pressed.before)
        case Message():
            return views.message(tx, context, held, pressed.message)
        case Refunds():
            return views.refunds(tx, context, held, pressed.after)
        case _:
            return views.home(tx, context, held)


def open_desk(tx: Transaction, context: UpdateContext) -> Screen:
    """/operations: the desk, for an operator."""
    held = _roles(tx, context)
    return views.home(tx, context, held) if held else menu.not_understood(tx, context)


def take_text(tx: Transaction, context: UpdateContext, text: str) -> Screen:
    """What an operator typed where a reason was asked for."""
    held, state = _roles(tx, context), chat_state.read(tx, context.account.id)
    act = form.needed(state)
    if state.state == operator.REASON and act is not None and operators.may(held, acts.NEEDS[act]):
        return form.typed(tx, context, state, text)
    return views.home(tx, context, held) if held else menu.not_understood(tx, context)


def _roles(tx: Transaction, context: UpdateContext) -> frozenset[Role]:
    return operators.roles(tx, context.person.telegram_id, context.owners)


async def opened(runner: UpdateRunner) -> None:
    """Answer /operations."""
    await _run(runner, open_desk)


async def pressed(runner: UpdateRunner, data: str) -> None:
    """Answer a button."""
    await _run(runner, press, data)


async def typed(runner: UpdateRunner, text: str) -> None:
    """Answer a text that was asked for."""
    await _run(runner, take_text, text)


async def _run(runner: UpdateRunner, action: Callable[..., Screen | Rendered], *arguments: str) -> None:
    function_table.load()  # once a process, and before the transaction, which may read no file
    await runner.run(action, *arguments)
