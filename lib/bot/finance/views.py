"""What operators read of money: the desk, what waits, one event, a customer, the books. Reading changes nothing."""

from __future__ import annotations

import html
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lib.bot import money_screens, order_screen
from lib.bot.finance import acts
from lib.bot.finance.callbacks import (
    Act,
    Begin,
    Books,
    Customer,
    Differences,
    Event,
    Home,
    Month,
    Payment,
    Search,
    Statement,
    Waiting,
)
from lib.bot.routers import operator
from lib.bot.screen import Screen, tap
from lib.domain import (
    balance,
    chat_state,
    customer_money,
    money_desk,
    operators,
    reconciliation,
    refunds_by_hand,
    reports,
    subscriptions,
)
from lib.domain import books as ledger_books
from lib.domain.money_desk import FIRST
from lib.domain.operators import Action

if TYPE_CHECKING:
    from collections.abc import Collection
    from decimal import Decimal

    from lib.bot.screen import Button, Rows
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.customer_money import Charge
    from lib.domain.money_desk import Event as News
    from lib.domain.money_desk import Found, Line, OrderLine
    from lib.domain.operators import Role
    from lib.texts import Texts

_PAGE, _LINES, _FOUND, _LAST = 6, 8, 6, 5
_MOST_ENTRIES = 20
_LONGEST = 120
"""Characters of a text of others in a list: an id of a charge, a reason."""


def home(tx: Transaction, context: UpdateContext, held: Collection[Role], toast: str = "") -> Screen:
    """The desk, with what the person's roles may; `toast` is the id of a text."""
    say = context.texts
    parts, rows = [say.html("finance")], []
    if operators.may(held, Action.SEE_MONEY):
        waits = money_desk.counts(tx)
        parts.append(say.html("finance-waits", unmatched=waits.unmatched, duplicate=waits.duplicate))
        rows += [
            (tap(say.plain("button-finance-waiting"), Waiting(before=0)),),
            (tap(say.plain("button-finance-books"), Books()),),
        ]
    if operators.may(held, Action.SEE_CUSTOMER):
        rows.append((tap(say.plain("button-finance-search"), Search()),))
    if not rows:
        parts.append(say.html("finance-nothing"))
    return Screen("\n\n".join(parts), tuple(rows), toast=_toast(context, toast))


def waiting(tx: Transaction, context: UpdateContext, before: int) -> Screen:
    """What waits, a page."""
    say = context.texts
    found = money_desk.waiting(tx, before=before or FIRST, most=_PAGE + 1)
    page = found[:_PAGE]
    lines = [
        say.html(
            "finance-waiting-line",
            number=str(one.id),
            when=context.moment(one.received_at),
            amount=_came(tx, context, one),
            provider=one.provider,
            status=say.plain(f"finance-event-{acts.event_state(one)}"),
        )
        for one in page
    ]
    text = "\n".join((say.html("finance-waiting"), *lines)) if page else say.html("finance-waiting-none")
    choice = tuple(tap(say.plain("button-finance-event", number=str(one.id)), Event(event=one.id)) for one in page)
    rows: Rows = tuple(choice[at : at + 2] for at in range(0, len(choice), 2))
    older = ((tap(say.plain("button-older"), Waiting(before=page[-1].id)),),) if len(found) > _PAGE else ()
    return Screen(text, (*rows, *older, (_home(context),)))


def event(tx: Transaction, context: UpdateContext, event_id: int, toast: str = "") -> Screen:
    """One event, with every way out of suspense that it has."""
    say = context.texts
    one = money_desk.event(tx, event_id)
    if one is None:
        return Screen(say.html("finance-not-found"), ((_home(context),),), toast=_toast(context, "toast-stale"))
    lying = money_desk.lying(tx, event_id)
    lines = [
        say.html("finance-event", number=str(one.id), provider=one.provider, charge=_short(one.external_id)),
        say.html("finance-event-when", when=context.moment(one.received_at)),
        say.html("finance-event-state", state=say.plain(f"finance-event-{acts.event_state(one)}")),
    ]
    if one.amount is not None:
        lines.append(say.html("finance-event-said", amount=money_screens.price(say, int(one.amount), one.currency)))
    if lying is not None:
        lines.append(say.html("finance-event-lies", amount=say.booked(lying.received.minor, lying.received.currency)))
        if lying.fee is not None:
            lines.append(say.html("finance-event-fee", amount=say.booked(lying.fee.minor, lying.fee.currency)))
    if one.reason:
        lines.append(say.html("finance-event-why", why=_short(one.reason)))
    order = money_desk.order(tx, one.order_id) if one.order_id is not None else None
    if order is not None:
        lines.append(_order(context, order))
    if one.payer_telegram_id is not None:
        lines.append(say.html("finance-event-payer", number=str(one.payer_telegram_id)))
    known = (
        ((tap(say.plain("button-finance-customer", number=str(one.account_id)), Customer(account=one.account_id)),),)
        if one.account_id is not None
        else ()
    )
    left = acts.left_by_itself(tx, event_id) if lying is None else None
    if left is not None:
        lines.append(say.html("finance-event-left", amount=say.booked(left.amount.minor, left.amount.currency)))
    ways = _ways(context, one, order, lies=lying is not None, left=left is not None)
    ways = (*ways, *_ways_back(tx, context, one, lies=lying is not None))
    back = tap(say.plain("button-finance-waiting"), Waiting(before=0))
    return Screen("\n".join(lines), (*ways, *known, (back, _home(context))), toast=_toast(context, toast))


