"""What one can read up: instructions per platform, help, support, terms, privacy, questions about payments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiogram import F, Router
from aiogram.filters import Command, CommandObject

from lib.bot import money_screens
from lib.bot.callbacks import Go, Instruct, Place, Platform, ShowMoves
from lib.bot.screen import Button, Screen, tap
from lib.domain import consents

if TYPE_CHECKING:
    from aiogram.types import CallbackQuery, Message

    from lib.bot.update_context import UpdateContext, UpdateRunner
    from lib.db import Transaction

router = Router(name="reference")


@dataclass(frozen=True, slots=True)
class App:
    """A client that opens our links; `add` and `connect` are ids of texts."""

    name: str
    url: str
    add: str
    connect: str


_HAPP = "https://www.happ.su/main"
_HIDDIFY = "https://hiddify.com"
APPS = {
    Platform.IOS: App("Happ", _HAPP, "instruction-add-happ", "instruction-connect-phone"),
    Platform.ANDROID: App("Happ", _HAPP, "instruction-add-happ", "instruction-connect-phone"),
    Platform.WINDOWS: App("Hiddify", _HIDDIFY, "instruction-add-hiddify", "instruction-connect-desktop"),
    Platform.MACOS: App("Hiddify", _HIDDIFY, "instruction-add-hiddify", "instruction-connect-desktop"),
    Platform.LINUX: App("Hiddify", _HIDDIFY, "instruction-add-hiddify", "instruction-connect-desktop"),
}
"""One client a platform: a choice does not help a customer who has never done this."""
_READINGS = ("help", "terms", "privacy")
"""Commands whose text has the command's name."""
_ASKED_FOR = {"terms": consents.Kind.TERMS, "privacy": consents.Kind.DATA}
"""Texts with a version, which people consent to."""


def show_platforms(_tx: Transaction, context: UpdateContext) -> Screen:
    """What will it be used on?"""
    say = context.texts.plain
    choice = tuple((tap(say(f"platform-{platform.value}"), Instruct(platform=platform)),) for platform in Platform)
    return Screen(context.texts.html("instruction-choose"), (*choice, (tap(say("button-menu"), Go(to=Place.MENU)),)))


def show_steps(_tx: Transaction, context: UpdateContext, platform: Platform) -> Screen:
    """Steps for one platform."""
    say, app = context.texts, APPS[platform]
    text = say.html(
        "instruction",
        platform=say.plain(f"platform-{platform.value}"),
        app=app.name,
        add=say.plain(app.add),
        connect=say.plain(app.connect),
    )
    return Screen(
        text,
        (
            (Button(say.plain("button-download", app=app.name), url=app.url),),
            (tap(say.plain("button-key"), Go(to=Place.KEY)),),
            (
                tap(say.plain("button-back"), Go(to=Place.INSTRUCTION)),
                tap(say.plain("button-menu"), Go(to=Place.MENU)),
            ),
        ),
    )


def show_support(_tx: Transaction, context: UpdateContext) -> Screen:
    """Where a person answers."""
    contact = _contact(context)
    text = context.texts.html("support" if contact else "support-no-address")
    say = context.texts.plain
    pay_support = tap(say("button-pay-support"), Go(to=Place.PAY_SUPPORT))
    readings = (tap(say("button-terms"), Go(to=Place.TERMS)), tap(say("button-privacy"), Go(to=Place.PRIVACY)))
    return Screen(text, (*contact, (pay_support,), readings, (tap(say("button-menu"), Go(to=Place.MENU)),)))


def _contact(context: UpdateContext) -> tuple[tuple[Button, ...], ...]:
    url = context.support_url
    if not url.startswith(("https://", "http://", "tg://")):
        return ()
    return ((Button(context.texts.plain("button-write-support"), url=url),),)


def show_reading(_tx: Transaction, context: UpdateContext, name: str) -> Screen:
    """One of the texts of `_READINGS`."""
    contact = _contact(context) if name in {"help", "privacy"} else ()
    kind = _ASKED_FOR.get(name)
    text = (
        context.texts.html(name)
        if kind is None
        else context.texts.html(name, version=str(consents.text_in_force(kind)))
    )
    return Screen(text, (*contact, (tap(context.texts.plain("button-menu"), Go(to=Place.MENU)),)))


def show_pay_support(tx: Transaction, context: UpdateContext) -> Screen:
    """How to get help with a payment, and what became of the last ones."""
    say = context.texts
    known = money_screens.charges(tx, context)
    text = "\n\n".join((say.html("paysupport"), *([known] if known else [])))
    moves = tap(say.plain("button-moves"), ShowMoves(before=0))
    return Screen(text, (*_contact(context), (moves,), (tap(say.plain("button-menu"), Go(to=Place.MENU)),)))


@router.message(Command("instruction", ignore_case=True, ignore_mention=True))
@router.callback_query(Go.filter(F.to == Place.INSTRUCTION))
async def _on_instruction(_event: Message | CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_platforms)


@router.callback_query(Instruct.filter())
async def _on_platform(_query: CallbackQuery, callback_data: Instruct, runner: UpdateRunner) -> None:
    await runner.run(show_steps, callback_data.platform)


@router.callback_query(Go.filter(F.to == Place.SUPPORT))
async def _on_support(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_support)


@router.callback_query(Go.filter(F.to == Place.TERMS))
async def _on_terms(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_reading, "terms")


@router.callback_query(Go.filter(F.to == Place.PRIVACY))
async def _on_privacy(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_reading, "privacy")


@router.message(Command("paysupport", ignore_case=True, ignore_mention=True))
@router.callback_query(Go.filter(F.to == Place.PAY_SUPPORT))
async def _on_pay_support(_event: Message | CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_pay_support)


@router.message(Command(*_READINGS, ignore_case=True, ignore_mention=True))
async def _on_reading(_message: Message, command: CommandObject, runner: UpdateRunner) -> None:
    await runner.run(show_reading, command.command.lower())
