"""What one can read up: instructions per platform, help, support, terms, privacy, questions about payments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiogram import F, Router
from aiogram.filters import Command, CommandObject

from lib.bot.callbacks import Go, Instruct, Place, Platform
from lib.bot.screen import Button, Screen, tap

if TYPE_CHECKING:
    from aiogram.types import CallbackQuery, Message

    from lib.bot.turn import Scene, Turn
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
"""One client a platform: a choice helps nobody who has never done this."""
_READINGS = ("help", "terms", "privacy", "paysupport")
"""Commands whose text has the command's name."""


def show_platforms(_tx: Transaction, scene: Scene) -> Screen:
    """What will it be used on?"""
    say = scene.texts.plain
    choice = tuple((tap(say(f"platform-{platform.value}"), Instruct(platform=platform)),) for platform in Platform)
    return Screen(scene.texts.html("instruction-choose"), (*choice, (tap(say("button-menu"), Go(to=Place.MENU)),)))


def show_steps(_tx: Transaction, scene: Scene, platform: Platform) -> Screen:
    """Steps for one platform."""
    say, app = scene.texts, APPS[platform]
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


def show_support(_tx: Transaction, scene: Scene) -> Screen:
    """Where a person answers."""
    contact = _contact(scene)
    text = scene.texts.html("support" if contact else "support-no-address")
    terms = tap(scene.texts.plain("button-terms"), Go(to=Place.TERMS))
    return Screen(text, (*contact, (terms,), (tap(scene.texts.plain("button-menu"), Go(to=Place.MENU)),)))


def _contact(scene: Scene) -> tuple[tuple[Button, ...], ...]:
    url = scene.setting.support_url
    if not url.startswith(("https://", "http://", "tg://")):
        return ()
    return ((Button(scene.texts.plain("button-write-support"), url=url),),)


def show_reading(_tx: Transaction, scene: Scene, name: str) -> Screen:
    """One of the texts of `_READINGS`."""
    contact = _contact(scene) if name in {"help", "paysupport", "privacy"} else ()
    return Screen(scene.texts.html(name), (*contact, (tap(scene.texts.plain("button-menu"), Go(to=Place.MENU)),)))


@router.message(Command("instruction", ignore_case=True, ignore_mention=True))
@router.callback_query(Go.filter(F.to == Place.INSTRUCTION))
async def on_instruction(_event: Message | CallbackQuery, turn: Turn) -> None:
    """The choice of platform."""
    await turn.play(show_platforms)


@router.callback_query(Instruct.filter())
async def on_platform(_query: CallbackQuery, callback_data: Instruct, turn: Turn) -> None:
    """A platform was chosen."""
    await turn.play(show_steps, callback_data.platform)


@router.callback_query(Go.filter(F.to == Place.SUPPORT))
async def on_support(_query: CallbackQuery, turn: Turn) -> None:
    """Support."""
    await turn.play(show_support)


@router.callback_query(Go.filter(F.to == Place.TERMS))
async def on_terms(_query: CallbackQuery, turn: Turn) -> None:
    """The terms, from a button."""
    await turn.play(show_reading, "terms")


@router.message(Command(*_READINGS, ignore_case=True, ignore_mention=True))
async def on_reading(_message: Message, command: CommandObject, turn: Turn) -> None:
    """A text that is a command."""
    await turn.play(show_reading, command.command.lower())