def _ways(context: UpdateContext, one: News, order: OrderLine | None, *, lies: bool, left: bool) -> Rows:
    say = context.texts
    if one.resolution is not None or one.asked_back:
        return ()
    if not lies:
        if one.status != "unmatched" or one.amount is not None:
            return ()
        ends = (Act.PAID_OUT, Act.OWNERS) if left else (Act.NOTE,)
        return tuple((_act(context, act, one.id),) for act in ends)
    rows: list[tuple[Button, ...]] = []
    if one.status == "unmatched":
        if order is not None and order.status != "paid":
            label = say.plain("button-finance-assign-to", number=str(order.id))
            rows.append((tap(label, Begin(act=Act.ASSIGN, subject=one.id, target=order.id)),))
        rows.append((_act(context, Act.ASSIGN, one.id),))
    if one.account_id is not None:
        label = say.plain("button-finance-credit-to", number=str(one.account_id))
        rows.append((tap(label, Begin(act=Act.CREDIT, subject=one.id, target=one.account_id)),))
    rows += [
        (_act(context, Act.CREDIT, one.id),),
        (_act(context, Act.GIVEN_BACK, one.id),),
        (_act(context, Act.PAID_BACK, one.id),),
    ]
    return tuple(rows)


def _ways_back(tx: Transaction, context: UpdateContext, one: News, *, lies: bool) -> Rows:
    """What has to do with its provider giving it back, or having done so."""
    ways = []
    if one.resolution is None and lies and acts.routes(tx, context, event_id=one.id):
        ways.append((_act(context, Act.ASK_BACK, one.id),))
    if refunds_by_hand.tells_of_a_return(tx, one.id):
        ways.append((_act(context, Act.AS_CHARGE, one.id),))
    return tuple(ways)


def _act(context: UpdateContext, act: Act, subject: int) -> Button:
    return tap(context.texts.plain(f"button-finance-{act.value}"), Begin(act=act, subject=subject))


def ask_whom(tx: Transaction, context: UpdateContext, refusal: str = "") -> Screen:
    """The next text of the operator says whom."""
    say = context.texts
    state = chat_state.read(tx, context.account.id)
    chat_state.swap(tx, context.account.id, state.version, operator.SEARCH, {})
    text = say.html("finance-search")
    return Screen(f"{refusal}\n\n{text}" if refusal else text, ((_home(context),),))


def found(tx: Transaction, context: UpdateContext, held: Collection[Role], text: str) -> Screen:
    """Whom a text means: one is shown, of several one is chosen."""
    say = context.texts
    known = money_desk.find(tx, text, _FOUND)
    if not known:
        return ask_whom(tx, context, say.html("finance-not-found"))
    if len(known) == 1:
        return customer(tx, context, held, known[0].id)
    choice = tuple(
        (tap(say.plain("button-finance-customer", number=str(one.id)), Customer(account=one.id)),) for one in known
    )
    lines = [_who(context, one) for one in known]
    return Screen("\n".join((say.html("finance-several"), *lines)), (*choice, (_home(context),)))


