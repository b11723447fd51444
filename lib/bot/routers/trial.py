"""The free period: the offer and the action, by one rule (product.md#trial)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiogram import F, Router

from lib.bot.callbacks import Go, Place, StartTrial
from lib.bot.routers import access
from lib.bot.screen import Played, Screen, tap
from lib.domain import flags, subscriptions, trial

if TYPE_CHECKING:
    from aiogram.types import CallbackQuery

    from lib.bot.screen import Button, Rows
    from lib.bot.turn import Scene, Turn
    from lib.db import Transaction

router = Router(name="trial")


def offer(tx: Transaction, scene: Scene) -> Screen:
    """What the free period gives, or why there is none."""
    if not trial.eligible(tx, scene.account.id):
        return _refusal(tx, scene)
    if not flags.enabled(tx, flags.TRIAL):
        return Screen(scene.texts.html("trial-off"), (_menu(scene),))
    say, terms = scene.texts, scene.prices.trial
    text = say.html(
        "trial-offer",
        hours=say.plain("hours", count=terms.hours),
        devices=say.plain("devices", count=terms.devices),
        traffic=say.plain("traffic", gb=terms.traffic_gb),
    )
    return Screen(text, ((tap(say.plain("button-start-trial"), StartTrial()),), _menu(scene)))


def start(tx: Transaction, scene: Scene) -> Screen | Played:
    """Mark and grant together; a second tap shows what the first one did."""
    if not flags.enabled(tx, flags.TRIAL):
        return Screen(scene.texts.html("trial-off"), (_menu(scene),))
    started = trial.start(tx, scene.account.id, scene.prices.trial, scene.correlation_id)
    if started is trial.Refusal.CAP_REACHED:
        return Played(Screen(scene.texts.html("trial-cap"), (_menu(scene),)), cap_reached=True)
    if isinstance(started, trial.Refusal):
        return _refusal(tx, scene)
    text = scene.texts.html("trial-started", until=scene.moment(started.grant.expires_at))
    return Played(Screen(text, _afterwards(scene)), started.follow_up)


def _refusal(tx: Transaction, scene: Scene) -> Screen:
    held = subscriptions.current(tx, scene.account.id)
    if held is not None and held.is_current and held.source == "trial":
        return access.show_key(tx, scene)
    if held is not None and held.is_current:
        return Screen(scene.texts.html("trial-running", until=scene.moment(held.expires_at)), _afterwards(scene))
    buy = tap(scene.texts.plain("button-buy"), Go(to=Place.BUY))
    return Screen(scene.texts.html("trial-used"), ((buy,), _menu(scene)))


def _afterwards(scene: Scene) -> Rows:
    say = scene.texts.plain
    return (
        (tap(say("button-key"), Go(to=Place.KEY)), tap(say("button-instruction"), Go(to=Place.INSTRUCTION))),
        _menu(scene),
    )


def _menu(scene: Scene) -> tuple[Button]:
    return (tap(scene.texts.plain("button-menu"), Go(to=Place.MENU)),)


@router.callback_query(Go.filter(F.to == Place.TRIAL))
async def on_offer(_query: CallbackQuery, turn: Turn) -> None:
    """The offer."""
    await turn.play(offer)


@router.callback_query(StartTrial.filter())
async def on_start(_query: CallbackQuery, turn: Turn) -> None:
    """It was accepted."""
    await turn.play(start)
