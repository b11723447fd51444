"""The buy dialogue up to the order: one place in Postgres, changed by compare-and-swap (lib/domain/chat_state.py)."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from lib.bot import order_screen, top_up_dialogue
from lib.bot.callbacks import Go, Pay, PickPeriod, PickTariff, Place
from lib.bot.screen import Screen, tap
from lib.domain import balance, chat_state, consents, orders, pricing, subscriptions
from lib.domain.pricelist import UnknownTariff

if TYPE_CHECKING:
    from lib.bot.screen import Rows
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.chat_state import ChatState
    from lib.domain.pricelist import Tariff
    from lib.domain.pricing import Offer, Quote

BUY_TARIFF = "buy.tariff"
BUY_PERIOD = "buy.period"
BUY_CONFIRM = "buy.confirm"
BUY_ORDER = "buy.order"


def begin(tx: Transaction, context: UpdateContext, toast: str = "") -> Screen:
    """From the beginning, wherever the dialogue was."""
    if not can_order(tx, context):
        return order_screen.unavailable(context)
    state = chat_state.read(tx, context.account.id)
    moved = chat_state.swap(tx, context.account.id, state.version, BUY_TARIFF, {})
    if moved is None:
        return show_state(tx, context, chat_state.read(tx, context.account.id), toast or "toast-stale")
    return _tariffs(context, moved, toast)


def can_order(tx: Transaction, context: UpdateContext) -> bool:
    """Whether this customer can pay by anything now."""
    by_balance = context.balance_offered and not context.methods and balance.of(tx, context.account.id).total > 0
    return (bool(context.methods) or by_balance) and order_screen.takes_orders(tx, context)


def pick_tariff(tx: Transaction, context: UpdateContext, name: str, version: int) -> Screen:
    """Forward to the periods, or back to them from the confirm screen."""
    state = chat_state.read(tx, context.account.id)
    if state.version != version or state.state not in {BUY_TARIFF, BUY_PERIOD, BUY_CONFIRM}:
        return show_state(tx, context, state, "toast-stale")
    if name not in context.prices.on_sale:
        return show_state(tx, context, state, "toast-stale")
    moved = chat_state.swap(tx, context.account.id, version, BUY_PERIOD, {"tariff": name})
    return show_state(tx, context, moved or chat_state.read(tx, context.account.id), "" if moved else "toast-stale")


def pick_period(tx: Transaction, context: UpdateContext, days: int, version: int) -> Screen:
    """Forward to the confirm screen; the price shown there is kept, and is what an order must agree with."""
    state = chat_state.read(tx, context.account.id)
    if state.version != version or state.state != BUY_PERIOD:
        return show_state(tx, context, state, "toast-stale")
    tariff = _tariff(context, state)
    if tariff is None or days not in tariff.prices:
        return show_state(tx, context, state, "toast-stale")
    return _confirm_next(tx, context, version, tariff, days)


def confirm_again(tx: Transaction, context: UpdateContext, state: ChatState, toast: str) -> Screen:
    """The same order at today's price: shown before it is agreed to."""
    tariff = _tariff(context, state)
    days = _days(state)
    if tariff is None or days not in tariff.prices:
        return begin(tx, context, toast)
    return _confirm_next(tx, context, state.version, tariff, days, toast=toast)


def offer(context: UpdateContext, tariff: str, days: int, method: str) -> Offer:
    """What the period costs this customer by that method: for the screen and for the order alike.

    Raises:
        NotSold: not this, or not by that method.
    """
    return pricing.price(
        context.prices,
        tariff,
        days,
        customer=pricing.Customer(),
        promo=None,
        method=method,
        surface=pricing.Surface.CHAT,
    )


def offers(context: UpdateContext, tariff: str, days: int) -> dict[str, Offer]:
    """What the period costs by each method that it is sold by, in the order of the screen."""
    methods = (*context.methods, *((balance.PROVIDER,) if context.balance_offered else ()))
    found = {}
    for method in methods:
        with suppress(pricing.NotSold):
            found[method] = offer(context, tariff, days, method)
    return found


