"""What operators see of a customer: the card, the history. Reading changes nothing but the operator's own place."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from lib.bot.customers.callbacks import Begin, Card, History, Home
from lib.bot.routers import operator
from lib.bot.screen import Screen, tap
from lib.domain import access_desk, chat_state, money_desk, operators, revoking
from lib.domain.access_desk import NEEDS

if TYPE_CHECKING:
    from collections.abc import Collection

    from lib.bot.screen import Button
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.access_desk import Event, State
    from lib.domain.money_desk import Found
    from lib.domain.operators import Role

_PAGE = 10
_FOUND = 5


def ask_whom(tx: Transaction, context: UpdateContext, toast: str = "") -> Screen:
    """The desk: the next text is whom to look for."""
    say = context.texts
    place = chat_state.read(tx, context.account.id)
    chat_state.swap(tx, context.account.id, place.version, operator.CUSTOMER_SEARCH, {})
    return Screen(say.html("customers-ask"), (), toast=say.plain(toast) if toast else "")


def found(tx: Transaction, context: UpdateContext, held: Collection[Role], text: str) -> Screen:
    """Whom a text names: the card of the only one, or a choice."""
    say = context.texts
    known = money_desk.find(tx, text, _FOUND)
    if len(known) == 1:
        return card(tx, context, held, known[0].id)
    if not known:
        return Screen(say.html("customers-not-found"), ((home(context),),))
    choice = tuple((tap(_name(one), Card(account=one.id)),) for one in known)
    return Screen(say.html("customers-several"), (*choice, (home(context),)))


def card(tx: Transaction, context: UpdateContext, held: Collection[Role], account_id: int, toast: str = "") -> Screen:
    """One customer's access and ban, and what this operator may do."""
    say = context.texts
    one = money_desk.customer(tx, account_id)
    if one is None:
        return Screen(say.html("customers-not-found"), ((home(context),),))
    now = access_desk.state(tx, account_id)
    parts = [
        say.html(
            "customers-who",
            name=one.first_name or "—",
            username=f"@{one.username}" if one.username else "—",
            id=str(one.telegram_id or "—"),
            number=str(one.id),
        ),
        "\n".join(state_lines(context, now)),
    ]
    if (ban := revoking.ban_of(tx, account_id)) is not None:
        parts.append(
            say.html("customers-banned", reason=ban.reason, when=context.moment(ban.since), number=str(ban.by))
        )
    buttons = tuple(
        tap(say.plain(f"button-customers-{change.value}"), Begin(change=change, account=account_id))
        for change in access_desk.possible(now)
        if operators.may(held, NEEDS[change])
    )
    rows = tuple(buttons[at : at + 2] for at in range(0, len(buttons), 2))
    past = tap(say.plain("button-customers-history"), History(account=account_id, before=0))
    return Screen("\n\n".join(parts), (*rows, (past, home(context))), toast=say.plain(toast) if toast else "")


def state_lines(context: UpdateContext, now: State) -> list[str]:
    """Access as it is, a line a fact: of the card, and of before and after.

    To the day: an end that is reckoned from now is another one in each attempt.
    """
    say = context.texts
    if now.expires_at is None:
        return [say.html("customers-no-access")]
    until = say.day(now.expires_at, context.zone)
    lines = [say.html(f"customers-access-{now.status}", tariff=say.tariff(now.tariff), until=until)]
    if now.frozen_until is not None:
        lines.append(say.html("customers-frozen-until", until=say.day(now.frozen_until, context.zone)))
    return lines


def history(tx: Transaction, context: UpdateContext, account_id: int, before: int) -> Screen:
    """What changed the access, newest first: what, when, from which end to which, by whom."""
    say = context.texts
    rows = access_desk.history(tx, account_id, before=before or access_desk.FIRST, most=_PAGE + 1)
    page = rows[:_PAGE]
    head = say.html("customers-history" if page else "customers-history-none", number=str(account_id))
    text = "\n".join((head, *(_line(context, one) for one in page)))
    older = (
        ((tap(say.plain("button-older"), History(account=account_id, before=page[-1].id)),),)
        if len(rows) > _PAGE
        else ()
    )
    return Screen(text, (*older, (to_card(context, account_id), home(context))))


def _line(context: UpdateContext, one: Event) -> str:
    say = context.texts
    if one.actor_id is not None:
        by = say.plain("customers-by-operator", number=str(one.actor_id))
    elif one.payment_id is not None:
        by = say.plain("customers-by-payment", number=str(one.payment_id))
    else:
        by = say.plain("customers-by-itself")
    return say.html(
        "customers-history-line",
        when=context.moment(one.created_at),
        what=say.plain(f"customers-event-{one.event}"),
        tariff=say.tariff(one.tariff),
        before="—" if one.expires_before is None else context.moment(one.expires_before),
        after=context.moment(one.expires_at),
        about=by,
    )


def home(context: UpdateContext) -> Button:
    """Back to the desk."""
    return tap(context.texts.plain("button-customers"), Home())


def to_card(context: UpdateContext, account_id: int) -> Button:
    """Back to the customer."""
    return tap(context.texts.plain("button-customers-card", number=str(account_id)), Card(account=account_id))


def _name(one: Found) -> str:
    return html.unescape(f"{one.first_name} {'@' + one.username if one.username else ''} · {one.id}")[:60]
