"""The dialogue of one act: its reason is asked for where it needs one, then it is shown as it would be, and confirmed.

Its place is the operator's own, in Postgres; the confirm button carries the place's version: two taps, or an update that is
delivered again, find what the first one did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.bot.finance.acts import LEAST_REASON, MOST_REASON
from lib.bot.operations import acts
from lib.bot.operations.acts import Form
from lib.bot.operations.callbacks import Act, Confirm, Event, Flags, Home, Message, Node, Sweep, Update
from lib.bot.routers import operator
from lib.bot.screen import Rendered, Screen, tap
from lib.domain import chat_state
from lib.domain.stored_work import NotDone

if TYPE_CHECKING:
    from lib.bot.screen import Button, Rows
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.chat_state import ChatState

CONFIRM, DONE = "operations.confirm", "operations.done"
PLACES = frozenset({operator.REASON, CONFIRM, DONE})


def begin(tx: Transaction, context: UpdateContext, act: Act, subject: str) -> Screen:
    """From the button of a screen."""
    return _next(tx, context, Form(act, subject))


def typed(tx: Transaction, context: UpdateContext, state: ChatState, text: str) -> Screen:
    """The reason; one that can't be it is asked for again."""
    form = Form.of(state)
    if form is None or not form.lacks_reason:
        return _nowhere(context)
    said = " ".join(text.split())
    if not LEAST_REASON <= len(said) <= MOST_REASON or not said.isprintable():
        refusal = context.texts.html("finance-reason-refused", least=LEAST_REASON, most=MOST_REASON)
        return _ask(context, form, refusal)
    return _next(tx, context, form.having(said))


def confirm(tx: Transaction, context: UpdateContext, version: int) -> Screen | Rendered:
    """Do what the confirm screen showed: once, and nothing else."""
    state = chat_state.read(tx, context.account.id)
    form = Form.of(state)
    if form is None or state.state != CONFIRM or state.version != version:
        # the second tap of two finds what the first one did: nothing was wrong with the button
        second_tap = state.state == DONE and state.version == version + 1
        return show(context, state, "" if second_tap else "toast-stale")
    shown = tuple(state.data.get("lines", ()))
    try:
        outcome = acts.attempt(tx, context, form, expected=shown)
    except NotDone as refusal:
        return _refused(context, form, refusal)
    if outcome is None:
        return _next(tx, context, form, "toast-finance-changed")
    moved = chat_state.swap(tx, context.account.id, version, DONE, {**form.data(), "lines": list(outcome.lines)})
    if moved is None:
        raise RuntimeError("the operator's place moved under the lock of their account")
    return Rendered(_done(context, form, outcome.lines), outcome.follow_up)


def show(context: UpdateContext, state: ChatState, toast: str = "") -> Screen:
    """The act where it stands now; `toast` is the id of a text."""
    form = Form.of(state)
    if form is None or state.state not in PLACES:
        return _nowhere(context, toast)
    lines = tuple(state.data.get("lines", ()))
    if state.state == DONE:
        return _done(context, form, lines, toast)
    if state.state == CONFIRM:
        return _confirm(context, form, lines, state.version, toast)
    return _ask(context, form, toast=toast)


def needed(state: ChatState) -> Act | None:
    """The act that the dialogue is at, for the check of roles."""
    form = Form.of(state) if state.state in PLACES else None
    return None if form is None else form.act


def _next(tx: Transaction, context: UpdateContext, form: Form, toast: str = "") -> Screen:
    """Ask for the reason, or show what would be done."""
    state = chat_state.read(tx, context.account.id)
    try:
        # what is refused whatever the reason is refused before one is typed
        outcome = acts.attempt(tx, context, form.having("-") if form.lacks_reason else form, expected=None)
    except NotDone as refusal:
        return _refused(context, form, refusal)
    if form.lacks_reason:
        moved = chat_state.swap(tx, context.account.id, state.version, operator.REASON, form.data())
        return _nowhere(context, "toast-stale") if moved is None else _ask(context, form)
    lines = () if outcome is None else outcome.lines
    data = {**form.data(), "lines": list(lines)}
    moved = chat_state.swap(tx, context.account.id, state.version, CONFIRM, data)
    if moved is None:
        return _nowhere(context, "toast-stale")
    return _confirm(context, form, lines, moved.version, toast)


def _ask(context: UpdateContext, form: Form, refusal: str = "", toast: str = "") -> Screen:
    say = context.texts
    text = f"{_title(context, form)}\n\n{say.html('operations-ask-reason')}"
    rows: Rows = ((*_subject(context, form), _home(context)),)
    return Screen(f"{refusal}\n\n{text}" if refusal else text, rows, toast=say.plain(toast) if toast else "")


def _confirm(context: UpdateContext, form: Form, lines: tuple[str, ...], version: int, toast: str) -> Screen:
    say = context.texts
    parts = [_title(context, form), say.html(f"operations-means-{form.act.value}")]
    if form.reason:
        parts.append(say.html("finance-reason", reason=form.reason))
    if lines:
        parts.append("\n".join((say.html("finance-would-be"), *lines)))
    rows: Rows = (
        (tap(say.plain("button-finance-confirm"), Confirm(version=version)),),
        (tap(say.plain("button-finance-cancel"), Home()),),
    )
    return Screen("\n\n".join(parts), rows, toast=say.plain(toast) if toast else "")


def _done(context: UpdateContext, form: Form, lines: tuple[str, ...], toast: str = "") -> Screen:
    say = context.texts
    parts = [f"{say.html('finance-done')}\n{_title(context, form)}", *(["\n".join(lines)] if lines else [])]
    return Screen(
        "\n\n".join(parts), ((*_subject(context, form), _home(context)),), toast=say.plain(toast) if toast else ""
    )


def _refused(context: UpdateContext, form: Form, refusal: NotDone) -> Screen:
    say = context.texts
    why = say.html("finance-refused", why=say.plain(f"operations-why-{refusal.why.value}"))
    return Screen(f"{_title(context, form)}\n\n{why}", ((*_subject(context, form), _home(context)),))


def _nowhere(context: UpdateContext, toast: str = "") -> Screen:
    say = context.texts
    return Screen(say.html("finance-nowhere"), ((_home(context),),), toast=say.plain(toast) if toast else "")


def _title(context: UpdateContext, form: Form) -> str:
    return context.texts.html(f"operations-title-{form.act.value}", number=form.subject)


def _subject(context: UpdateContext, form: Form) -> tuple[Button, ...]:  # noqa: PLR0911 -- one for each kind of subject
    """The way back to what it was about; nothing where that can't be."""
    say = context.texts.plain
    if form.act is Act.SWEEP and form.subject in acts.sweeps():
        return (tap(form.subject, Sweep(name=form.subject)),)
    if form.act in acts.NAMED:
        return (tap(say("button-operations-flags"), Flags()),)
    if not form.number:
        return ()
    if form.act in {Act.PROBE, Act.DRAIN, Act.UNDRAIN}:
        return (tap(say("button-operations-node"), Node(node=form.number)),)
    if form.act in {Act.UPDATE_AGAIN, Act.UPDATE_GIVE_UP}:
        return (tap(say("button-operations-update", number=form.subject), Update(update=form.number)),)
    if form.act is Act.MESSAGE_AGAIN:
        return (tap(say("button-operations-message", number=form.subject), Message(message=form.number)),)
    return (tap(say("button-finance-event", number=form.subject), Event(event=form.number)),)


def _home(context: UpdateContext) -> Button:
    return tap(context.texts.plain("button-operations"), Home())