def customer(tx: Transaction, context: UpdateContext, held: Collection[Role], account_id: int) -> Screen:
    """One customer's money, and what may be done about it."""
    say = context.texts
    one = money_desk.customer(tx, account_id)
    if one is None:
        return Screen(say.html("finance-not-found"), ((_home(context),),), toast=_toast(context, "toast-stale"))
    books, wallets = context.prices.currency, balance.of(tx, account_id)
    access = subscriptions.current(tx, account_id)
    until = context.moment(access.expires_at) if access is not None else "—"
    head = [
        _who(context, one),
        say.html(
            "finance-wallets",
            topped_up=say.booked(wallets.topped_up, books),
            earned=say.booked(wallets.earned, books),
        ),
        say.html("finance-access", until=until),
    ]
    charges = customer_money.charges(tx, account_id, _LAST)
    moves = customer_money.moves(tx, account_id, most=_LAST)
    ordered = money_desk.orders_of(tx, account_id, _LAST)
    parts = ["\n".join(head)]
    if ordered:
        parts.append("\n".join((say.html("finance-orders"), *(_order(context, order) for order in ordered))))
    if charges:
        parts.append("\n".join((say.html("charges"), *(_charge(context, charge) for charge in charges))))
    if moves:
        lines = (
            say.html(
                "move",
                when=context.moment(move.booked_at),
                amount=money_screens.signed(say, move.amount, books),
                what=money_screens.words(say, move) + (f" ({_short(move.reason)})" if move.reason else ""),
            )
            for move in moves
        )
        parts.append("\n".join((say.html("moves"), *lines)))
    rows: list[tuple[Button, ...]] = []
    if operators.may(held, Action.ADJUST):
        rows.append((_act(context, Act.GIVE, account_id), _act(context, Act.TAKE, account_id)))
    if operators.may(held, Action.SEE_MONEY):
        waits = [charge.event_id for charge in charges if charge.state is customer_money.State.WAITING]
        paid = [charge.payment_id for charge in charges if charge.payment_id is not None]
        choice = tuple(tap(say.plain("button-finance-payment", number=str(one)), Payment(payment=one)) for one in paid)
        rows += [choice[at : at + 2] for at in range(0, len(choice), 2)]
        rows += [
            (tap(say.plain("button-finance-event", number=str(event_id)), Event(event=event_id)),)
            for event_id in waits
            if event_id is not None
        ]
    return Screen("\n\n".join(parts), (*rows, (tap(say.plain("button-finance-search"), Search()), _home(context))))


def payment(tx: Transaction, context: UpdateContext, held: Collection[Role], payment_id: int) -> Screen:
    """One payment: what became of it, everything that was booked for it, and the ways in which it may go back."""
    say = context.texts
    one = customer_money.payment(tx, payment_id)
    order = None if one is None or one.order_id is None else money_desk.order(tx, one.order_id)
    if one is None or order is None:
        return Screen(say.html("finance-not-found"), ((_home(context),),), toast=_toast(context, "toast-stale"))
    booked = [
        f"<code>{html.escape(move.debit)} → {html.escape(move.credit)}</code> {say.booked(move.amount, move.currency)}"
        for move in ledger_books.moves_of_order(tx, order.id)[:_MOST_ENTRIES]
    ]
    rows: list[tuple[Button, ...]] = []
    if operators.may(held, Action.REFUND):
        if acts.routes(tx, context, payment_id=payment_id):
            rows.append((_act(context, Act.REFUND, payment_id),))
        if one.event_id is not None and one.state is not customer_money.State.CHARGED_BACK:
            rows.append((_act(context, Act.TAKEN, one.event_id),))
    account = tap(
        say.plain("button-finance-customer", number=str(order.account_id)), Customer(account=order.account_id)
    )
    parts = [_charge(context, one), _order(context, order), "\n".join((say.html("finance-booked"), *booked))]
    return Screen("\n\n".join(parts), (*rows, (account, _home(context))))


def _charge(context: UpdateContext, charge: Charge) -> str:
    say = context.texts
    return say.html(
        "finance-charge",
        number=str(charge.payment_id or f"e{charge.event_id}"),
        when=context.moment(charge.at),
        amount=money_screens.price(say, charge.amount, charge.currency),
        provider=charge.provider,
        charge=_short(charge.charge_id),
        state=say.plain(f"charge-{charge.state.value}"),
    )


def _who(context: UpdateContext, one: Found) -> str:
    return context.texts.html(
        "finance-customer",
        number=str(one.id),
        name=one.first_name or "—",
        username=f"@{one.username}" if one.username else "—",
        id=str(one.telegram_id) if one.telegram_id is not None else "—",
    )


def _order(context: UpdateContext, order: OrderLine) -> str:
    say = context.texts
    what = order_screen.words(say, order, context.prices.currency)
    price = say.money(order.price, order.currency)
    status = say.plain(f"finance-order-{order.status}")
    return say.html("finance-order", number=str(order.id), what=what, price=price, status=status)


