"""The dialogue of one act: what it lacks is asked for, then it is shown with before and after, and confirmed.

Its place is the operator's own, in Postgres; the confirm button carries the place's version, which is also the act's key: two taps,
or an update that is delivered again, find what the first one did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.bot.finance import acts
from lib.bot.finance.acts import Field, Form, NotDone
from lib.bot.finance.callbacks import Act, Confirm, Customer, Event, Home, NoFee, Payment, Pick
from lib.bot.routers import operator
from lib.bot.screen import Rendered, Screen, tap
from lib.domain import chat_state

if TYPE_CHECKING:
    from lib.bot.screen import Button, Rows
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.chat_state import ChatState

CONFIRM, DONE = "finance.confirm", "finance.done"
PLACES = frozenset({operator.FORM, CONFIRM, DONE})


def begin(tx: Transaction, context: UpdateContext, act: Act, subject: int, target: int) -> Screen:
    """From the button of a screen."""
    return _next(tx, context, Form.begun(act, subject, target))


def typed(tx: Transaction, context: UpdateContext, state: ChatState, text: str) -> Screen:
    """A text for what was asked last; one that can't be it is asked for again, with the reason."""
    form = Form.of(state)
    asked = None if form is None else acts.missing(tx, context, form)
    if form is None or asked is None:
        return _nowhere(context)
    try:
        return _next(tx, context, acts.accept(tx, context, form, asked, text))
    except NotDone as refusal:
        return _ask(tx, context, form, asked, state, refusal=str(refusal))


def without_fee(tx: Transaction, context: UpdateContext, version: int) -> Screen | Rendered:
    """The bank took nothing beside it."""
    state = chat_state.read(tx, context.account.id)
    form = Form.of(state)
    if (
        form is None
        or state.state != operator.FORM
        or state.version != version
        or acts.missing(tx, context, form) is not Field.FEE
    ):
        return show(tx, context, state, "toast-stale")
    return _next(tx, context, form.having(Field.FEE, 0))


def pick(tx: Transaction, context: UpdateContext, value: str, version: int) -> Screen | Rendered:
    """One of the answers that are offered; a forged one is asked for again."""
    state = chat_state.read(tx, context.account.id)
    form = Form.of(state)
    if form is None or state.state != operator.FORM or state.version != version:
        return show(tx, context, state, "toast-stale")
    asked = acts.missing(tx, context, form)
    if asked is None or value not in acts.choices(tx, context, form, asked):
        return show(tx, context, state, "toast-stale")
    return _next(tx, context, form.having(asked, value))


def confirm(tx: Transaction, context: UpdateContext, version: int) -> Screen | Rendered:
    """Do what the confirm screen showed: once, and nothing else."""
    state = chat_state.read(tx, context.account.id)
    form = Form.of(state)
    if form is None or state.state != CONFIRM or state.version != version:
        # the second tap of two finds what the first one did: nothing was wrong with the button
        second_tap = state.state == DONE and state.version == version + 1
        return show(tx, context, state, "" if second_tap else "toast-stale")
    shown = tuple(state.data.get("lines", ()))
    try:
        outcome = acts.attempt(tx, context, form, version, expected=shown)
    except NotDone as refusal:
        return _refused(context, form, str(refusal))
    if outcome is None:
        return _next(tx, context, form, "toast-finance-changed")
    moved = chat_state.swap(tx, context.account.id, version, DONE, {**form.data(), "lines": list(outcome.lines)})
    if moved is None:
        raise RuntimeError("the operator's place moved under the lock of their account")
    return Rendered(_done(context, form, outcome.lines), outcome.follow_up)


def show(tx: Transaction, context: UpdateContext, state: ChatState, toast: str = "") -> Screen:
    """The act where it stands now; `toast` is the id of a text."""
    form = Form.of(state)
    if form is None or state.state not in PLACES:
        return _nowhere(context, toast)
    lines = tuple(state.data.get("lines", ()))
    if state.state == DONE:
        return _done(context, form, lines, toast)
    if state.state == CONFIRM:
        return _confirm(context, form, lines, state.version, toast)
    asked = acts.missing(tx, context, form)
    return _nowhere(context, toast) if asked is None else _ask(tx, context, form, asked, state, toast=toast)


