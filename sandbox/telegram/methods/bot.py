"""Methods about the bot itself: who it is, its commands, its files, its answers to clicks and pre-checkouts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.methods.profile import check_language
from sandbox.telegram.protocol.arguments import chat_number, whole_number
from sandbox.telegram.protocol.errors import bad_request
from sandbox.telegram.state.queries import Answer, too_late
from sandbox.telegram.text.links import LinkError, check_link
from sandbox.telegram.text.texts import clean

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.telegram.chats.chats import Chats
    from sandbox.telegram.chats.clicks import Clicks
    from sandbox.telegram.protocol.arguments import Arguments
    from sandbox.telegram.protocol.errors import ApiError
    from sandbox.telegram.state.queries import Queries
    from sandbox.telegram.state.store import Store

COMMANDS_LIMIT: Final = 100
COMMAND_LIMIT: Final = 32
DESCRIPTION_LIMIT: Final = 256
ANSWER_LIMIT: Final = 200
DOWNLOAD_LIMIT: Final = 20 * 1024 * 1024
# What each must name beside its type.
SCOPES: Final[dict[str, tuple[str, ...]]] = {
    "default": (),
    "all_private_chats": (),
    "all_group_chats": (),
    "all_chat_administrators": (),
    "chat": ("chat_id",),
    "chat_administrators": ("chat_id",),
    "chat_member": ("chat_id", "user_id"),
}
_COMMAND = re.compile(r"[a-z0-9_]+")


def _command(raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise bad_request("can't parse BotCommand: expected an Object")
    for name in ("command", "description"):
        if not isinstance(raw.get(name), str):
            raise bad_request(f"can't parse BotCommand: Can't find field \"{name}\"")
    command, description = clean(raw["command"]).strip().removeprefix("/"), clean(raw["description"]).strip()
    if not command:
        raise bad_request("command must be non-empty")
    if len(command) > COMMAND_LIMIT:
        raise bad_request(f"command length must not exceed {COMMAND_LIMIT}")
    if not description:
        raise bad_request("command description must be non-empty")
    if len(description) > DESCRIPTION_LIMIT:
        raise bad_request(f"command description length must not exceed {DESCRIPTION_LIMIT}")
    if not _COMMAND.fullmatch(command):
        raise bad_request("BOT_COMMAND_INVALID")
    ephemeral = {"is_ephemeral": True} if raw.get("is_ephemeral") is True else {}
    return {"command": command, "description": description} | ephemeral


def _scope(arguments: Arguments) -> dict[str, Any]:
    """A BotCommandScope, with the chat as it was named."""
    scope = arguments.parsed("scope", "can't parse BotCommandScope JSON object")
    if not arguments.text("scope"):
        return {"type": "default"}
    if not isinstance(scope, dict):
        raise _bad_scope("BotCommandScope must be an Object")
    kind = scope.get("type")
    needed = ["type", *SCOPES.get(str(kind), ())]
    missing = next((name for name in needed if name not in scope), None)
    if missing is not None:
        raise _bad_scope(f'Can\'t find field "{missing}"')
    if not isinstance(kind, str) or kind not in SCOPES:
        raise _bad_scope("Unsupported type specified")
    if "chat_id" in needed and not str(scope["chat_id"]):
        raise _bad_scope("Empty chat_id specified")
    if "user_id" in needed and (whole_number(scope["user_id"]) or 0) <= 0:
        raise _bad_scope("Invalid user_id specified")
    return {name: scope[name] for name in needed}


def _bad_scope(reason: str) -> ApiError:
    return bad_request(f"can't parse BotCommandScope: {reason}")


class BotMethods:
    """One coroutine a method; each takes the call's arguments and returns the call's result."""

    def __init__(self, chats: Chats, store: Store, clicks: Clicks, checkouts: Queries) -> None:
        self._chats = chats
        self._store = store
        self._clicks = clicks
        self._checkouts = checkouts
        # What each user saw after their clicks, oldest first.
        self.answers: dict[int, list[Answer]] = {}
        # How the bot answered a pre-checkout, by query id: empty = go on, else the reason shown to the payer.
        self.checkout_answers: dict[str, str] = {}

    def table(self) -> dict[str, Callable[[Arguments], Awaitable[Any]]]:
        """The methods by lower-case name."""
        return {
            "getme": self.get_me,
            "getfile": self.get_file,
            "setmycommands": self.set_commands,
            "getmycommands": self.get_commands,
            "deletemycommands": self.delete_commands,
            "answercallbackquery": self.answer_click,
            "answerprecheckoutquery": self.answer_checkout,
        }

    async def get_me(self, _arguments: Arguments) -> dict[str, Any]:
        """The bot, with what it may do."""
        rights = {
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_guest_queries": False,
            "supports_inline_queries": False,
            "can_connect_to_business": False,
            "has_main_web_app": False,
            "has_topics_enabled": False,
            "allows_users_to_create_topics": False,
            "can_manage_bots": False,
            "supports_join_request_queries": False,
        }
        return self._chats.bot | rights

    async def get_file(self, arguments: Arguments) -> dict[str, Any]:
        """Where a file of at most 20 MB can be downloaded: `/file/bot<token>/<file_path>`."""
        if not arguments.text("file_id"):
            raise bad_request("file_id not specified")
        facts = self._chats.files.facts(arguments.text("file_id"))
        if facts is None:
            raise bad_request("invalid file_id")
        if facts["file_size"] > DOWNLOAD_LIMIT:
            raise bad_request("file is too big")
        return facts

    def _commands_key(self, arguments: Arguments) -> str:
        scope = _scope(arguments)
        if "chat_id" in scope:
            scope["chat_id"] = self._chat_of_commands(str(scope["chat_id"]))
        return json.dumps([scope, check_language(arguments)], sort_keys=True)

    def _chat_of_commands(self, chat_id: str) -> int:
        """The chat a scope names, which the bot must know: a person who never started it is a stranger."""
        channel = self._chats.channels.find(chat_id)
        if channel is not None:
            channel.check_access()
            channel.check_members()
            return channel.id
        number = chat_number(chat_id)
        account = None if number is None else self._chats.accounts.get(number)
        if account is None or not account.started:
            raise bad_request("chat not found")
        return account.id

    async def set_commands(self, arguments: Arguments) -> bool:
        """Replace the list of one scope and language."""
        listed = arguments.parsed("commands", "can't parse commands JSON object")
        if not arguments.text("commands"):
            listed = []  # none at all is an empty list, and an empty list removes what was set
        if not isinstance(listed, list):
            raise bad_request("expected an Array of BotCommand")
        commands = [_command(raw) for raw in listed]
        key = self._commands_key(arguments)
        if len(listed) > COMMANDS_LIMIT:
            raise bad_request("BOT_COMMANDS_TOO_MUCH")
        self._store.save_setting("commands", (self._store.setting("commands") or {}) | {key: commands})
        self._chats.changes.tell()
        return True

    async def delete_commands(self, arguments: Arguments) -> bool:
        """Remove the list of one scope and language: wider ones show again."""
        key = self._commands_key(arguments)
        commands = self._store.setting("commands") or {}
        self._store.save_setting("commands", {name: kept for name, kept in commands.items() if name != key})
        self._chats.changes.tell()
        return True

    async def get_commands(self, arguments: Arguments) -> list[dict[str, Any]]:
        """The list of exactly this scope and language, empty when none was set."""
        commands: dict[str, list[dict[str, Any]]] = self._store.setting("commands") or {}
        return commands.get(self._commands_key(arguments), [])

    def commands_of(self, user_id: int, language: str) -> list[dict[str, Any]]:
        """What the app of a user shows: the narrowest scope first, in each their language before none."""
        commands: dict[str, list[dict[str, Any]]] = self._store.setting("commands") or {}
        scopes: list[dict[str, Any]] = [
            {"type": "chat", "chat_id": user_id},
            {"type": "all_private_chats"},
            {"type": "default"},
        ]
        keys = [json.dumps([scope, code], sort_keys=True) for scope in scopes for code in (language, "")]
        return next((commands[key] for key in keys if commands.get(key)), [])

    def _own_link(self, url: str) -> str:
        """A click may open the bot's own deep link and nothing else; games are not modelled."""
        try:
            url = check_link(url)
        except LinkError:
            raise bad_request("URL_INVALID") from None
        if not url.lower().startswith(f"https://t.me/{self._chats.bot['username']}?start=".lower()):
            raise bad_request("URL_INVALID")
        return url

    async def answer_click(self, arguments: Arguments) -> bool:
        """Stop the spinner of a click, with a toast or an alert of at most 200 code points."""
        text = clean(arguments.text("text"))
        url = arguments.text("url")
        if len(text) > ANSWER_LIMIT:
            raise bad_request("MESSAGE_TOO_LONG")
        if url:
            url = self._own_link(url)
        query_id = arguments.text("callback_query_id")
        user_id, click_id = self._clicks.answer(query_id)
        answer = Answer(click_id, text, arguments.flag("show_alert"), url)
        self.answers.setdefault(user_id, []).append(answer)
        self._chats.changes.tell()
        return True

    async def answer_checkout(self, arguments: Arguments) -> bool:
        """Let a payment go on, or not, within 10 seconds of its pre-checkout."""
        query_id = arguments.text("pre_checkout_query_id")
        reason = "" if arguments.flag("ok") else clean(arguments.text("error_message"))
        if not arguments.flag("ok") and not reason:
            raise bad_request('parameter "error_message" is required')
        if not query_id:
            raise too_late()
        self._checkouts.answer(query_id)
        self.checkout_answers[query_id] = reason
        self._chats.changes.tell()
        return True