def agreed(state: ChatState, method: str, quote: Quote) -> bool:
    """Whether the confirm screen showed this price for this method: what is charged is what was shown, never more in silence."""
    return _shown(state).get(method) == [quote.price, quote.currency]


def _shown(state: ChatState) -> dict[str, object]:
    shown = state.data.get("prices")
    return shown if isinstance(shown, dict) else {}


def _has_changed(context: UpdateContext, state: ChatState, tariff: str, days: int) -> bool:
    now = offers(context, tariff, days)
    return not _shown(state) or any(
        method in now and not agreed(state, method, now[method].quote) for method in _shown(state)
    )


def _confirm_next(
    tx: Transaction, context: UpdateContext, version: int, tariff: Tariff, days: int, *, toast: str = ""
) -> Screen:
    prices = {
        method: [one.quote.price, one.quote.currency] for method, one in offers(context, tariff.name, days).items()
    }
    terms = consents.text_in_force(consents.Kind.TERMS)
    data = {"tariff": tariff.name, "days": days, "prices": prices, "terms": terms}
    moved = chat_state.swap(tx, context.account.id, version, BUY_CONFIRM, data)
    if moved is None:
        return show_state(tx, context, chat_state.read(tx, context.account.id), "toast-stale")
    return _confirm(tx, context, moved, tariff, days, toast=toast)


def show_state(tx: Transaction, context: UpdateContext, state: ChatState, toast: str = "") -> Screen:
    """The dialogue where it stands now, with buttons of its present version; `toast` is the id of a text."""
    if state.state == BUY_ORDER:
        order = orders.of_account(tx, context.account.id, int(state.data.get("order", 0)))
        if order is not None:
            return order_screen.show(tx, context, order, toast)
    if state.state in top_up_dialogue.PLACES:
        return top_up_dialogue.show_place(tx, context, state, toast)
    tariff = _tariff(context, state)
    if state.state == BUY_TARIFF:
        return _tariffs(context, state, toast)
    if state.state == BUY_PERIOD and tariff is not None:
        return _periods(context, state, tariff, toast)
    days = _days(state)
    if state.state == BUY_CONFIRM and tariff is not None and days in tariff.prices:
        return (
            confirm_again(tx, context, state, "toast-price-changed")
            if _has_changed(context, state, tariff.name, days)
            else _confirm(tx, context, state, tariff, days, toast=toast)
        )
    return begin(tx, context, toast)


def _tariff(context: UpdateContext, state: ChatState) -> Tariff | None:
    return context.prices.on_sale.get(str(state.data.get("tariff")))


def _days(state: ChatState) -> int:
    days = state.data.get("days")
    return days if isinstance(days, int) else 0


def _tariffs(context: UpdateContext, state: ChatState, toast: str) -> Screen:
    say = context.texts
    on_sale = context.prices.on_sale.values()
    lines = "\n".join(
        say.html(
            "buy-tariff-line",
            tariff=say.tariff(tariff.name),
            devices=say.plain("devices", count=tariff.devices),
            traffic=_traffic(context, tariff),
        )
        for tariff in on_sale
    )
    rows: Rows = tuple(
        (
            tap(
                say.plain(
                    "button-tariff",
                    tariff=say.tariff(tariff.name),
                    price=say.money(min(tariff.prices.values()), context.prices.currency),
                ),
                PickTariff(tariff=tariff.name, version=state.version),
            ),
        )
        for tariff in on_sale
    )
    menu = tap(say.plain("button-menu"), Go(to=Place.MENU))
    return Screen(f"{say.html('buy-tariff')}\n\n{lines}", (*rows, (menu,)), toast=_toast(context, toast))


def _periods(context: UpdateContext, state: ChatState, tariff: Tariff, toast: str) -> Screen:
    say = context.texts
    rows: Rows = tuple(
        (
            tap(
                say.plain(
                    "button-period",
                    period=say.plain("period", days=days),
                    price=say.money(tariff.prices[days], context.prices.currency),
                ),
                PickPeriod(days=days, version=state.version),
            ),
        )
        for days in sorted(tariff.prices)
    )
    devices = say.plain("devices", count=tariff.devices)
    back = (tap(say.plain("button-back"), Go(to=Place.BUY)), tap(say.plain("button-menu"), Go(to=Place.MENU)))
    text = say.html("buy-period", tariff=say.tariff(tariff.name), devices=devices)
    return Screen(text, (*rows, back), toast=_toast(context, toast))


