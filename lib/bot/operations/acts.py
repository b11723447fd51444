"""What an operator does to the work of the shop: each act's transaction, tried before it is confirmed.

Trying is doing and undoing, as at the desk for money (lib/bot/finance/acts.py): the very transaction runs under a savepoint that is
rolled back, so what would be refused is refused before it is confirmed, and what is confirmed stands only when it does what was shown.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lib import function_table
from lib.bot.operations.callbacks import Act
from lib.domain import flags, inbox, money_desk, nodes, operations, stored_work
from lib.domain.operators import Action
from lib.domain.stored_work import By, NotDone, Why
from lib.payments import registry
from lib.telegram import intake

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.chat_state import ChatState
    from lib.domain.outbox import Item

NEEDS: dict[Act, Action] = {
    Act.SWEEP: Action.OPERATE,
    Act.PROBE: Action.OPERATE,
    Act.DRAIN: Action.OPERATE,
    Act.UNDRAIN: Action.OPERATE,
    Act.ON: Action.SWITCH,
    Act.OFF: Action.SWITCH,
    Act.UPDATE_AGAIN: Action.OPERATE,
    Act.UPDATE_GIVE_UP: Action.OPERATE,
    Act.EVENT_AGAIN: Action.END_SUSPENSE,
    Act.EVENT_ASIDE: Action.END_SUSPENSE,
    Act.MESSAGE_AGAIN: Action.OPERATE,
}
WITH_REASON = frozenset({Act.DRAIN, Act.UNDRAIN, Act.UPDATE_GIVE_UP, Act.EVENT_ASIDE})
"""Acts for which a reason is typed."""
NAMED = frozenset({Act.SWEEP, Act.ON, Act.OFF})
"""Acts whose subject is a name; that of all others is a number."""
_MOST_DIGITS = 19
_UNREADABLE = (ArithmeticError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Form:
    """An act as far as it is known; what is stored of the dialogue."""

    act: Act
    subject: str
    reason: str = ""

    @classmethod
    def of(cls, state: ChatState) -> Form | None:
        """As it was stored; None where the dialogue is at something else."""
        with suppress(KeyError, TypeError, ValueError):
            return cls(Act(state.data["act"]), str(state.data["subject"]), str(state.data["reason"]))
        return None

    def data(self) -> dict[str, str]:
        """To be stored."""
        return {"act": self.act.value, "subject": self.subject, "reason": self.reason}

    def having(self, reason: str) -> Form:
        """With its reason."""
        return replace(self, reason=reason)

    @property
    def lacks_reason(self) -> bool:
        """Whether one is still to be typed."""
        return self.act in WITH_REASON and not self.reason

    @property
    def number(self) -> int:
        """The subject; 0, which is none, where it is no number."""
        said = self.subject
        number = int(said) if said.isascii() and said.isdigit() and len(said) <= _MOST_DIGITS else 0
        return number if number < 2**63 else 0


class _Undo(RuntimeError):
    """Undoes what was done under the savepoint."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act does, before and after in words; the work that follows it."""

    lines: tuple[str, ...]
    follow_up: tuple[Item, ...] = ()


def sweeps() -> dict[str, function_table.Function]:
    """The sweeps of this release, by name; the table was read before the transaction."""
    table = function_table.load()
    return {
        function_table.sweep_name(name): one for name, one in sorted(table.functions.items()) if table.is_sweep(name)
    }


def silent_after_s() -> dict[str, float]:
    """For how long each sweep may not have ended well."""
    return function_table.load().silent_after_s()


def shop_flags() -> tuple[str, ...]:
    """The switches that are no sweep's."""
    return (flags.PAYMENTS, flags.TRIAL)


def attempt(tx: Transaction, context: UpdateContext, form: Form, *, expected: tuple[str, ...] | None) -> Outcome | None:
    """Do it, and leave it done only when it does what was shown.

    Args:
        tx: of the update.
        context: of the operator.
        form: whole.
        expected: the lines of what was shown; None undoes it, whatever it does.

    Returns:
        What it does, undone where nothing was expected; None when it would do something else than was shown, and is undone.

    Raises:
        NotDone: it is refused; nothing was changed.
    """
    outcome: list[Outcome] = []
    refused: list[NotDone] = []
    try:
        with tx.savepoint("act"):
            before = _facts(tx, context, form)
            try:
                follow_up = _DO[form.act](tx, context, form)
            except NotDone as error:
                refused.append(error)
                raise _Undo from None
            lines = tuple(_changes(context, before, _facts(tx, context, form)))
            outcome.append(Outcome(lines, tuple(follow_up)))
            if expected is None or expected != lines:
                raise _Undo
    except _Undo:
        if refused:
            raise refused[0] from None
        return outcome[0] if expected is None else None
    return outcome[0]


def _by(context: UpdateContext, form: Form) -> By:
    return By(context.person.telegram_id, context.owners, form.reason, context.correlation_id)


def _sweep(tx: Transaction, context: UpdateContext, form: Form) -> list[Item]:
    found = sweeps().get(form.subject)
    if found is None:
        raise NotDone(Why.MISSING, f"sweep {form.subject}")
    return stored_work.ask_for_sweep(tx, form.subject, found.name, _by(context, form))


