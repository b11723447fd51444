"""What an operator does to money: what each act asks for, and its transaction, tried before it is confirmed.

Trying is doing and undoing: the very transaction runs under a savepoint that is rolled back, so what is shown is what would happen,
refusals included. What is confirmed is run the same way, and stands only when it does what was shown.
"""

from __future__ import annotations

import html
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lib import currencies
from lib.bot.finance.callbacks import Act
from lib.domain import (
    adjustments,
    amounts,
    balance,
    customer_money,
    inbox,
    money_desk,
    refunds_by_hand,
    subscriptions,
    suspense_by_hand,
)
from lib.domain.adjustments import Adjustment
from lib.domain.amounts import Refusal
from lib.domain.operators import Action
from lib.domain.postings import Amount
from lib.domain.refund_requests import NotRefunded
from lib.domain.refund_requests import Why as WhyNotRefunded
from lib.domain.refunds_by_hand import Route, Wanted
from lib.domain.suspense_by_hand import By, Left, Refused, Why
from lib.payments import stars

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.chat_state import ChatState
    from lib.domain.outbox import Item

LEAST_REASON, MOST_REASON = 10, 500
_MOST_DIGITS = 18
KEEP, TAKE_OFF = "keep", "take"
"""What becomes of the access that a payment gave, when that goes back."""
MOST_BY_HAND = 100_000_000
"""Minor units of the books: the most that one act gives or takes by hand."""


class Field(StrEnum):
    """What an operator is asked for; the end of its texts' names."""

    ROUTE = "route"
    ACCESS = "access"
    ORDER = "order"
    ACCOUNT = "account"
    WORTH = "worth"
    AMOUNT = "amount"
    PAID = "paid"
    FEE = "fee"
    REASON = "reason"


FIELDS: dict[Act, tuple[Field, ...]] = {
    Act.ASSIGN: (Field.ORDER, Field.WORTH, Field.REASON),
    Act.CREDIT: (Field.ACCOUNT, Field.WORTH, Field.REASON),
    Act.GIVEN_BACK: (Field.REASON,),
    Act.PAID_BACK: (Field.PAID, Field.FEE, Field.REASON),
    Act.NOTE: (Field.REASON,),
    Act.PAID_OUT: (Field.PAID, Field.REASON),
    Act.OWNERS: (Field.REASON,),
    Act.GIVE: (Field.AMOUNT, Field.REASON),
    Act.TAKE: (Field.AMOUNT, Field.REASON),
    Act.REFUND: (Field.ROUTE, Field.ACCESS, Field.PAID, Field.FEE, Field.REASON),
    Act.ASK_BACK: (Field.REASON,),
    Act.TAKEN: (Field.REASON,),
    Act.AS_CHARGE: (Field.REASON,),
}
"""In the order in which they are asked for."""
OF_CUSTOMERS = frozenset({Act.GIVE, Act.TAKE})
"""Acts whose subject is a customer."""
OF_PAYMENTS = frozenset({Act.REFUND})
"""Acts whose subject is a payment; that of all others is an event."""
_REFUNDS = frozenset({Act.REFUND, Act.ASK_BACK, Act.TAKEN, Act.AS_CHARGE})
NEEDS: dict[Act, Action] = {
    act: Action.ADJUST if act in OF_CUSTOMERS else Action.REFUND if act in _REFUNDS else Action.END_SUSPENSE
    for act in Act
}
_TARGET = {Act.ASSIGN: Field.ORDER, Act.CREDIT: Field.ACCOUNT}


@dataclass(frozen=True, slots=True)
class Form:
    """An act as far as it is known; what is stored of the dialogue.

    Attributes:
        subject: the event or the customer.
        values: what was said for each field so far; amounts in minor units of prices.
    """

    act: Act
    subject: int
    values: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def begun(cls, act: Act, subject: int, target: int) -> Form:
        """With what the button named."""
        known = _TARGET.get(act)
        return cls(act, subject, {known.value: target} if target and known is not None else {})

    @classmethod
    def of(cls, state: ChatState) -> Form | None:
        """As it was stored; None where the dialogue is at something else."""
        with suppress(KeyError, TypeError, ValueError):
            return cls(Act(state.data["act"]), int(state.data["subject"]), dict(state.data["values"]))
        return None

    def data(self) -> dict[str, Any]:
        """To be stored."""
        return {"act": self.act.value, "subject": self.subject, "values": self.values}

    def having(self, said: Field, value: object) -> Form:
        """With one field more."""
        return replace(self, values={**self.values, said.value: value})