def _confirm(
    tx: Transaction, context: UpdateContext, state: ChatState, tariff: Tariff, days: int, *, toast: str
) -> Screen:
    say = context.texts
    held = subscriptions.current(tx, context.account.id)
    running = subscriptions.running_tariff(held, tariff.name)
    try:
        value = context.prices.conversion(running, tariff.name)
    except UnknownTariff:
        # The value of what they hold is not known: nothing is sold over it until the price list names it.
        return order_screen.unavailable(context)
    now = subscriptions.now(tx)
    until = subscriptions.end_after(held, now, value, timedelta(days=days))
    quote = offer(context, tariff.name, days, balance.PROVIDER).quote
    parts = [
        say.html(
            "buy-confirm",
            tariff=say.tariff(tariff.name),
            devices=say.plain("devices", count=tariff.devices),
            traffic=_traffic(context, tariff),
            period=say.plain("period", days=days),
            price=say.money(quote.price, quote.currency),
            until=context.moment(until),
        )
    ]
    if held is not None and value != subscriptions.SAME_VALUE and subscriptions.has_paid_time_left(held, now):
        parts.append(say.html("buy-confirm-conversion", tariff=say.tariff(held.tariff)))
    if held is not None and held.frozen_until is not None:
        parts.append(say.html("buy-confirm-frozen", until=context.moment(held.frozen_until)))
    accepts = order_screen.asks_for_terms(tx, context)
    pay, notes = _ways_to_pay(tx, context, state, offers(context, tariff.name, days), accepts=accepts)
    parts += [*notes, *([say.html("buy-confirm-consent")] if accepts else [])]
    rows: Rows = (
        *pay,
        (
            tap(say.plain("button-back"), PickTariff(tariff=tariff.name, version=state.version)),
            tap(say.plain("button-menu"), Go(to=Place.MENU)),
        ),
    )
    return Screen("\n\n".join(parts), rows, toast=_toast(context, toast))


def _ways_to_pay(
    tx: Transaction, context: UpdateContext, state: ChatState, offered: dict[str, Offer], *, accepts: bool
) -> tuple[Rows, list[str]]:
    """A button for each method that takes the price, and a line for each that does not."""
    say = context.texts
    labels = {name: context.label(name) for name in context.methods}
    notes = [
        say.html("buy-confirm-minimum", method=labels[name], minimum=say.money(one.minimum, one.quote.currency))
        for name, one in offered.items()
        if name in labels and not one.is_payable
    ]
    payable = {name: one.quote for name, one in offered.items() if name in labels and one.is_payable}
    rows: Rows = ()
    if (by_balance := offered.get(balance.PROVIDER)) is not None and by_balance.is_payable:
        held, quote = balance.of(tx, context.account.id).total, by_balance.quote
        if held >= quote.price:
            payable[balance.PROVIDER] = quote
            labels[balance.PROVIDER] = say.plain("method-balance")
        elif held > 0:
            notes.append(
                say.html(
                    "buy-confirm-balance",
                    balance=say.money(held, quote.currency),
                    missing=say.money(quote.price - held, quote.currency),
                )
            )
            rows = ((tap(say.plain("button-top-up"), Go(to=Place.BALANCE)),),)
    pay = tuple(
        (
            tap(
                order_screen.pay_label(context, quote, labels[name], alone=len(payable) == 1, accepts=accepts),
                Pay(method=name, version=state.version),
            ),
        )
        for name, quote in payable.items()
    )
    return (*pay, *rows), notes


def _traffic(context: UpdateContext, tariff: Tariff) -> str:
    if tariff.traffic_gb is None:
        return context.texts.plain("traffic-unlimited")
    return context.texts.plain("traffic", gb=tariff.traffic_gb)


def _toast(context: UpdateContext, toast: str) -> str:
    return context.texts.plain(toast) if toast else ""