def _probe(tx: Transaction, context: UpdateContext, form: Form) -> list[Item]:
    stored_work.allow_probe(tx, form.number, _by(context, form))
    return []


def _drain(tx: Transaction, context: UpdateContext, form: Form) -> list[Item]:
    node = operations.node(tx, form.number)
    if node is None:
        raise NotDone(Why.MISSING, f"node {form.subject}")
    if not nodes.drain(tx, node.name, _by(context, form), undo=form.act is Act.UNDRAIN).written:
        raise NotDone(Why.SAME, f"node {form.subject}")
    return []


def _switch(tx: Transaction, context: UpdateContext, form: Form) -> list[Item]:
    known = sweeps()
    if form.subject not in {*shop_flags(), *(one.flag for one in known.values())}:
        raise NotDone(Why.MISSING, f"flag {form.subject}")
    stored_work.switch_flag(tx, form.subject, _by(context, form), on=form.act is Act.ON)
    return []


def _update_again(tx: Transaction, context: UpdateContext, form: Form) -> list[Item]:
    return stored_work.run_update_again(tx, form.number, _by(context, form))


def _update_give_up(tx: Transaction, context: UpdateContext, form: Form) -> list[Item]:
    stored_work.give_up_update(tx, form.number, _by(context, form), intake.tells_of_money)
    return []


def _event_again(tx: Transaction, context: UpdateContext, form: Form) -> list[Item]:
    return stored_work.run_event_again(tx, form.number, _by(context, form))


def _event_aside(tx: Transaction, context: UpdateContext, form: Form) -> list[Item]:
    stored = inbox.read_event(tx, form.number)
    if stored is None:
        raise NotDone(Why.MISSING, f"event {form.subject}")
    try:
        event = registry.read_again(stored)
    except _UNREADABLE:
        raise NotDone(Why.NO_AMOUNT, f"event {form.subject}") from None
    return stored_work.set_event_aside(tx, form.number, event, _by(context, form), context.prices)


def _message_again(tx: Transaction, context: UpdateContext, form: Form) -> list[Item]:
    return stored_work.run_message_again(tx, form.number, _by(context, form))


_DO: dict[Act, Callable[[Transaction, UpdateContext, Form], list[Item]]] = {
    Act.SWEEP: _sweep,
    Act.PROBE: _probe,
    Act.DRAIN: _drain,
    Act.UNDRAIN: _drain,
    Act.ON: _switch,
    Act.OFF: _switch,
    Act.UPDATE_AGAIN: _update_again,
    Act.UPDATE_GIVE_UP: _update_give_up,
    Act.EVENT_AGAIN: _event_again,
    Act.EVENT_ASIDE: _event_aside,
    Act.MESSAGE_AGAIN: _message_again,
}

_Facts = dict[str, str]


def _facts(tx: Transaction, context: UpdateContext, form: Form) -> _Facts:  # noqa: PLR0911 -- one for each kind of subject
    """What an act may change, by what it is called on the screen; no ages, which pass by themselves."""
    say = context.texts
    match form.act:
        case Act.UPDATE_AGAIN | Act.UPDATE_GIVE_UP:
            kept = operations.update(tx, form.number)
            name = say.plain("operations-update-number", number=form.subject)
            return {} if kept is None else {name: say.plain(f"operations-update-{kept.state}")}
        case Act.EVENT_AGAIN | Act.EVENT_ASIDE:
            return _event_facts(tx, context, form)
        case Act.MESSAGE_AGAIN:
            told = operations.one_told(tx, form.number)
            name = say.plain("operations-message-number", number=form.subject)
            return {} if told is None else {name: say.plain(f"operations-message-{told.status}")}
        case Act.PROBE:
            node = operations.node(tx, form.number)
            if node is None:
                return {}
            is_open = node.open_s > 0 or node.reconcile_s > 0
            name = say.plain("operations-breaker-of", name=node.name)
            return {name: say.plain("operations-breaker-open" if is_open else "operations-breaker-probe")}
        case Act.DRAIN | Act.UNDRAIN:
            node = operations.node(tx, form.number)
            name = say.plain("operations-state-of", name="" if node is None else node.name)
            return {} if node is None else {name: say.plain(f"operations-node-{node.state}")}
        case Act.ON | Act.OFF:
            return {form.subject: say.plain("operations-on" if flags.enabled(tx, form.subject) else "operations-off")}
        case _:
            return {}


def _event_facts(tx: Transaction, context: UpdateContext, form: Form) -> _Facts:
    say = context.texts
    event = operations.one_news(tx, form.number)
    if event is None:
        return {}
    lying = money_desk.lying(tx, form.number)
    state = say.plain(f"finance-event-{event.status.replace('_', '-')}")
    amount = "—" if lying is None else say.booked(lying.received.minor, lying.received.currency)
    return {
        say.plain("finance-event-number", number=form.subject): state,
        say.plain("operations-suspense"): amount,
    }


def _changes(context: UpdateContext, before: _Facts, after: _Facts) -> list[str]:
    say = context.texts
    return [
        say.html("finance-change", what=label, before=before.get(label, "—"), after=value)
        for label, value in after.items()
        if before.get(label) != value
    ]
