"""What customers change of their access by themselves: a new key, a freeze (product.md#screens-user).

Each act is shown before it is done. Its button carries what it was shown with, the key's generation or the end: a second tap finds
another one and shows what the first did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiogram import F, Router

from lib.bot.callbacks import Freeze, Go, PickFreeze, Place, Reissue, Thaw
from lib.bot.routers import access
from lib.bot.screen import Rendered, Screen, tap
from lib.domain import freezing, reissue, subscriptions

if TYPE_CHECKING:
    from aiogram.types import CallbackQuery

    from lib.bot.screen import Button
    from lib.bot.update_context import UpdateContext, UpdateRunner
    from lib.db import Transaction

router = Router(name="changes")

_CHOICES = (3, 7, 14, 30)
"""Days of a freeze that have a button, as far as the price list allows them."""


def ask_reissue(tx: Transaction, context: UpdateContext) -> Screen:
    """What a new key means, and how many there still are today."""
    say, held = context.texts, subscriptions.current(tx, context.account.id)
    if held is None or not held.is_current:
        return access.show_key(tx, context)
    left = reissue.left_today(tx, held.id, context.prices.access.reissues_a_day)
    if not left:
        return _to_key(context, say.html("reissue-too-often", a_day=context.prices.access.reissues_a_day))
    rows = (
        (tap(say.plain("button-reissue-confirm"), Reissue(generation=held.generation)),),
        (tap(say.plain("button-key"), Go(to=Place.KEY)), _menu(context)),
    )
    return Screen(say.html("reissue-confirm", left=left), rows)


def reissue_key(tx: Transaction, context: UpdateContext, generation: int) -> Screen | Rendered:
    """A new key; a second tap shows what the first one did."""
    done = reissue.reissue(
        tx,
        context.account.id,
        correlation_id=context.correlation_id,
        a_day=context.prices.access.reissues_a_day,
        generation=generation,
    )
    if done is reissue.Refusal.TOO_OFTEN:
        return _to_key(context, context.texts.html("reissue-too-often", a_day=context.prices.access.reissues_a_day))
    if isinstance(done, reissue.Refusal):
        return access.show_key(tx, context)
    return Rendered(access.show_key(tx, context), done.follow_up)


def ask_freeze(tx: Transaction, context: UpdateContext) -> Screen:
    """For how many days; or why not now."""
    say, rules = context.texts, context.prices.access
    held = subscriptions.current(tx, context.account.id)
    why = freezing.refusal(tx, held, rules)
    if why is not None or held is None:
        return _not_frozen(tx, context, why or freezing.Refusal.NO_ACCESS)
    days = sorted({*(one for one in _CHOICES if one <= rules.freeze_most_days), rules.freeze_most_days})
    choice = tuple(
        tap(say.plain("period", days=one), PickFreeze(days=one, end=freezing.end_mark(held))) for one in days
    )
    text = say.html("freeze-choose", most=rules.freeze_most_days, every=rules.freeze_every_days)
    return Screen(text, (choice, (_profile(context), _menu(context))))


def confirm_freeze(tx: Transaction, context: UpdateContext, days: int, end: int) -> Screen:
    """What it would do; nothing yet."""
    say, rules = context.texts, context.prices.access
    held = subscriptions.current(tx, context.account.id)
    why = freezing.refusal(tx, held, rules)
    if why is not None or held is None:
        return _not_frozen(tx, context, why or freezing.Refusal.NO_ACCESS)
    if days > rules.freeze_most_days or freezing.end_mark(held) != end:
        return ask_freeze(tx, context)
    moment, length = subscriptions.now(tx), freezing.length(days)
    text = say.html(
        "freeze-confirm",
        until=context.moment(moment + length),
        ends=context.moment(held.expires_at + length),
        every=rules.freeze_every_days,
    )
    do = tap(say.plain("button-freeze-confirm"), Freeze(days=days, end=end))
    return Screen(text, ((do,), (tap(say.plain("button-back"), Go(to=Place.FREEZE)), _menu(context))))


def freeze(tx: Transaction, context: UpdateContext, days: int, end: int) -> Screen | Rendered:
    """Let it stand still; a second tap shows what the first one did."""
    done = freezing.freeze(
        tx, context.account.id, days, context.prices.access, correlation_id=context.correlation_id, end=end
    )
    if isinstance(done, freezing.Refusal):
        return _not_frozen(tx, context, done)
    return Rendered(access.show_profile(tx, context), done.follow_up)


def ask_thaw(tx: Transaction, context: UpdateContext) -> Screen:
    """What ending the freeze now means."""
    say, held = context.texts, subscriptions.current(tx, context.account.id)
    if held is None or held.frozen_until is None:
        return access.show_profile(tx, context)
    ends = subscriptions.now(tx) + (held.expires_at - held.frozen_until)
    text = say.html("thaw-confirm", ends=context.moment(ends), every=context.prices.access.freeze_every_days)
    do = tap(say.plain("button-thaw-confirm"), Thaw(end=freezing.end_mark(held)))
    return Screen(text, ((do,), (_profile(context), _menu(context))))


def thaw(tx: Transaction, context: UpdateContext, end: int) -> Screen | Rendered:
    """Let it run again; a second tap shows what the first one did."""
    done = freezing.thaw_now(tx, context.account.id, correlation_id=context.correlation_id, end=end)
    if isinstance(done, freezing.Refusal):
        return access.show_profile(tx, context)
    return Rendered(access.show_profile(tx, context), done.follow_up)


def _not_frozen(tx: Transaction, context: UpdateContext, why: freezing.Refusal) -> Screen:
    say, held = context.texts, subscriptions.current(tx, context.account.id)
    if why is freezing.Refusal.STALE:
        return ask_freeze(tx, context)
    if why is freezing.Refusal.TRIAL:
        return Screen(say.html("freeze-trial"), ((_profile(context), _menu(context)),))
    if why is freezing.Refusal.TOO_OFTEN and held is not None:
        again = freezing.again_from(tx, held.id, context.prices.access.freeze_every_days)
        when = context.moment(again or subscriptions.now(tx))
        return Screen(say.html("freeze-too-often", when=when), ((_profile(context), _menu(context)),))
    return access.show_profile(tx, context)


def _to_key(context: UpdateContext, text: str) -> Screen:
    return Screen(text, ((tap(context.texts.plain("button-key"), Go(to=Place.KEY)), _menu(context)),))


def _profile(context: UpdateContext) -> Button:
    return tap(context.texts.plain("button-profile"), Go(to=Place.PROFILE))


def _menu(context: UpdateContext) -> Button:
    return tap(context.texts.plain("button-menu"), Go(to=Place.MENU))


@router.callback_query(Go.filter(F.to == Place.REISSUE))
async def _on_ask_reissue(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(ask_reissue)


@router.callback_query(Reissue.filter())
async def _on_reissue(_query: CallbackQuery, callback_data: Reissue, runner: UpdateRunner) -> None:
    await runner.run(reissue_key, callback_data.generation)


@router.callback_query(Go.filter(F.to == Place.FREEZE))
async def _on_ask_freeze(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(ask_freeze)


@router.callback_query(PickFreeze.filter())
async def _on_days(_query: CallbackQuery, callback_data: PickFreeze, runner: UpdateRunner) -> None:
    await runner.run(confirm_freeze, callback_data.days, callback_data.end)


@router.callback_query(Freeze.filter())
async def _on_freeze(_query: CallbackQuery, callback_data: Freeze, runner: UpdateRunner) -> None:
    await runner.run(freeze, callback_data.days, callback_data.end)


@router.callback_query(Go.filter(F.to == Place.THAW))
async def _on_ask_thaw(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(ask_thaw)


@router.callback_query(Thaw.filter())
async def _on_thaw(_query: CallbackQuery, callback_data: Thaw, runner: UpdateRunner) -> None:
    await runner.run(thaw, callback_data.end)
