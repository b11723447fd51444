"""The buy dialogue up to the order: one place in Postgres, changed by compare-and-swap (lib/domain/chat_state.py)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from lib.bot import order_screen
from lib.bot.callbacks import Go, Pay, PickPeriod, PickTariff, Place
from lib.bot.screen import Screen, tap
from lib.domain import chat_state, flags, orders, pricing, subscriptions
from lib.domain.pricelist import UnknownTariff

if TYPE_CHECKING:
    from lib.bot.screen import Rows
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.chat_state import ChatState
    from lib.domain.pricelist import Tariff
    from lib.domain.pricing import Offer

BUY_TARIFF = "buy.tariff"
BUY_PERIOD = "buy.period"
BUY_CONFIRM = "buy.confirm"
BUY_ORDER = "buy.order"


def begin(tx: Transaction, context: UpdateContext, toast: str = "") -> Screen:
    """From the beginning, wherever the dialogue was."""
    if not context.methods or not flags.enabled(tx, flags.PAYMENTS):
        return order_screen.unavailable(context)
    state = chat_state.read(tx, context.account.id)
    moved = chat_state.swap(tx, context.account.id, state.version, BUY_TARIFF, {})
    if moved is None:
        return show_state(tx, context, chat_state.read(tx, context.account.id), toast or "toast-stale")
    return _tariffs(context, moved, toast)


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


def _confirm_next(
    tx: Transaction, context: UpdateContext, version: int, tariff: Tariff, days: int, *, toast: str = ""
) -> Screen:
    data = {"tariff": tariff.name, "days": days, "price": tariff.prices[days]}
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
    tariff = _tariff(context, state)
    if state.state == BUY_TARIFF:
        return _tariffs(context, state, toast)
    if state.state == BUY_PERIOD and tariff is not None:
        return _periods(context, state, tariff, toast)
    days = _days(state)
    if state.state == BUY_CONFIRM and tariff is not None and days in tariff.prices:
        if tariff.prices[days] != state.data.get("price"):
            return confirm_again(tx, context, state, "toast-price-changed")
        return _confirm(tx, context, state, tariff, days, toast=toast)
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
    price = say.money(tariff.prices[days], context.prices.currency)
    parts = [
        say.html(
            "buy-confirm",
            tariff=say.tariff(tariff.name),
            devices=say.plain("devices", count=tariff.devices),
            traffic=_traffic(context, tariff),
            period=say.plain("period", days=days),
            price=price,
            until=context.moment(until),
        )
    ]
    if held is not None and value != subscriptions.SAME_VALUE and subscriptions.has_paid_time_left(held, now):
        parts.append(say.html("buy-confirm-conversion", tariff=say.tariff(held.tariff)))
    parts.append(say.html("buy-confirm-consent"))
    rows: Rows = (
        *(
            (tap(label, Pay(method=name, version=state.version)),)
            for name, label in _pay_labels(context, price).items()
        ),
        (
            tap(say.plain("button-back"), PickTariff(tariff=tariff.name, version=state.version)),
            tap(say.plain("button-menu"), Go(to=Place.MENU)),
        ),
    )
    return Screen("\n\n".join(parts), rows, toast=_toast(context, toast))


def _pay_labels(context: UpdateContext, price: str) -> dict[str, str]:
    """By provider; which one is said where there is a choice."""
    say = context.texts
    if len(context.methods) == 1:
        return dict.fromkeys(context.methods, say.plain("button-pay", price=price))
    return {name: say.plain("button-pay-by", price=price, method=label) for name, label in context.methods.items()}


def _traffic(context: UpdateContext, tariff: Tariff) -> str:
    if tariff.traffic_gb is None:
        return context.texts.plain("traffic-unlimited")
    return context.texts.plain("traffic", gb=tariff.traffic_gb)


def _toast(context: UpdateContext, toast: str) -> str:
    return context.texts.plain(toast) if toast else ""
