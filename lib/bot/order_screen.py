"""What a customer is shown of an order, by its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lib.bot.callbacks import CheckOrder, Go, Place
from lib.bot.screen import Button, Screen, tap
from lib.domain import balance, consents, flags, provisioning, subscriptions

if TYPE_CHECKING:
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.chat_state import ChatState
    from lib.domain.customer_money import Charge
    from lib.domain.orders import Order
    from lib.domain.pricing import Quote
    from lib.texts import Texts

PAID_HERE = {"cryptobot": "order-open-cryptobot", "stars": "order-open-stars", "card": "order-open-card"}
"""Where an order is paid, by its provider."""


def is_live(tx: Transaction, order: Order) -> bool:
    """Whether the half hour in which it is to be paid still runs."""
    return order.status == "open" and order.expires_at > subscriptions.now(tx)


def show(tx: Transaction, context: UpdateContext, order: Order, toast: str = "") -> Screen:
    """The order as it is; `toast` is the id of a text."""
    if order.status == "paid":
        return _paid(tx, context, order, toast)
    if not is_live(tx, order):
        return _over(context, order, toast)
    if order.invoice_url is None:
        return _preparing(context, order)
    return _open(context, order, order.invoice_url, toast)


def _open(context: UpdateContext, order: Order, url: str, toast: str) -> Screen:
    say = context.texts
    price = say.money(order.price, order.currency)
    text = say.html("order-open", **_facts(context, order), until=context.moment(order.expires_at))
    if order.provider in PAID_HERE:
        text += "\n\n" + say.html(PAID_HERE[order.provider])
    text += "\n\n" + say.html("order-open-top-up" if order.kind == "top_up" else "order-open-access")
    if toast == "toast-unpaid":
        text += "\n\n" + say.html("order-unpaid-yet")
    rows = (
        (Button(say.plain("button-pay-url", price=price), url=url),),
        (tap(say.plain("button-check"), CheckOrder(order=order.id)),),
        (tap(say.plain("button-back"), Go(to=_begin(order))), _menu(context)),
    )
    return Screen(text, rows, toast=say.plain(toast) if toast else "")


def _preparing(context: UpdateContext, order: Order) -> Screen:
    say = context.texts
    refresh = tap(say.plain("button-refresh"), CheckOrder(order=order.id))
    text = say.html("order-preparing", **_facts(context, order))
    return Screen(text, ((refresh,), (_menu(context),)), toast=say.plain("toast-preparing"))


def _paid(tx: Transaction, context: UpdateContext, order: Order, toast: str) -> Screen:
    say = context.texts
    if order.kind == "top_up":
        return _topped_up(tx, context, order, toast)
    held = subscriptions.current(tx, context.account.id)
    toast_text = say.plain(toast) if toast else ""
    if held is not None and held.frozen_until is not None:
        text = say.html("order-paid", **_facts(context, order), until=context.moment(held.expires_at))
        text += "\n\n" + say.html("order-frozen", until=context.moment(held.frozen_until))
        return Screen(text, ((tap(say.plain("button-thaw"), Go(to=Place.THAW)),), (_menu(context),)), toast=toast_text)
    if held is None or not held.is_current:
        buy = tap(say.plain("button-buy"), Go(to=Place.BUY))
        text = say.html("order-paid-ended", **_facts(context, order))
        return Screen(text, ((buy,), (_menu(context),)), toast=toast_text)
    link = provisioning.share_link(tx, context.account.id)
    text = say.html("order-paid", **_facts(context, order), until=context.moment(held.expires_at))
    text += "\n\n" + say.html("order-key-ready" if link else "order-key-pending")
    rows = (
        (
            tap(say.plain("button-key"), Go(to=Place.KEY)),
            tap(say.plain("button-instruction"), Go(to=Place.INSTRUCTION)),
        ),
        (_menu(context),),
    )
    return Screen(text, rows, toast=toast_text)


def _topped_up(tx: Transaction, context: UpdateContext, order: Order, toast: str) -> Screen:
    say = context.texts
    held = say.money(balance.of(tx, context.account.id).total, context.prices.currency)
    facts = {"number": str(order.id), "what": what(context, order), "balance": held}
    buy = tap(say.plain("button-buy"), Go(to=Place.BUY))
    text = say.html("order-paid-top-up", **facts)
    return Screen(text, ((buy,), (_menu(context),)), toast=say.plain(toast) if toast else "")


def _over(context: UpdateContext, order: Order, toast: str) -> Screen:
    say = context.texts
    again = () if order.invoice_id is None else ((tap(say.plain("button-check"), CheckOrder(order=order.id)),),)
    if order.kind == "top_up":
        begin = tap(say.plain("button-top-up"), Go(to=Place.BALANCE))
    else:
        begin = tap(say.plain("button-buy"), Go(to=Place.BUY))
    text = say.html("order-over", number=str(order.id))
    text += "\n\n" + say.html("order-over-top-up" if order.kind == "top_up" else "order-over-access")
    return Screen(text, (*again, (begin,), (_menu(context),)), toast=say.plain(toast) if toast else "")


def provider_down(context: UpdateContext, order: Order) -> Screen:
    """No invoice this time; the button tries again."""
    say = context.texts
    retry = tap(say.plain("button-retry"), CheckOrder(order=order.id))
    method = context.methods.get(order.provider, order.provider)
    return Screen(
        say.html("order-provider-down", method=method),
        ((retry,), (_menu(context),)),
        toast=say.plain("toast-provider-down", method=method),
    )


def takes_orders(tx: Transaction, context: UpdateContext) -> bool:
    """Whether orders are taken now, and of this customer: the banned make none."""
    return context.account.ban_reason is None and flags.enabled(tx, flags.PAYMENTS)


def unavailable(context: UpdateContext) -> Screen:
    """Nothing can be ordered now."""
    if (reason := context.account.ban_reason) is not None:
        return Screen(context.texts.html("banned", reason=reason), ((_menu(context),),))
    text = context.texts.html("buy-unavailable")
    return Screen(text, ((_menu(context),),), toast=context.texts.plain("toast-no-orders"))


def _facts(context: UpdateContext, order: Order) -> dict[str, str | int]:
    say = context.texts
    return {
        "number": str(order.id),
        "what": what(context, order),
        "price": say.money(order.price, order.currency),
    }


def what(context: UpdateContext, order: Order) -> str:
    """What is bought, in a few words."""
    return words(context.texts, order, context.prices.currency)


class Bought(Protocol):
    """What is known of an order's contents; `value` in minor units of the books' currency."""

    @property
    def tariff(self) -> str | None: ...  # noqa: D102 -- said above
    @property
    def period_days(self) -> int | None: ...  # noqa: D102 -- said above
    @property
    def value(self) -> int | None: ...  # noqa: D102 -- said above


def words(say: Texts, order: Bought, books: str) -> str:
    """What is bought, in a few words; `books` is the currency of the books."""
    if order.tariff is None or order.period_days is None:
        return say.plain("order-what-top-up", amount=say.money(order.value or 0, books))
    return say.plain("order-what", tariff=say.tariff(order.tariff), period=say.plain("period", days=order.period_days))


def bought(say: Texts, charge: Charge, books: str) -> str:
    """What a charge was for, with the order's number; nothing known where it fits no order."""
    if charge.order_id is None:
        return say.plain("charge-without-order")
    return f"{say.plain('order-number', number=str(charge.order_id))}: {words(say, charge, books)}"


def pay_label(context: UpdateContext, quote: Quote, label: str, *, alone: bool, accepts: bool) -> str:
    """Of the button that pays: which method it is, is said where there is a choice; that it accepts the terms, while they are not."""
    say = context.texts
    price = say.money(quote.price, quote.currency)
    if accepts:
        return say.plain("button-pay", price=price) if alone else say.plain("button-pay-by", price=price, method=label)
    if alone:
        return say.plain("button-pay-again", price=price)
    return say.plain("button-pay-again-by", price=price, method=label)


def asks_for_terms(tx: Transaction, context: UpdateContext) -> bool:
    """Whether the terms in force are still to be accepted: the confirm screen asks with its pay buttons."""
    return consents.answered(tx, context.account.telegram_id, consents.Kind.TERMS) is not True


def terms_shown(state: ChatState) -> bool:
    """Whether the confirm screen was made under the terms in force: a button from before accepts no later ones."""
    return state.data.get("terms") == consents.text_in_force(consents.Kind.TERMS)


def _begin(order: Order) -> Place:
    return Place.BALANCE if order.kind == "top_up" else Place.BUY


def _menu(context: UpdateContext) -> Button:
    return tap(context.texts.plain("button-menu"), Go(to=Place.MENU))