class NotDone(Exception):
    """It can't be done; the text says why, in the operator's language where it is a usual reason."""


class _Undo(RuntimeError):
    """Undoes what was done under the savepoint."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act does: before and after, and its postings, in words; the work that follows it."""

    lines: tuple[str, ...]
    follow_up: tuple[Item, ...] = ()


def missing(tx: Transaction, context: UpdateContext, form: Form) -> Field | None:
    """What is asked for next; None when the act is known."""
    for one in FIELDS[form.act]:
        if one.value not in form.values and _applies(tx, context, form, one):
            return one
    return None


def _applies(tx: Transaction, context: UpdateContext, form: Form, asked: Field) -> bool:
    if asked is Field.WORTH:
        return worth_currency(tx, context, form) is not None
    if form.act is Act.REFUND:
        return _applies_to_refund(tx, context, form, asked)
    if (
        asked is Field.PAID and form.act is Act.PAID_BACK
    ):  # in the currency that came all of it is paid back, so there is nothing to say
        lying = money_desk.lying(tx, form.subject)
        return lying is not None and lying.received.currency != context.prices.currency
    return True


def _applies_to_refund(tx: Transaction, context: UpdateContext, form: Form, asked: Field) -> bool:
    by_hand = form.values.get(Field.ROUTE.value) == Route.BANK.value
    payment = customer_money.payment(tx, form.subject)
    match asked:
        case Field.ACCESS:
            return payment is not None and payment.order_kind == "subscription"
        case Field.PAID:
            return by_hand and payment is not None and payment.currency != context.prices.currency
        case Field.FEE:
            return by_hand
        case _:
            return True


def choices(tx: Transaction, context: UpdateContext, form: Form, asked: Field) -> tuple[str, ...]:
    """What may be picked for a field; nothing where it is typed."""
    if asked is Field.ACCESS:
        return (KEEP, TAKE_OFF)
    if asked is Field.ROUTE:
        return tuple(route.value for route in routes(tx, context, payment_id=form.subject))
    return ()


def routes(
    tx: Transaction, context: UpdateContext, *, payment_id: int | None = None, event_id: int | None = None
) -> tuple[Route, ...]:
    """By which ways it may go back now; its provider's own only where that gives back."""
    found = refunds_by_hand.look(tx, payment_id=payment_id, event_id=event_id)
    if found is None:
        return ()
    able = context.gives_back is None or found.paid.provider in context.gives_back
    return tuple(route for route in found.routes if able or route is not Route.PROVIDER)


def worth_currency(tx: Transaction, context: UpdateContext, form: Form) -> str | None:
    """The currency in which an operator says what the money counts for; None where that is known."""
    lying, event = money_desk.lying(tx, form.subject), money_desk.event(tx, form.subject)
    wanted = context.prices.currency
    if form.act is Act.ASSIGN:
        order = money_desk.order(tx, int(form.values.get(Field.ORDER.value, 0)))
        wanted = order.currency if order is not None else wanted
    if lying is None or event is None or lying.received.currency == wanted:
        return None
    return None if event.currency == wanted and event.amount is not None else wanted


def accept(tx: Transaction, context: UpdateContext, form: Form, asked: Field, text: str) -> Form:
    """What was typed for a field.

    Raises:
        NotDone: it can't be that, and why.
    """
    match asked:
        case Field.ORDER:
            return form.having(asked, _order(tx, context, text))
        case Field.ACCOUNT:
            return form.having(asked, _account(tx, context, text))
        case Field.REASON:
            return form.having(asked, _reason(context, text))
        case Field.ROUTE | Field.ACCESS:
            raise NotDone(context.texts.html("finance-pick"))
        case _:
            currency = worth_currency(tx, context, form) if asked is Field.WORTH else None
            return form.having(asked, _amount(context, text, currency or context.prices.currency))


