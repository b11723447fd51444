"""Auto-renewal from the balance, as the customer turns it on and off (product.md#subscription).

What will be taken, when, how much and from where stands on the screen before it is agreed to; the button carries the price that was
shown, so another one is shown again and never charged in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiogram import F, Router

from lib.bot.callbacks import Go, Place, SetAutoRenewal
from lib.bot.screen import Screen, tap
from lib.domain import renewals

if TYPE_CHECKING:
    from aiogram.types import CallbackQuery

    from lib.bot.screen import Button, Rows
    from lib.bot.update_context import UpdateContext, UpdateRunner
    from lib.db import Transaction
    from lib.domain.renewals import Upcoming

router = Router(name="auto_renewal")


def show(tx: Transaction, context: UpdateContext, toast: str = "") -> Screen:
    """How it stands; `toast` is the id of a text."""
    say = context.texts
    said = say.plain(toast) if toast else ""
    upcoming = renewals.upcoming(tx, context.account.id, context.prices)
    if upcoming is None:
        buy = tap(say.plain("button-renew"), Go(to=Place.BUY))
        return Screen(say.html("auto-renewal-nothing"), ((buy,), _last(context)), toast=said)
    off = (tap(say.plain("button-turn-off"), SetAutoRenewal(on=False)),)
    if upcoming.price is None:
        rows: Rows = (*((off,) if upcoming.is_on else ()), _last(context))
        text = say.html(
            "auto-renewal-not-sold", what=_what(context, upcoming), until=context.moment(upcoming.expires_at)
        )
        return Screen(text, rows, toast=said)
    text = "\n\n".join(_says(context, upcoming, upcoming.price))
    return Screen(
        text,
        (*_ways(context, upcoming, upcoming.price), *((off,) if upcoming.is_on else ()), _last(context)),
        toast=said,
    )


def _what(context: UpdateContext, upcoming: Upcoming) -> str:
    say = context.texts
    return say.plain(
        "order-what", tariff=say.tariff(upcoming.tariff), period=say.plain("period", days=upcoming.period_days)
    )


def _says(context: UpdateContext, upcoming: Upcoming, price: int) -> list[str]:
    say = context.texts
    money = say.money(price, upcoming.currency)
    parts = [
        say.html("auto-renewal-on" if upcoming.is_on else "auto-renewal-off"),
        say.html(
            "auto-renewal-terms",
            what=_what(context, upcoming),
            price=money,
            until=context.moment(upcoming.expires_at),
            notice=say.plain("period", days=context.prices.auto_renewal.notice_hours // 24),
            charged_from=context.moment(upcoming.charged_from),
        ),
        say.html("auto-renewal-balance", balance=say.money(upcoming.held, upcoming.currency)),
    ]
    if upcoming.is_on and not upcoming.agreed:
        parts.append(say.html("auto-renewal-price", price=money))
    elif upcoming.missing:
        parts.append(say.html("auto-renewal-missing", missing=say.money(upcoming.missing, upcoming.currency)))
    return parts


def _ways(context: UpdateContext, upcoming: Upcoming, price: int) -> Rows:
    say = context.texts
    rows: Rows = ()
    if (not upcoming.is_on and context.balance_offered) or (upcoming.is_on and not upcoming.agreed):
        agree = SetAutoRenewal(on=True, order=upcoming.order_id, price=price)
        money = say.money(price, upcoming.currency)
        rows = ((tap(say.plain("button-agree" if upcoming.is_on else "button-turn-on", price=money), agree),),)
    if upcoming.missing:
        rows = (*rows, (tap(say.plain("button-top-up"), Go(to=Place.BALANCE)),))
    return rows


def _last(context: UpdateContext) -> tuple[Button, ...]:
    say = context.texts
    return (tap(say.plain("button-profile"), Go(to=Place.PROFILE)), tap(say.plain("button-menu"), Go(to=Place.MENU)))


def turn(tx: Transaction, context: UpdateContext, wanted: SetAutoRenewal) -> Screen:
    """On for what was shown, or off; how it stands then."""
    account_id = context.account.id
    if not wanted.on:
        renewals.turn_off(tx, account_id)
        return show(tx, context, "toast-auto-renewal-off")
    held = renewals.upcoming(tx, account_id, context.prices)
    offered = context.balance_offered or (held is not None and held.is_on)
    if not offered or not renewals.turn_on(tx, account_id, wanted.order, wanted.price, context.prices):
        return show(tx, context, "toast-stale")
    return show(tx, context, "toast-auto-renewal-on")


@router.callback_query(Go.filter(F.to == Place.AUTO_RENEWAL))
async def _on_auto_renewal(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show)


@router.callback_query(SetAutoRenewal.filter())
async def _on_turn(_query: CallbackQuery, callback_data: SetAutoRenewal, runner: UpdateRunner) -> None:
    await runner.run(turn, callback_data)