def books(tx: Transaction, context: UpdateContext) -> Screen:
    """The trial balance of now: every account that moved, each currency by itself; debits and credits are one sum."""
    say = context.texts
    lines: list[str] = []
    sums: dict[str, list[int]] = {}
    for one in ledger_books.trial_balance(tx):
        if one.currency not in sums:
            lines.append(f"\n<b>{html.escape(one.currency)}</b>")
        total = sums.setdefault(one.currency, [0, 0])
        total[0] += one.debit
        total[1] += one.credit
        lines.append(f"<code>{html.escape(one.code)}</code> {say.booked(one.balance, one.currency)}")
    lines += [
        say.html(
            "finance-books-sum" if debit == credit else "finance-books-differ",
            currency=currency,
            debit=say.booked(debit, currency),
            credit=say.booked(credit, currency),
        )
        for currency, (debit, credit) in sums.items()
    ]
    text = "\n".join((say.html("finance-books"), *lines)) if lines else say.html("finance-books-none")
    choice = tuple(
        tap(f"{one.code} · {one.currency}", Statement(ledger_account=one.id, before=0))
        for one in money_desk.ledger_accounts(tx)
    )
    rows: Rows = tuple(choice[at : at + 2] for at in range(0, len(choice), 2))
    month_of = tap(say.plain("button-finance-month"), Month(month=0))
    differ = tap(say.plain("button-finance-differences"), Differences(after=0))
    return Screen(text, (*rows, (month_of, differ), (_home(context),)))


_SALES = "revenue"
_MOST_SALES, _MOST_ACCOUNTS = 24, 40
"""Lines of a month: Telegram takes 4096 characters; `make books MONTH=` has all of them."""


def month(tx: Transaction, context: UpdateContext, which: int) -> Screen:
    """What a month of the books earned and spent, and every account before and after: each currency by itself, with its booked value."""
    say, found = context.texts, reports.month(tx, _day_of(which))
    books_currency = context.prices.currency
    state = say.plain("finance-month-closed" if found.is_closed else "finance-month-open")
    lines = [say.html("finance-month", month=f"{found.first:%Y-%m}", state=state)]
    sales = [one for one in found.results if one.code == _SALES]
    if sales:
        lines.append(say.html("finance-month-sales"))
    lines += [
        say.html(
            "finance-month-sale",
            method=one.method or "—",
            tariff=one.tariff or "—",
            amount=_valued(context, one.amount, one.currency, one.value, books_currency),
            count=one.count,
        )
        for one in sales[:_MOST_SALES]
    ]
    others = [one for one in found.standings if one.type in _EARNED_OR_SPENT and one.code != _SALES]
    if others:
        lines.append(say.html("finance-month-others"))
    lines += [
        say.html("finance-month-other", code=one.code, amount=say.booked(one.credit - one.debit, one.currency))
        for one in others[:_MOST_ACCOUNTS]
    ]
    held = [one for one in found.standings if one.type not in _EARNED_OR_SPENT]
    if held:
        lines.append(say.html("finance-month-accounts"))
    lines += [
        say.html(
            "finance-month-account",
            code=one.code,
            opening=say.booked(one.opening, one.currency),
            closing=_valued(context, one.closing, one.currency, one.value, books_currency),
        )
        for one in held[:_MOST_ACCOUNTS]
    ]
    left = sum(
        max(0, len(of) - most) for of, most in ((sales, _MOST_SALES), (others, _MOST_ACCOUNTS), (held, _MOST_ACCOUNTS))
    )
    if left:
        lines.append(say.html("finance-month-more", count=left, month=f"{found.first:%Y-%m}"))
    if not found.standings:
        lines.append(say.html("finance-month-none"))
    if found.suspense_oldest is not None:
        lines.append(say.html("finance-month-suspense", when=context.moment(found.suspense_oldest)))
    before = found.first - timedelta(days=1)
    turns = []
    if any(one.opening for one in found.standings):
        turns.append(tap(f"◀️ {before:%Y-%m}", Month(month=before.year * 100 + before.month)))
    if found.last < reports.days_of(tx, None)[0]:
        after = found.last + timedelta(days=1)
        turns.append(tap(f"{after:%Y-%m} ▶️", Month(month=after.year * 100 + after.month)))
    back = tap(say.plain("button-finance-books"), Books())
    return Screen("\n".join(lines), (*((tuple(turns),) if turns else ()), (back, _home(context))))


_EARNED_OR_SPENT = frozenset({"income", "contra-income", "expense"})