def _order(tx: Transaction, context: UpdateContext, text: str) -> int:
    said = text.strip().removeprefix("№").strip()
    number = int(said) if said.isascii() and said.isdigit() and len(said) <= _MOST_DIGITS else 0
    if number == 0 or money_desk.order(tx, number) is None:
        raise NotDone(context.texts.html("finance-no-order"))
    return number


def _account(tx: Transaction, context: UpdateContext, text: str) -> int:
    found = money_desk.find(tx, text, 2)
    if len(found) != 1:
        raise NotDone(context.texts.html("finance-several" if found else "finance-not-found"))
    return found[0].id


def _reason(context: UpdateContext, text: str) -> str:
    said = " ".join(text.split())
    if not LEAST_REASON <= len(said) <= MOST_REASON or not said.isprintable():
        raise NotDone(context.texts.html("finance-reason-refused", least=LEAST_REASON, most=MOST_REASON))
    return said


def _amount(context: UpdateContext, text: str, currency: str) -> int:
    read = amounts.read(text, currency)
    if not isinstance(read, Refusal) and currency == context.prices.currency and read > MOST_BY_HAND:
        read = Refusal.TOO_MUCH
    if isinstance(read, Refusal):
        raise NotDone(context.texts.html(f"finance-amount-{read.value}", currency=currency))
    return read


def attempt(
    tx: Transaction, context: UpdateContext, form: Form, version: int, *, expected: tuple[str, ...] | None
) -> Outcome | None:
    """Do it, and leave it done only when it does what was shown.

    Args:
        tx: of the update.
        context: of the operator.
        form: whole.
        version: of the dialogue at which it is done: it makes the act one.
        expected: the lines of what was shown; None undoes it, whatever it does.

    Returns:
        What it does, undone where nothing was expected; None when it would do something else than was shown, and is undone.

    Raises:
        NotDone: it is refused; nothing was changed.
    """
    outcome: list[Outcome] = []
    refused: list[str] = []
    try:
        with tx.savepoint("act"):
            before, newest = _facts(tx, context, form), money_desk.last_transfer(tx)
            try:
                follow_up = _DO[form.act](tx, context, form, version)
            except (Refused, adjustments.NotDone, NotRefunded) as error:
                refused.append(_why(context, error))
                raise _Undo from None
            lines = _changes(context, before, _facts(tx, context, form))
            lines += _entries(context, money_desk.posted(tx, newest, context.person.telegram_id))
            outcome.append(Outcome(tuple(lines), tuple(follow_up)))
            if expected is None or expected != outcome[0].lines:
                raise _Undo
    except _Undo:
        if refused:
            raise NotDone(context.texts.html("finance-refused", why=refused[0])) from None
        return outcome[0] if expected is None else None
    return outcome[0]


def _why(context: UpdateContext, error: Exception) -> str:
    """In the operator's language; a reason that no screen can lead to stays in the domain's words."""
    say = context.texts
    match error:
        case Refused() if error.why is not Why.OTHER:
            return say.plain(f"finance-why-{error.why.value}")
        case adjustments.NotDone() if error.is_too_low:
            return say.plain("finance-why-too-low")
        case NotRefunded() if error.why is not WhyNotRefunded.OTHER:
            return say.plain(f"finance-why-{error.why.value}")
        case _:
            return str(error)


def _by(context: UpdateContext, form: Form) -> By:
    return By(context.person.telegram_id, context.owners, str(form.values[Field.REASON.value]), context.correlation_id)


def _assign(tx: Transaction, context: UpdateContext, form: Form, _version: int) -> list[Item]:
    order, worth = int(form.values[Field.ORDER.value]), form.values.get(Field.WORTH.value)
    return suspense_by_hand.assign(tx, form.subject, order, _by(context, form), context.prices, worth=worth)


def _credit(tx: Transaction, context: UpdateContext, form: Form, _version: int) -> list[Item]:
    account, worth = int(form.values[Field.ACCOUNT.value]), form.values.get(Field.WORTH.value)
    by = _by(context, form)
    return suspense_by_hand.credit(tx, form.subject, account, by, context.prices.currency, worth=worth)


def _given_back(tx: Transaction, context: UpdateContext, form: Form, _version: int) -> list[Item]:
    suspense_by_hand.given_back(tx, form.subject, _by(context, form))
    return []


