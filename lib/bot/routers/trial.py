"""The free period: the offer and the action, by one rule (product.md#trial)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiogram import F, Router

from lib.bot.callbacks import Go, Place, StartTrial
from lib.bot.routers import access
from lib.bot.screen import Rendered, Screen, tap
from lib.domain import flags, subscriptions, trial

if TYPE_CHECKING:
    from aiogram.types import CallbackQuery

    from lib.bot.screen import Button, Rows
    from lib.bot.update_context import UpdateContext, UpdateRunner
    from lib.db import Transaction

router = Router(name="trial")


def offer(tx: Transaction, context: UpdateContext) -> Screen:
    """What the free period gives, or why there is none."""
    if not trial.eligible(tx, context.account.id):
        return _refusal(tx, context)
    if not flags.enabled(tx, flags.TRIAL):
        return Screen(context.texts.html("trial-off"), (_menu(context),))
    say, terms = context.texts, context.prices.trial
    text = say.html(
        "trial-offer",
        hours=say.plain("hours", count=terms.hours),
        devices=say.plain("devices", count=terms.devices),
        traffic=say.plain("traffic", gb=terms.traffic_gb),
    )
    return Screen(text, ((tap(say.plain("button-start-trial"), StartTrial()),), _menu(context)))


def start(tx: Transaction, context: UpdateContext) -> Screen | Rendered:
    """Mark and grant together; a second tap shows what the first one did."""
    if not flags.enabled(tx, flags.TRIAL):
        return Screen(context.texts.html("trial-off"), (_menu(context),))
    started = trial.start(tx, context.account.id, context.prices.trial, context.correlation_id)
    if started is trial.Refusal.CAP_REACHED:
        return Rendered(Screen(context.texts.html("trial-cap"), (_menu(context),)), cap_reached=True)
    if isinstance(started, trial.Refusal):
        return _refusal(tx, context)
    text = context.texts.html("trial-started", until=context.moment(started.grant.expires_at))
    return Rendered(Screen(text, _afterwards(context)), started.follow_up)


def _refusal(tx: Transaction, context: UpdateContext) -> Screen:
    if (notice := access.banned_notice(context)) != "":
        return Screen(notice, (_menu(context),))
    held = subscriptions.current(tx, context.account.id)
    if held is not None and held.status == "frozen":
        return access.show_key(tx, context)
    if held is not None and held.is_current and held.source == "trial":
        return access.show_key(tx, context)
    if held is not None and held.is_current:
        return Screen(context.texts.html("trial-running", until=context.moment(held.expires_at)), _afterwards(context))
    buy = tap(context.texts.plain("button-buy"), Go(to=Place.BUY))
    return Screen(context.texts.html("trial-used"), ((buy,), _menu(context)))


def _afterwards(context: UpdateContext) -> Rows:
    say = context.texts.plain
    return (
        (tap(say("button-key"), Go(to=Place.KEY)), tap(say("button-instruction"), Go(to=Place.INSTRUCTION))),
        _menu(context),
    )


def _menu(context: UpdateContext) -> tuple[Button]:
    return (tap(context.texts.plain("button-menu"), Go(to=Place.MENU)),)


@router.callback_query(Go.filter(F.to == Place.TRIAL))
async def _on_offer(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(offer)


@router.callback_query(StartTrial.filter())
async def _on_start(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(start)
