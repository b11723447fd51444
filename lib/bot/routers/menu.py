"""Start, the main menu, the language; and every message and button that no other router takes (product.md#screens-user)."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from aiogram import F, Router
from aiogram.enums import ContentType
from aiogram.filters import Command, CommandObject

from lib import texts
from lib.bot.callbacks import AnswerData, Go, Place, SetLanguage
from lib.bot.routers import access
from lib.bot.screen import Screen, tap
from lib.domain import accounts, trial

if TYPE_CHECKING:
    from aiogram.types import CallbackQuery, Message

    from lib.bot.screen import Button, Rows
    from lib.bot.update_context import UpdateContext, UpdateRunner
    from lib.db import Transaction

start_router = Router(name="start")
"""/start alone, asked first: half of all updates, and each router that is asked before costs time."""
router = Router(name="menu")

_DEEP_LINK = re.compile(r"[A-Za-z0-9_-]+")
_DEEP_LINK_LIMIT = 64
_SERVICE = (
    ContentType.CHAT_BACKGROUND_SET,
    ContentType.MESSAGE_AUTO_DELETE_TIMER_CHANGED,
    ContentType.PINNED_MESSAGE,
    ContentType.REFUNDED_PAYMENT,
    ContentType.SUCCESSFUL_PAYMENT,
    ContentType.WRITE_ACCESS_ALLOWED,
)
"""Changes of a private chat that are no message to the bot. Whatever is not among them is answered, kinds yet unknown too."""


def deep_link(typed: str | None) -> str | None:
    """What came after /start, when Telegram could have put it there; a person can type anything."""
    found = _DEEP_LINK.fullmatch(typed or "")
    return found[0][:_DEEP_LINK_LIMIT] if found else None


def rows(tx: Transaction, context: UpdateContext) -> Rows:
    """The menu's buttons; the trial's is shown by the rule that its action uses."""
    language = context.texts.language
    return (_offer(language), *_always(language)) if trial.eligible(tx, context.account.id) else _always(language)


@cache
def _offer(language: str) -> tuple[Button, ...]:
    return (tap(texts.of(language).plain("button-trial"), Go(to=Place.TRIAL)),)


@cache
def _always(language: str) -> Rows:
    say = texts.of(language).plain
    return (
        (tap(say("button-buy"), Go(to=Place.BUY)),),
        (tap(say("button-key"), Go(to=Place.KEY)), tap(say("button-profile"), Go(to=Place.PROFILE))),
        (tap(say("button-instruction"), Go(to=Place.INSTRUCTION)),),
        (
            tap(say("button-support"), Go(to=Place.SUPPORT)),
            tap(say("button-language"), Go(to=Place.LANGUAGE)),
        ),
    )


def show_menu(tx: Transaction, context: UpdateContext, toast: str = "") -> Screen:
    """The main menu; `toast` is the id of a text."""
    said = context.texts.plain(toast) if toast else ""
    return Screen(_below(context, context.texts.html("menu")), rows(tx, context), toast=said, repeatable=True)


def welcome(tx: Transaction, context: UpdateContext) -> Screen:
    """The menu, with a greeting by name; who comes for the first time is told which data is kept."""
    text = context.texts.html("menu-welcome", name=context.account.first_name)
    if context.account.is_new:
        text += "\n\n" + context.texts.html("menu-welcome-data")
    return Screen(_below(context, text), rows(tx, context), repeatable=True)


def _below(context: UpdateContext, text: str) -> str:
    """The text, under what the banned are told."""
    notice = access.banned_notice(context)
    return f"{notice}\n\n{text}" if notice else text


def not_understood(tx: Transaction, context: UpdateContext) -> Screen:
    """The menu, after a message that is neither a command nor a button."""
    return Screen(context.texts.html("menu-not-understood"), rows(tx, context), repeatable=True)


def show_languages(_tx: Transaction, context: UpdateContext) -> Screen:
    """The choice of language, readable in both."""
    say = context.texts.plain
    choice = tuple(tap(say(f"button-{code}"), SetLanguage(code=code)) for code in accounts.LANGUAGES)
    return Screen(context.texts.html("language-choose"), (choice, (tap(say("button-menu"), Go(to=Place.MENU)),)))


def choose_language(tx: Transaction, context: UpdateContext, code: str) -> Screen:
    """Speak that language from now on; a forged one changes nothing."""
    if code not in accounts.LANGUAGES:
        return show_menu(tx, context, "toast-stale")
    accounts.choose_language(tx, context.account.id, code)
    return show_menu(tx, context.in_language(code), "toast-language")


@start_router.message(Command("start", ignore_case=True, ignore_mention=True))
async def _on_start(_message: Message, command: CommandObject, runner: UpdateRunner) -> None:
    await runner.start(welcome, deep_link(command.args))


@router.callback_query(AnswerData.filter())
async def _on_data_answer(_query: CallbackQuery, callback_data: AnswerData, runner: UpdateRunner) -> None:
    if runner.context.asks_data:
        await runner.start(welcome, callback_data.payload, data_answer=callback_data.accepted)
    else:  # asked by a shop that asks no more
        await runner.run(show_menu, "toast-stale")


@router.callback_query(Go.filter(F.to == Place.MENU))
async def _on_menu(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_menu)


@router.message(Command("language", ignore_case=True, ignore_mention=True))
@router.callback_query(Go.filter(F.to == Place.LANGUAGE))
async def _on_languages(_event: Message | CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_languages)


@router.callback_query(SetLanguage.filter())
async def _on_language(_query: CallbackQuery, callback_data: SetLanguage, runner: UpdateRunner) -> None:
    await runner.run(choose_language, callback_data.code)


@router.callback_query()
async def _on_unknown_button(_query: CallbackQuery, runner: UpdateRunner) -> None:
    await runner.run(show_menu, "toast-stale")


@router.message(F.content_type.not_in(_SERVICE))
async def _on_anything(_message: Message, runner: UpdateRunner) -> None:
    await runner.run(not_understood)