def _paid_back(tx: Transaction, context: UpdateContext, form: Form, _version: int) -> list[Item]:
    books = currencies.of(context.prices.currency)
    lying, said = money_desk.lying(tx, form.subject), form.values.get(Field.PAID.value)
    paid = Amount(books.booked(int(said)), books.code) if said is not None else (lying.received if lying else None)
    fee = int(form.values.get(Field.FEE.value) or 0)
    suspense_by_hand.paid_back(
        tx,
        form.subject,
        _by(context, form),
        paid or Amount(0, books.code),
        Amount(books.booked(fee), books.code) if fee else None,
    )
    return []


def left_by_itself(tx: Transaction, event_id: int) -> Left | None:
    """What a line of a provider's list says left its account and was no customer's; None of any other news."""
    stored = inbox.read_event(tx, event_id)
    line = stars.debit_of(stored) if stored is not None and stored.provider == stars.NAME else None
    return None if line is None else Left(line[0], Amount(line[1], stars.STAR))


def _left(tx: Transaction, form: Form) -> Left:
    left = left_by_itself(tx, form.subject)
    if left is None:
        raise Refused(f"event {form.subject} tells of nothing that left a provider by itself", Why.NOTHING_LEFT)
    return left


def _paid_out(tx: Transaction, context: UpdateContext, form: Form, _version: int) -> list[Item]:
    books = currencies.of(context.prices.currency)
    arrived = Amount(books.booked(int(form.values[Field.PAID.value])), books.code)
    suspense_by_hand.paid_out(tx, form.subject, _by(context, form), _left(tx, form), arrived)
    return []


def _owners(tx: Transaction, context: UpdateContext, form: Form, _version: int) -> list[Item]:
    suspense_by_hand.taken_by_owner(tx, form.subject, _by(context, form), _left(tx, form))
    return []


def _note(tx: Transaction, context: UpdateContext, form: Form, _version: int) -> list[Item]:
    if left_by_itself(tx, form.subject) is not None:
        raise Refused(f"event {form.subject} tells of money that left", Why.HAS_MONEY)
    suspense_by_hand.noted(tx, form.subject, _by(context, form))
    return []


def _adjustment(context: UpdateContext, form: Form, version: int) -> Adjustment:
    return Adjustment(
        account_id=form.subject,
        amount=currencies.of(context.prices.currency).booked(int(form.values[Field.AMOUNT.value])),
        operator=context.person.telegram_id,
        reason=str(form.values[Field.REASON.value]),
        name=f"bot:{context.account.id}:{version}",
    )


def _give(tx: Transaction, context: UpdateContext, form: Form, version: int) -> list[Item]:
    wanted = _adjustment(context, form, version)
    adjustments.credit(
        tx, wanted, context.owners, currency=context.prices.currency, correlation_id=context.correlation_id
    )
    return []


def _take(tx: Transaction, context: UpdateContext, form: Form, version: int) -> list[Item]:
    wanted = _adjustment(context, form, version)
    adjustments.debit(
        tx, wanted, context.owners, currency=context.prices.currency, correlation_id=context.correlation_id
    )
    return []


def _refund(tx: Transaction, context: UpdateContext, form: Form, _version: int) -> list[Item]:
    books, fee = currencies.of(context.prices.currency), int(form.values.get(Field.FEE.value) or 0)
    route = Route(str(form.values[Field.ROUTE.value]))
    wanted = Wanted(
        route,
        payment_id=form.subject,
        reverses_access=form.values.get(Field.ACCESS.value) == TAKE_OFF,
        paid=_sent(tx, context, form) if route is Route.BANK else None,
        fee=Amount(books.booked(fee), books.code) if fee else None,
    )
    made = refunds_by_hand.refund(tx, wanted, _by(context, form), context.prices, context.gives_back)
    return list(made.follow_up)


def _sent(tx: Transaction, context: UpdateContext, form: Form) -> Amount:
    """What left the bank: what was said, else all of what was paid, in the currency of the books."""
    books, said = currencies.of(context.prices.currency), form.values.get(Field.PAID.value)
    payment = customer_money.payment(tx, form.subject)
    paid = payment.amount if payment is not None and payment.currency == books.code else None
    return Amount(books.booked(int(said if said is not None else paid or 0)), books.code)


