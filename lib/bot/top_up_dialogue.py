"""Topping up the balance up to the order: an amount, fixed or typed, then the confirm screen (product.md#balance-and-top-up).

Its place is the dialogue's, as that of buying access is (lib/bot/buy_dialogue.py): one customer is at one of them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from lib.bot import order_screen
from lib.bot.callbacks import Go, PayTopUp, PickTopUp, Place, ShowMoves
from lib.bot.screen import Screen, tap
from lib.domain import balance, chat_state, consents, pricing

if TYPE_CHECKING:
    from lib.bot.screen import Button, Rows
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.chat_state import ChatState
    from lib.domain.pricing import Offer, Quote

TYPED = "top_up.typed"
CONFIRM = "top_up.confirm"
PLACES = frozenset({TYPED, CONFIRM})


def show_balance(tx: Transaction, context: UpdateContext, toast: str = "") -> Screen:
    """What there is, and the amounts to top up by; `toast` is the id of a text."""
    say = context.texts
    held = balance.of(tx, context.account.id)
    text = say.html("balance", balance=_money(context, held.total))
    if held.earned:
        text += "\n" + say.html("balance-earned", amount=_money(context, held.earned))
    said = say.plain(toast) if toast else ""
    if not is_offered(tx, context):
        return Screen(text, ((_moves(context),), (_menu(context),)), toast=said)
    rows = (*_amounts(context), (_moves(context),), (_menu(context),))
    return Screen(f"{text}\n\n{say.html('balance-top-up')}", rows, toast=said)


def is_offered(tx: Transaction, context: UpdateContext) -> bool:
    """Whether the balance can be topped up now."""
    return context.prices.top_up is not None and bool(context.methods) and order_screen.takes_orders(tx, context)


def _amounts(context: UpdateContext) -> Rows:
    limits = context.prices.top_up
    fixed = () if limits is None else limits.amounts
    other = tap(context.texts.plain("button-other-amount"), Go(to=Place.TOP_UP_OTHER))
    return (*((tap(_money(context, amount), PickTopUp(amount=amount)),) for amount in fixed), (other,))


def ask_amount(tx: Transaction, context: UpdateContext) -> Screen:
    """The next text of the customer is the amount."""
    if not is_offered(tx, context):
        return show_balance(tx, context, "toast-no-orders")
    state = chat_state.read(tx, context.account.id)
    chat_state.swap(tx, context.account.id, state.version, TYPED, {})
    return ask(context)


def ask(context: UpdateContext, refusal: str = "", *, toast: str = "") -> Screen:
    """For an amount, after what was wrong with the one before; `toast` is the id of a text."""
    say, limits = context.texts, context.prices.top_up
    assert limits is not None, "asked only where top-ups are offered"  # noqa: S101 -- for the type checker
    text = say.html("top-up-ask", least=_money(context, limits.least), most=_money(context, limits.most))
    back = tap(say.plain("button-back"), Go(to=Place.BALANCE))
    said = say.plain(toast) if toast else ""
    return Screen(f"{refusal}\n\n{text}" if refusal else text, ((back, _menu(context)),), toast=said)


def pick_amount(tx: Transaction, context: UpdateContext, amount: int) -> Screen:
    """One of the amounts with a button; from a forged or an old one, back to those there are."""
    limits = context.prices.top_up
    if not is_offered(tx, context) or limits is None or amount not in limits.amounts:
        return show_balance(tx, context, "toast-stale")
    return confirm_next(tx, context, chat_state.read(tx, context.account.id), amount)


def offers(context: UpdateContext, amount: int) -> dict[str, Offer]:
    """What so much costs by each method that it is sold by; nothing when it is not between the limits."""
    found = {}
    for method in context.methods:
        with suppress(pricing.NotSold):
            found[method] = pricing.top_up(context.prices, amount, method=method, surface=pricing.Surface.CHAT)
    return found


def confirm_next(tx: Transaction, context: UpdateContext, state: ChatState, amount: int, toast: str = "") -> Screen:
    """Forward to the confirm screen; the prices shown there are kept, and are what an order must agree with."""
    offered = offers(context, amount)
    prices = {method: [one.quote.price, one.quote.currency] for method, one in offered.items()}
    data = {"amount": amount, "prices": prices, "terms": consents.text_in_force(consents.Kind.TERMS)}
    moved = chat_state.swap(tx, context.account.id, state.version, CONFIRM, data)
    if moved is None:
        return show_balance(tx, context, "toast-stale")
    return _confirm(tx, context, moved, amount, offered, toast=toast)


def _confirm(
    tx: Transaction, context: UpdateContext, state: ChatState, amount: int, offered: dict[str, Offer], *, toast: str
) -> Screen:
    say = context.texts
    accepts = order_screen.asks_for_terms(tx, context)
    parts = [say.html("top-up-confirm", amount=_money(context, amount))]
    parts += [
        say.html(
            "buy-confirm-minimum",
            method=context.label(method),
            minimum=say.money(one.minimum, one.quote.currency),
        )
        for method, one in offered.items()
        if not one.is_payable
    ]
    if accepts:
        parts.append(say.html("buy-confirm-consent"))
    payable = {method: one.quote for method, one in offered.items() if one.is_payable}
    rows: Rows = tuple(
        (
            tap(
                order_screen.pay_label(context, quote, context.label(method), alone=len(payable) == 1, accepts=accepts),
                PayTopUp(method=method, version=state.version),
            ),
        )
        for method, quote in payable.items()
    )
    back = tap(say.plain("button-back"), Go(to=Place.BALANCE))
    return Screen("\n\n".join(parts), (*rows, (back, _menu(context))), toast=say.plain(toast) if toast else "")


def show_place(tx: Transaction, context: UpdateContext, state: ChatState, toast: str = "") -> Screen:
    """A top-up where it stands now, at one of `PLACES`; `toast` is the id of a text."""
    if not is_offered(tx, context):
        return show_balance(tx, context, toast)
    if state.state == TYPED:
        return ask(context, toast=toast)
    amount = int(state.data.get("amount", 0))
    offered = offers(context, amount)
    if not offered:
        return show_balance(tx, context, toast)
    shown = state.data.get("prices", {})
    if any(method in shown and not agreed(state, method, one.quote) for method, one in offered.items()):
        return confirm_next(tx, context, state, amount, "toast-price-changed")
    return _confirm(tx, context, state, amount, offered, toast=toast)


def agreed(state: ChatState, method: str, quote: Quote) -> bool:
    """Whether the confirm screen showed this price for this method."""
    shown = state.data.get("prices", {}).get(method)
    return bool(shown == [quote.price, quote.currency])


def _money(context: UpdateContext, amount: int) -> str:
    return context.texts.money(amount, context.prices.currency)


def _moves(context: UpdateContext) -> Button:
    return tap(context.texts.plain("button-moves"), ShowMoves(before=0))


def _menu(context: UpdateContext) -> Button:
    return tap(context.texts.plain("button-menu"), Go(to=Place.MENU))