def _day_of(which: int) -> date | None:
    """A day of the month that a button names; None, the present one, of what is no month."""
    year, number = divmod(which, 100)
    return date(year, number, 1) if year >= _FIRST_YEAR and 1 <= number <= _MONTHS else None


_FIRST_YEAR, _MONTHS = 2020, 12


def _valued(context: UpdateContext, minor: int, currency: str, value: int | None, books_currency: str) -> str:
    """An amount, and what it was booked as in the books' currency where it is in another."""
    say = context.texts
    amount = say.booked(minor, currency)
    if currency == books_currency:
        return amount
    worth = "—" if value is None else say.booked(value, books_currency)
    return f"{amount} = {worth}"


def statement(tx: Transaction, context: UpdateContext, ledger_account: int, before: int) -> Screen:
    """What moved one account of the shop's own, by pages."""
    say = context.texts
    account = money_desk.ledger_account(tx, ledger_account)
    if account is None:
        return Screen(say.html("finance-not-found"), ((_home(context),),), toast=_toast(context, "toast-stale"))
    lines = money_desk.lines(tx, account.id, before=before or FIRST, most=_LINES + 1)
    page = lines[:_LINES]
    head = say.html("finance-statement", code=account.code, currency=account.currency)
    text = "\n".join((head, *(_line(context, one, account.currency) for one in page)))
    older = (
        ((tap(say.plain("button-older"), Statement(ledger_account=account.id, before=page[-1].transfer_id)),),)
        if len(lines) > _LINES
        else ()
    )
    return Screen(text, (*older, (tap(say.plain("button-finance-books"), Books()), _home(context))))


def differences(tx: Transaction, context: UpdateContext, after: int) -> Screen:
    """Where what a provider says of its own account is not what the books have, and when each was compared last."""
    say = context.texts
    open_ones = reconciliation.open_differences(tx, after=after, page=_PAGE + 1)
    page = open_ones[:_PAGE]
    compared = [
        say.html(
            "finance-compared",
            provider=one.provider,
            when=context.moment(one.compared_at),
            matched=one.matched,
            lines=one.lines,
        )
        for one in reconciliation.last_comparisons(tx)
    ]
    lines = [
        say.html(
            "finance-difference",
            provider=one.provider,
            what=" ".join(part for part in (one.kind, _short(one.external_id)) if part) or "—",
            state=say.plain(f"finance-difference-{one.state.replace('_', '-')}"),
            said=_units(say, one.said, one.asset),
            booked=_units(say, one.booked, one.asset),
            when=context.moment(one.first_seen_at),
        )
        for one in page
    ]
    parts = [say.html("finance-differences" if page else "finance-differences-none"), *lines]
    parts.append("\n".join(compared) if compared else say.html("finance-compared-never"))
    more = ((tap(say.plain("button-finance-more"), Differences(after=page[-1].id)),),) if len(open_ones) > _PAGE else ()
    back = tap(say.plain("button-finance-books"), Books())
    return Screen("\n\n".join(parts), (*more, (back, _home(context))))


def _units(say: Texts, amount: Decimal | None, asset: str) -> str:
    """Whole units, as the comparison has them; an asset may be one that the list of currencies lacks."""
    if amount is None:
        return "—"
    text = format(amount.normalize(), "f")
    return f"{text.replace('.', ',') if say.language == 'ru' else text} {asset}"


def _line(context: UpdateContext, one: Line, currency: str) -> str:
    say = context.texts
    about = [one.key]
    if one.order_id is not None:
        about.append(say.plain("order-number", number=str(one.order_id)))
    if one.actor_id is not None:
        about.append(say.plain("finance-by", number=str(one.actor_id)))
    if one.reason:
        about.append(_short(one.reason))
    return say.html(
        "finance-line",
        when=context.moment(one.booked_at),
        amount=money_screens.signed(say, one.amount, currency),
        others=one.others,
        about=", ".join(about),
    )


def _came(tx: Transaction, context: UpdateContext, one: News) -> str:
    """What lies there, else what its provider said."""
    lying = money_desk.lying(tx, one.id)
    if lying is not None:
        return context.texts.booked(lying.received.minor, lying.received.currency)
    amount = None if one.amount is None else int(one.amount)
    return money_screens.price(context.texts, amount, one.currency)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _home(context: UpdateContext) -> Button:
    return tap(context.texts.plain("button-finance"), Home())


def _toast(context: UpdateContext, toast: str) -> str:
    return context.texts.plain(toast) if toast else ""