def _ask_back(tx: Transaction, context: UpdateContext, form: Form, _version: int) -> list[Item]:
    wanted = Wanted(Route.PROVIDER, event_id=form.subject)
    made = refunds_by_hand.refund(tx, wanted, _by(context, form), context.prices, context.gives_back)
    return list(made.follow_up)


def _taken(tx: Transaction, context: UpdateContext, form: Form, _version: int) -> list[Item]:
    made = refunds_by_hand.taken_by_provider(tx, form.subject, _by(context, form), context.prices)
    return list(made.follow_up)


def _as_charge(tx: Transaction, context: UpdateContext, form: Form, _version: int) -> list[Item]:
    made = refunds_by_hand.booked_as_its_charge(tx, form.subject, _by(context, form), context.prices)
    return list(made.follow_up)


_DO: dict[Act, Callable[[Transaction, UpdateContext, Form, int], list[Item]]] = {
    Act.ASSIGN: _assign,
    Act.CREDIT: _credit,
    Act.GIVEN_BACK: _given_back,
    Act.PAID_BACK: _paid_back,
    Act.NOTE: _note,
    Act.PAID_OUT: _paid_out,
    Act.OWNERS: _owners,
    Act.GIVE: _give,
    Act.TAKE: _take,
    Act.REFUND: _refund,
    Act.ASK_BACK: _ask_back,
    Act.TAKEN: _taken,
    Act.AS_CHARGE: _as_charge,
}

_Facts = dict[str, str]


def _facts(tx: Transaction, context: UpdateContext, form: Form) -> _Facts:
    """What an act may change, by what it is called on the screen."""
    say = context.texts
    found: _Facts = {}
    account_id = form.subject if form.act in OF_CUSTOMERS else form.values.get(Field.ACCOUNT.value)
    order_id = int(form.values.get(Field.ORDER.value, 0))
    if form.act in OF_PAYMENTS:
        payment = customer_money.payment(tx, form.subject)
        if payment is not None:
            label = say.plain("finance-payment-number", number=str(form.subject))
            found[label] = say.plain(f"charge-{payment.state.value}")
            order_id = payment.order_id or 0
    elif form.act not in OF_CUSTOMERS:
        event = money_desk.event(tx, form.subject)
        if event is not None:
            label = say.plain("finance-event-number", number=str(event.id))
            found[label] = say.plain(f"finance-event-{event_state(event)}")
            account_id = event.account_id if account_id is None else account_id
    order = money_desk.order(tx, order_id)
    if order is not None:
        label = say.plain("order-number", number=str(order.id))
        found[label] = say.plain(f"finance-order-{order.status}")
        account_id = order.account_id
    if account_id is not None:
        found |= _customer_facts(tx, context, int(account_id))
    return found


def _customer_facts(tx: Transaction, context: UpdateContext, account_id: int) -> _Facts:
    say, held = context.texts, subscriptions.current(tx, account_id)
    funds = say.booked(balance.of(tx, account_id).total, context.prices.currency)
    # to the day: an end that is reckoned from now is another one in each attempt
    until = say.day(held.expires_at, context.zone) if held is not None and held.is_current else "—"
    return {
        say.plain("finance-balance-of", number=str(account_id)): funds,
        say.plain("finance-access-of", number=str(account_id)): until,
    }


def event_state(event: money_desk.Event) -> str:
    """The end of its text's name."""
    if event.resolution is None and event.asked_back:
        return "asked-back"
    return (event.resolution or event.status).replace("_", "-")


def _changes(context: UpdateContext, before: _Facts, after: _Facts) -> list[str]:
    say = context.texts
    return [
        say.html("finance-change", what=label, before=before.get(label, "—"), after=value)
        for label, value in after.items()
        if before.get(label) != value
    ]


def _entries(context: UpdateContext, posted: list[money_desk.Entry]) -> list[str]:
    say = context.texts
    return [
        f"<code>{html.escape(one.debit)} → {html.escape(one.credit)}</code> {say.booked(one.amount, one.currency)}"
        for one in posted
    ]
