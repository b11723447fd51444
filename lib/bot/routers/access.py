"""What the customer holds: profile, key, QR picture. Reading changes nothing: the end of access is the sweep's business."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiogram import F, Router
from aiogram.filters import Command

from lib.bot.callbacks import Go, Place
from lib.bot.screen import COPY_LIMIT, Button, Screen, tap
from lib.domain import balance, freezing, provisioning, reissue, subscriptions

if TYPE_CHECKING:
    from datetime import datetime

    from aiogram.types import CallbackQuery, Message

    from lib.bot.screen import Rows
    from lib.bot.update_context import UpdateContext, UpdateRunner
    from lib.db import Transaction
    from lib.domain.subscriptions import Subscription
    from lib.texts import Texts

router = Router(name="access")


def show_profile(tx: Transaction, context: UpdateContext) -> Screen:
    """Who one is and what one has."""
    say = context.texts
    held = subscriptions.current(tx, context.account.id)
    text = say.html("profile", name=context.account.first_name or "—", id=str(context.account.telegram_id))
    active = held is not None and held.is_current
    frozen = held is not None and held.status == "frozen"
    funds = balance.of(tx, context.account.id).total
    text += "\n" + say.html("profile-balance", balance=say.money(funds, context.prices.currency))
    buy = tap(say.plain("button-renew" if active or frozen else "button-buy"), Go(to=Place.BUY))
    rows: Rows = (
        *(((tap(say.plain("button-key"), Go(to=Place.KEY)),),) if active else ()),
        *(((tap(say.plain("button-thaw"), Go(to=Place.THAW)),),) if frozen else ()),
        *(((tap(say.plain("button-freeze"), Go(to=Place.FREEZE)),),) if may_freeze(held) else ()),
        (buy,),
        *auto_renewal(context, held),
        (tap(say.plain("button-balance"), Go(to=Place.BALANCE)),),
        (tap(say.plain("button-menu"), Go(to=Place.MENU)),),
    )
    banned = [data] if (data := banned_notice(context)) else []
    return Screen("\n\n".join((*banned, text, _access(context, held))), rows)


def banned_notice(context: UpdateContext) -> str:
    """What the banned are told wherever they look; nothing to others."""
    reason = context.account.ban_reason
    return "" if reason is None else context.texts.html("banned", reason=reason)


def may_freeze(held: Subscription | None) -> bool:
    """Whether a freeze is offered; how often is said when it is asked for."""
    return held is not None and held.is_current and not freezing.is_all_trial(held)


def auto_renewal(context: UpdateContext, held: Subscription | None) -> Rows:
    """The way to auto-renewal, for access that was not a free start alone; it can be turned off wherever it is on."""
    if held is None or not held.is_current:
        return ()
    if not held.auto_renew and (held.source == "trial" or not context.balance_offered):
        return ()
    say = context.texts
    label = say.plain("button-auto-renewal-on" if held.auto_renew else "button-auto-renewal-off")
    return ((tap(label, Go(to=Place.AUTO_RENEWAL)),),)


def _access(context: UpdateContext, held: Subscription | None) -> str:
    say = context.texts
    if held is None:
        return say.html("access-none")
    until = context.moment(held.expires_at)
    if held.frozen_until is not None:
        return say.html("access-frozen", frozen=context.moment(held.frozen_until), until=until)
    if not held.is_current:
        return say.html("access-ended", until=until)
    if held.source == "trial":
        terms = context.prices.trial
        devices, traffic = say.plain("devices", count=terms.devices), say.plain("traffic", gb=terms.traffic_gb)
        text = say.html("access-trial", devices=devices, traffic=traffic, until=until)
    else:
        tariff = context.prices.tariffs.get(held.tariff)
        devices = say.plain("devices", count=tariff.devices) if tariff else "—"
        text = say.html("access-active", tariff=say.tariff(held.tariff), devices=devices, until=until)
    return text + ("\n\n" + say.html("access-pending") if held.activation_status == "pending" else "")


def show_key(tx: Transaction, context: UpdateContext) -> Screen:
    """The link, or honestly why there is none yet."""
    say = context.texts
    held = subscriptions.current(tx, context.account.id)
    if held is not None and held.frozen_until is not None:
        return _frozen_key(context, held.frozen_until)
    if held is None or not held.is_current:
        buy = tap(say.plain("button-buy"), Go(to=Place.BUY))
        return Screen(say.html("key-none"), ((buy,), (tap(say.plain("button-menu"), Go(to=Place.MENU)),)))
    until = context.moment(held.expires_at)
    link = provisioning.share_link(tx, context.account.id)
    if link is None:
        refresh = tap(say.plain("button-refresh"), Go(to=Place.KEY))
        menu = tap(say.plain("button-menu"), Go(to=Place.MENU))
        toast = say.plain("toast-pending")
        old = reissue.old_link(tx, context.account.id)
        text = say.html("key-reissued", link=old) if old else say.html("key-pending", until=until)
        return Screen(text, ((refresh,), (menu,)), toast=toast)
    another = (tap(say.plain("button-reissue"), Go(to=Place.REISSUE)),)
    *rows, last = key_rows(say, link)
    return Screen(say.html("key", link=link, until=until), (*rows, another, *auto_renewal(context, held), last))


def _frozen_key(context: UpdateContext, until: datetime) -> Screen:
    say = context.texts
    rows = (
        (tap(say.plain("button-thaw"), Go(to=Place.THAW)),),
        (tap(say.plain("button-menu"), Go(to=Place.MENU)),),
    )
    return Screen(say.html("key-frozen", until=context.moment(until)), rows)


def key_rows(say: Texts, link: str) -> Rows:
    """Buttons below a link; Telegram's copy button holds no more than 256 characters."""
    copy = ((Button(say.plain("button-copy"), copy=link),),) if len(link) <= COPY_LIMIT else ()
    return (
        *copy,
        (
            tap(say.plain("button-qr"), Go(to=Place.QR)),
            tap(say.plain("button-instruction"), Go(to=Place.INSTRUCTION)),
        ),
        (tap(say.plain("button-menu"), Go(to=Place.MENU)),),
    )


def show_qr(tx: Transaction, context: UpdateContext) -> Screen:
    """The link as a picture, in a message of its own; without a link, what the key screen says."""
    link = provisioning.share_link(tx, context.account.id)
    if link is None:
        return show_key(tx, context)
    say = context.texts
    rows = ((tap(say.plain("button-key"), Go(to=Place.KEY)), tap(say.plain("button-menu"), Go(to=Place.MENU))),)
    return Screen(say.html("qr-caption"), rows, qr=link)


@router.message(Command("profile", ignore_case=True, ignore_mention=True))
@router.callback_query(Go.filter(F.to == Place.PROFILE))
async def _on_profile(_event: Message | CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_profile)


@router.callback_query(Go.filter(F.to == Place.KEY))
async def _on_key(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_key)


@router.callback_query(Go.filter(F.to == Place.QR))
async def _on_qr(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_qr)
