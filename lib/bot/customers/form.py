"""The dialogue of one change: what it lacks is asked for, then it is shown with before and after, and confirmed.

Its place is the operator's own, in Postgres; the confirm button carries the place's version, which is also the change's name: two
taps, or an update that is delivered again, find what the first one did.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lib.bot.customers import views
from lib.bot.customers.callbacks import Card, Confirm, PickDays, PickTariff
from lib.bot.routers import operator
from lib.bot.screen import Rendered, Screen, tap
from lib.domain import access_desk, chat_state
from lib.domain.access_desk import HAS_DAYS, MOST_DAYS, Asked, Change, NotMade

if TYPE_CHECKING:
    from lib.bot.screen import Rows
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.access_desk import Made
    from lib.domain.chat_state import ChatState

CONFIRM, DONE = "customers.confirm", "customers.done"
PLACES = frozenset({operator.CUSTOMER_FORM, CONFIRM, DONE})
LEAST_REASON, MOST_REASON = 10, 500
_DAYS = {Change.GRANT: (1, 7, 30, 90), Change.FREEZE: (3, 7, 14, 30)}


@dataclass(frozen=True, slots=True)
class Form:
    """A change as far as it is known; what is stored of the dialogue."""

    change: Change
    account: int
    values: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, state: ChatState) -> Form | None:
        """As it was stored; None where the dialogue is at something else."""
        if state.state not in PLACES:
            return None
        with suppress(KeyError, TypeError, ValueError):
            return cls(Change(state.data["change"]), int(state.data["account"]), dict(state.data["values"]))
        return None

    def data(self) -> dict[str, Any]:
        """To be stored."""
        return {"change": self.change.value, "account": self.account, "values": self.values}

    def having(self, name: str, value: object) -> Form:
        """With one value more."""
        return replace(self, values={**self.values, name: value})

    @property
    def missing(self) -> str | None:
        """What is asked for next."""
        wanted = (
            *(("tariff",) if self.change is Change.GRANT else ()),
            *(("days",) if self.change in HAS_DAYS else ()),
            "reason",
        )
        return next((one for one in wanted if one not in self.values), None)


def begin(tx: Transaction, context: UpdateContext, change: Change, account: int) -> Screen:
    """From a card's button."""
    return _next(tx, context, Form(change, account))


def typed(tx: Transaction, context: UpdateContext, state: ChatState, text: str) -> Screen:
    """A text for what was asked last; one that can't be it is asked for again, with the reason."""
    form = Form.of(state)
    if form is None or form.missing not in {"days", "reason"}:
        return views.ask_whom(tx, context, "toast-stale")
    if form.missing == "days":
        said = text.strip()
        if not (said.isascii() and said.isdigit() and len(said) <= len(str(MOST_DAYS)) and 0 < int(said) <= MOST_DAYS):
            return _ask(context, form, state, context.texts.html("customers-days-refused", most=MOST_DAYS))
        return _next(tx, context, form.having("days", int(said)))
    reason = " ".join(text.split())
    if not LEAST_REASON <= len(reason) <= MOST_REASON or not reason.isprintable():
        refused = context.texts.html("finance-reason-refused", least=LEAST_REASON, most=MOST_REASON)
        return _ask(context, form, state, refused)
    return _next(tx, context, form.having("reason", reason))


def pick(tx: Transaction, context: UpdateContext, pressed: PickTariff | PickDays) -> Screen | Rendered:
    """One of the answers that are offered."""
    state = chat_state.read(tx, context.account.id)
    form = Form.of(state)
    name, value = ("tariff", pressed.tariff) if isinstance(pressed, PickTariff) else ("days", pressed.days)
    fits = form is not None and form.missing == name and (name == "days" or value in context.prices.tariffs)
    if form is None or not fits or state.state != operator.CUSTOMER_FORM or state.version != pressed.version:
        return show(tx, context, state, "toast-stale")
    return _next(tx, context, form.having(name, value))


def confirm(tx: Transaction, context: UpdateContext, version: int) -> Screen | Rendered:
    """Make what the confirm screen showed: once, and nothing else."""
    state = chat_state.read(tx, context.account.id)
    form = Form.of(state)
    if form is None or state.state != CONFIRM or state.version != version:
        second_tap = state.state == DONE and state.version == version + 1
        return show(tx, context, state, "" if second_tap else "toast-stale")
    asked = _asked(context, form, version)
    try:
        if _lines(context, access_desk.try_out(tx, asked, context.prices, context.owners, asked.once)) != list(
            state.data.get("lines", ())
        ):
            return _next(tx, context, form, "toast-finance-changed")
        made = access_desk.make(tx, asked, context.prices, context.owners, asked.once)
    except NotMade as refusal:
        return _refused(context, form, refusal)
    lines = _lines(context, made)
    if chat_state.swap(tx, context.account.id, version, DONE, {**form.data(), "lines": lines}) is None:
        raise RuntimeError("the operator's place moved under the lock of their account")
    return Rendered(_done(context, form, lines), made.follow_up)


