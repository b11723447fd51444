"""How the bot presents itself: its commands, what it can do, and a line about it, in both languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.deploy import webhook_calls
from infra.deploy.engine import Change
from lib import texts

if TYPE_CHECKING:
    from infra.deploy.telegram import BotApi
    from infra.deploy.world import World

NAME = "profile"
TITLE = "The bot's commands and profile"

# Telegram's code, ours: people with another language read English, as in the chat.
LANGUAGES = (("", "en"), ("ru", "ru"))


def look(world: World) -> Change | None:
    """What Telegram shows otherwise; only that is set, for Telegram lets it be changed seldom."""
    bot = webhook_calls.bot(world)
    calls: list[tuple[str, dict[str, Any]]] = []
    for code, language in LANGUAGES:
        calls += _different(bot, code, texts.of(language))
    if not calls:
        return None
    told = [f"{method} ({arguments['language_code'] or 'all other languages'})" for method, arguments in calls]

    def call() -> None:
        for method, arguments in calls:
            bot.call(method, **arguments)

    return Change(told, call, asks=False)


def _different(bot: BotApi, code: str, language: texts.Texts) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    if bot.call("getMyCommands", language_code=code) != language.commands():
        found.append(("setMyCommands", {"commands": language.commands(), "language_code": code}))
    for name, method in (("description", "Description"), ("short_description", "ShortDescription")):
        text = language.profile()[name]
        if bot.call(f"getMy{method}", language_code=code).get(name) != text:
            found.append((f"setMy{method}", {name: text, "language_code": code}))
    return found
