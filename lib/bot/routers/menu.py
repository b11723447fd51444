"""Start, the main menu, the language; and every message and button that nobody else knows (product.md#screens-user)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiogram import F, Router
from aiogram.enums import ContentType
from aiogram.filters import Command, CommandObject

from lib.bot.callbacks import Go, Place, SetLanguage
from lib.bot.screen import Screen, tap
from lib.domain import accounts, trial

if TYPE_CHECKING:
    from aiogram.types import CallbackQuery, Message

    from lib.bot.screen import Rows
    from lib.bot.turn import Scene, Turn
    from lib.db import Transaction

entrance = Router(name="entrance")
"""/start alone, asked first: half of all updates, and each router that is asked before costs time."""
router = Router(name="menu")

_DEEP_LINK = re.compile(r"[A-Za-z0-9_-]+")
_DEEP_LINK_LIMIT = 64
_SERVICE = frozenset(ContentType) - {
    ContentType.TEXT,
    ContentType.ANIMATION,
    ContentType.AUDIO,
    ContentType.CONTACT,
    ContentType.DICE,
    ContentType.DOCUMENT,
    ContentType.LOCATION,
    ContentType.PHOTO,
    ContentType.POLL,
    ContentType.STICKER,
    ContentType.STORY,
    ContentType.VENUE,
    ContentType.VIDEO,
    ContentType.VIDEO_NOTE,
    ContentType.VOICE,
    ContentType.UNKNOWN,
}
"""Messages that no person wrote: payments, pins, chat changes. They are answered with nothing."""


def deep_link(typed: str | None) -> str | None:
    """What came after /start, when Telegram could have put it there; anybody can type anything."""
    found = _DEEP_LINK.fullmatch(typed or "")
    return found[0][:_DEEP_LINK_LIMIT] if found else None


def rows(tx: Transaction, scene: Scene) -> Rows:
    """The menu's buttons; the free period's is there by the rule that its action uses."""
    say = scene.texts.plain
    offer = ((tap(say("button-trial"), Go(to=Place.TRIAL)),),) if trial.eligible(tx, scene.account.id) else ()
    return (
        *offer,
        (tap(say("button-buy"), Go(to=Place.BUY)),),
        (tap(say("button-key"), Go(to=Place.KEY)), tap(say("button-profile"), Go(to=Place.PROFILE))),
        (tap(say("button-instruction"), Go(to=Place.INSTRUCTION)),),
        (
            tap(say("button-support"), Go(to=Place.SUPPORT)),
            tap(say("button-language"), Go(to=Place.LANGUAGE)),
        ),
    )


def show_menu(tx: Transaction, scene: Scene, toast: str = "") -> Screen:
    """The main menu; `toast` is the id of a text."""
    return Screen(scene.texts.html("menu"), rows(tx, scene), toast=scene.texts.plain(toast) if toast else "")


def welcome(tx: Transaction, scene: Scene) -> Screen:
    """The menu, with a greeting by name."""
    return Screen(scene.texts.html("menu-welcome", name=scene.account.first_name), rows(tx, scene))


def not_understood(tx: Transaction, scene: Scene) -> Screen:
    """The menu, for whoever wrote something that is neither a command nor a button."""
    return Screen(scene.texts.html("menu-not-understood"), rows(tx, scene))


def show_languages(_tx: Transaction, scene: Scene) -> Screen:
    """The choice of language, readable in both."""
    say = scene.texts.plain
    choice = tuple(tap(say(f"button-{code}"), SetLanguage(code=code)) for code in accounts.LANGUAGES)
    return Screen(scene.texts.html("language-choose"), (choice, (tap(say("button-menu"), Go(to=Place.MENU)),)))


def choose_language(tx: Transaction, scene: Scene, code: str) -> Screen:
    """Speak that language from now on; a forged one changes nothing."""
    if code not in accounts.LANGUAGES:
        return show_menu(tx, scene, "toast-stale")
    accounts.choose_language(tx, scene.account.id, code)
    return show_menu(tx, scene.speaking(code), "toast-language")


@entrance.message(Command("start", ignore_case=True, ignore_mention=True))
async def on_start(_message: Message, command: CommandObject, turn: Turn) -> None:
    """A deep link is taken and never an error."""
    await turn.play(welcome, start_payload=deep_link(command.args))


@router.callback_query(Go.filter(F.to == Place.MENU))
async def on_menu(_query: CallbackQuery, turn: Turn) -> None:
    """Back to the menu."""
    await turn.play(show_menu)


@router.message(Command("language", ignore_case=True, ignore_mention=True))
@router.callback_query(Go.filter(F.to == Place.LANGUAGE))
async def on_languages(_event: Message | CallbackQuery, turn: Turn) -> None:
    """The choice of language."""
    await turn.play(show_languages)


@router.callback_query(SetLanguage.filter())
async def on_language(_query: CallbackQuery, callback_data: SetLanguage, turn: Turn) -> None:
    """A language was chosen."""
    await turn.play(choose_language, callback_data.code)


@router.callback_query()
async def on_unknown_button(_query: CallbackQuery, turn: Turn) -> None:
    """An old, foreign or forged button leads to the menu, and says so."""
    await turn.play(show_menu, "toast-stale")


@router.message(F.content_type.not_in(_SERVICE))
async def on_anything(_message: Message, turn: Turn) -> None:
    """Whatever else a person writes."""
    await turn.play(not_understood)