def show(tx: Transaction, context: UpdateContext, state: ChatState, toast: str = "") -> Screen:
    """The change where it stands now."""
    form = Form.of(state)
    if form is None:
        return views.ask_whom(tx, context, toast)
    lines = list(state.data.get("lines", ()))
    if state.state == DONE:
        return _done(context, form, lines, toast)
    if state.state == CONFIRM:
        return _confirm(context, form, lines, state.version, toast)
    return _ask(context, form, state, toast=toast)


def _next(tx: Transaction, context: UpdateContext, form: Form, toast: str = "") -> Screen:
    """Ask for what is missing, or show what would be done."""
    state = chat_state.read(tx, context.account.id)
    if form.missing is not None:
        moved = chat_state.swap(tx, context.account.id, state.version, operator.CUSTOMER_FORM, form.data())
        return views.ask_whom(tx, context, "toast-stale") if moved is None else _ask(context, form, moved)
    asked = _asked(context, form, state.version + 1)
    try:
        lines = _lines(context, access_desk.try_out(tx, asked, context.prices, context.owners, asked.once))
    except NotMade as refusal:
        return _refused(context, form, refusal)
    moved = chat_state.swap(tx, context.account.id, state.version, CONFIRM, {**form.data(), "lines": lines})
    if moved is None:
        return views.ask_whom(tx, context, "toast-stale")
    return _confirm(context, form, lines, moved.version, toast)


def _asked(context: UpdateContext, form: Form, version: int) -> Asked:
    return Asked(
        form.change,
        form.account,
        context.person.telegram_id,
        str(form.values["reason"]),
        f"desk-{context.account.id}-{version}",
        tariff=str(form.values.get("tariff", "")),
        days=int(form.values.get("days", 0)),
    )


def _lines(context: UpdateContext, made: Made) -> list[str]:
    say = context.texts
    before, after = views.state_lines(context, made.before), views.state_lines(context, made.after)
    lines = [say.html("customers-before"), *before, "", say.html("customers-after"), *after]
    if made.before.ban_reason != made.after.ban_reason:
        lines.append(say.html("customers-will-be-banned" if made.after.ban_reason else "customers-will-be-unbanned"))
    if made.after.generation > made.before.generation > 0:
        lines.append(say.html("customers-new-key"))
    return lines


def _ask(context: UpdateContext, form: Form, state: ChatState, refusal: str = "", *, toast: str = "") -> Screen:
    say = context.texts
    text = f"{_title(context, form)}\n\n{say.html(f'customers-ask-{form.missing}')}"
    offered: Rows = ()
    if form.missing == "tariff":
        offered = tuple(
            (tap(say.tariff(name), PickTariff(tariff=name, version=state.version)),) for name in context.prices.tariffs
        )
    if form.missing == "days":
        most = context.prices.access.freeze_most_days if form.change is Change.FREEZE else MOST_DAYS
        offered = (
            tuple(
                tap(say.plain("period", days=days), PickDays(days=days, version=state.version))
                for days in _DAYS[form.change]
                if days <= most
            ),
        )
    return Screen(
        f"{refusal}\n\n{text}" if refusal else text,
        (*offered, (views.to_card(context, form.account), views.home(context))),
        toast=say.plain(toast) if toast else "",
    )


def _confirm(context: UpdateContext, form: Form, lines: list[str], version: int, toast: str) -> Screen:
    say = context.texts
    reason = say.html(
        "customers-reason-seen" if form.change is Change.BAN else "finance-reason",
        reason=str(form.values.get("reason", "")),
    )
    rows: Rows = (
        (tap(say.plain("button-finance-confirm"), Confirm(version=version)),),
        (tap(say.plain("button-finance-cancel"), Card(account=form.account)),),
    )
    text = "\n\n".join((f"{_title(context, form)}\n{reason}", "\n".join(lines)))
    return Screen(text, rows, toast=say.plain(toast) if toast else "")


def _done(context: UpdateContext, form: Form, lines: list[str], toast: str = "") -> Screen:
    say = context.texts
    text = "\n\n".join((f"{say.html('finance-done')}\n{_title(context, form)}", "\n".join(lines)))
    return Screen(
        text,
        ((views.to_card(context, form.account), views.home(context)),),
        toast=say.plain(toast) if toast else "",
    )


def _refused(context: UpdateContext, form: Form, refusal: NotMade) -> Screen:
    say = context.texts
    known = f"customers-why-{refusal.why}"
    why = say.plain(known) if say.has(known) else str(refusal)
    text = f"{_title(context, form)}\n\n{say.html('finance-refused', why=why)}"
    return Screen(text, ((views.to_card(context, form.account), views.home(context)),))


def _title(context: UpdateContext, form: Form) -> str:
    return context.texts.html(f"customers-title-{form.change.value}", number=str(form.account))
