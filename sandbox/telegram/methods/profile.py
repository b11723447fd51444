"""Methods about how the bot presents itself: name, descriptions, the button beside the text field."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.protocol.errors import bad_request
from sandbox.telegram.text.links import LinkError, check_link
from sandbox.telegram.text.texts import clean

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.telegram.chats.chats import Chats
    from sandbox.telegram.protocol.arguments import Arguments
    from sandbox.telegram.state.store import Store

# By the parameter's name: the method's end, and how many code points it may have.
TEXTS: Final = {
    "name": ("name", 64),
    "description": ("description", 512),
    "short_description": ("shortdescription", 120),
}
_LANGUAGE = re.compile(r"(?:[a-z]{2})?")
_MENU: Final = "menu buttons"


def check_language(arguments: Arguments) -> str:
    """A two-letter code, or nothing for all others.

    Raises:
        ApiError: anything longer.
    """
    language = arguments.text("language_code")
    if not _LANGUAGE.fullmatch(language):
        raise bad_request("invalid language code specified")
    return language


class ProfileMethods:
    """One coroutine a method; each takes the call's arguments and returns the call's result."""

    def __init__(self, chats: Chats, store: Store) -> None:
        self._chats = chats
        self._store = store
        self._chats.bot["first_name"] = self._texts("name").get("", self._chats.bot["first_name"])

    def table(self) -> dict[str, Callable[[Arguments], Awaitable[Any]]]:
        """The methods by lower-case name."""
        texts: dict[str, Callable[[Arguments], Awaitable[Any]]] = {
            f"setmy{end}": partial(self.set_text, name) for name, (end, _) in TEXTS.items()
        }
        texts |= {f"getmy{end}": partial(self.get_text, name) for name, (end, _) in TEXTS.items()}
        return texts | {"setchatmenubutton": self.set_menu_button, "getchatmenubutton": self.get_menu_button}

    def _texts(self, name: str) -> dict[str, str]:
        kept: dict[str, str] = self._store.setting(f"bot {name}") or {}
        return kept

    async def set_text(self, name: str, arguments: Arguments) -> bool:
        """Set a text for one language, or for all that have none of their own; an empty one removes it."""
        language, text = check_language(arguments), clean(arguments.text(name)).strip()
        if len(text) > TEXTS[name][1]:
            raise bad_request(f"bot {name.replace('_', ' ')} is too long")
        if name == "name" and not language:
            if not text:
                raise bad_request("bot name must be non-empty")
            self._chats.bot["first_name"] = text
        others = {code: kept for code, kept in self._texts(name).items() if code != language}
        self._store.save_setting(f"bot {name}", others | ({language: text} if text else {}))
        self._chats.changes.tell()
        return True

    async def get_text(self, name: str, arguments: Arguments) -> dict[str, str]:
        """The text of exactly this language, empty when none was set; the name without a language is always there."""
        language = check_language(arguments)
        default = self._chats.bot["first_name"] if name == "name" and not language else ""
        return {name: self._texts(name).get(language, default)}

    def _menu_key(self, arguments: Arguments) -> str:
        chat_id = arguments.text("chat_id")
        return str(self._chats.open_chat(chat_id).id) if chat_id else ""

    @staticmethod
    def _button(arguments: Arguments) -> dict[str, Any]:
        raw = arguments.parsed("menu_button", "can't parse menu button JSON object") or {"type": "default"}
        if not isinstance(raw, dict):
            raise bad_request("can't parse menu button: MenuButton must be an Object")
        kind = raw.get("type")
        if kind in {"default", "commands"}:
            return {"type": kind}
        if kind != "web_app":
            raise bad_request("can't parse menu button: MenuButton has unsupported type")
        app = raw.get("web_app")
        if not isinstance(raw.get("text"), str) or not isinstance(app, dict) or not isinstance(app.get("url"), str):
            raise bad_request('can\'t parse menu button: Can\'t find field "text" or "web_app"')
        try:
            url = check_link(app["url"], https_only=True)
        except LinkError as error:
            raise bad_request(f"menu button Web App URL '{app['url']}' is invalid: {error}") from None
        return {"type": "web_app", "text": clean(raw["text"]), "web_app": {"url": url}}

    async def set_menu_button(self, arguments: Arguments) -> bool:
        """Set the button of one private chat, or of all that have none of their own."""
        button = self._button(arguments)
        kept = self._store.setting(_MENU) or {}
        self._store.save_setting(_MENU, kept | {self._menu_key(arguments): button})
        self._chats.changes.tell()
        return True

    async def get_menu_button(self, arguments: Arguments) -> dict[str, Any]:
        """The button of one private chat, or the default one."""
        kept: dict[str, dict[str, Any]] = self._store.setting(_MENU) or {}
        key = self._menu_key(arguments)
        return kept.get(key) or (kept.get("") if not key else None) or {"type": "default" if key else "commands"}