def needed(state: ChatState) -> Act | None:
    """The act that the dialogue is at, for the check of roles."""
    form = Form.of(state) if state.state in PLACES else None
    return None if form is None else form.act


def _next(tx: Transaction, context: UpdateContext, form: Form, toast: str = "") -> Screen:
    """Ask for what is missing, or show what would be done."""
    state = chat_state.read(tx, context.account.id)
    asked = acts.missing(tx, context, form)
    if asked is not None:
        moved = chat_state.swap(tx, context.account.id, state.version, operator.FORM, form.data())
        return _nowhere(context, "toast-stale") if moved is None else _ask(tx, context, form, asked, moved)
    try:
        outcome = acts.attempt(tx, context, form, state.version + 1, expected=None)
    except NotDone as refusal:
        return _refused(context, form, str(refusal))
    lines = () if outcome is None else outcome.lines
    data = {**form.data(), "lines": list(lines)}
    moved = chat_state.swap(tx, context.account.id, state.version, CONFIRM, data)
    if moved is None:
        return _nowhere(context, "toast-stale")
    return _confirm(context, form, lines, moved.version, toast)


def _ask(
    tx: Transaction,
    context: UpdateContext,
    form: Form,
    asked: Field,
    state: ChatState,
    *,
    refusal: str = "",
    toast: str = "",
) -> Screen:
    say = context.texts
    currency = acts.worth_currency(tx, context, form) if asked is Field.WORTH else None
    values = {"currency": currency or context.prices.currency} if asked in _OF_MONEY else {}
    text = f"{_title(context, form)}\n\n{say.html(f'finance-ask-{asked.value}', **values)}"
    none = ((tap(say.plain("button-finance-no-fee"), NoFee(version=state.version)),),) if asked is Field.FEE else ()
    offered = tuple(
        (tap(say.plain(f"button-finance-{asked.value}-{value}"), Pick(value=value, version=state.version)),)
        for value in acts.choices(tx, context, form, asked)
    )
    return Screen(
        f"{refusal}\n\n{text}" if refusal else text,
        (*offered, *none, (_subject(context, form), _home(context))),
        toast=say.plain(toast) if toast else "",
    )


_OF_MONEY = frozenset({Field.WORTH, Field.AMOUNT, Field.PAID, Field.FEE})


def _confirm(context: UpdateContext, form: Form, lines: tuple[str, ...], version: int, toast: str) -> Screen:
    say = context.texts
    reason = say.html("finance-reason", reason=str(form.values.get(Field.REASON.value, "")))
    parts = [f"{_title(context, form)}\n{reason}", "\n".join((say.html("finance-would-be"), *lines))]
    rows: Rows = (
        (tap(say.plain("button-finance-confirm"), Confirm(version=version)),),
        (tap(say.plain("button-finance-cancel"), Home()),),
    )
    return Screen("\n\n".join(parts), rows, toast=say.plain(toast) if toast else "")


def _done(context: UpdateContext, form: Form, lines: tuple[str, ...], toast: str = "") -> Screen:
    say = context.texts
    text = "\n\n".join((f"{say.html('finance-done')}\n{_title(context, form)}", "\n".join(lines)))
    return Screen(text, ((_subject(context, form), _home(context)),), toast=say.plain(toast) if toast else "")


def _refused(context: UpdateContext, form: Form, why: str) -> Screen:
    return Screen(f"{_title(context, form)}\n\n{why}", ((_subject(context, form), _home(context)),))


def _nowhere(context: UpdateContext, toast: str = "") -> Screen:
    say = context.texts
    return Screen(say.html("finance-nowhere"), ((_home(context),),), toast=say.plain(toast) if toast else "")


def _title(context: UpdateContext, form: Form) -> str:
    return context.texts.html(f"finance-title-{form.act.value}", number=str(form.subject))


def _subject(context: UpdateContext, form: Form) -> Button:
    say = context.texts.plain
    if form.act in acts.OF_PAYMENTS:
        return tap(say("button-finance-payment", number=str(form.subject)), Payment(payment=form.subject))
    if form.act in acts.OF_CUSTOMERS:
        return tap(say("button-finance-customer", number=str(form.subject)), Customer(account=form.subject))
    return tap(say("button-finance-event", number=str(form.subject)), Event(event=form.subject))


def _home(context: UpdateContext) -> Button:
    return tap(context.texts.plain("button-finance"), Home())
