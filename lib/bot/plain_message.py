"""The commonest update, read without aiogram's models: a text that a person typed in their own chat.

Building the schema of `Update` takes 60 ms of a process's first answer, which is nearly always one to /start. What comes out
is an `aiogram.types.Message` like any other, but for its entities, which the bot has no use for. Anything unusual, a key or
a type that is not in the lists below, is left to the full models, and to what is logged when they can't read it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from aiogram.types import Chat, Message, TelegramObject, Update, User

if TYPE_CHECKING:
    from aiogram import Bot

_Model = TypeVar("_Model", bound=TelegramObject)
_Keys = dict[str, type]
# bool is an int to isinstance, so types are compared for identity
_MESSAGE: _Keys = {"message_id": int, "date": int, "chat": dict, "from": dict, "text": str}
_CHAT: _Keys = {"id": int, "type": str}
_USER: _Keys = {"id": int, "is_bot": bool, "first_name": str}
_CHAT_OPTIONAL: _Keys = {"first_name": str, "last_name": str, "username": str}
_USER_OPTIONAL: _Keys = {"last_name": str, "username": str, "language_code": str, "is_premium": bool}
_MESSAGE_OPTIONAL: _Keys = {"entities": list}
_COMMAND = {"type", "offset", "length"}
_LATEST = 253_402_300_799  # the end of the year 9999


def read(bot: Bot, update_id: int, raw: Any) -> Update | None:
    """The update around such a message; None when it is anything else."""
    if not _is(raw, _MESSAGE, _MESSAGE_OPTIONAL):
        return None
    chat, user = raw["chat"], raw["from"]
    if not _is(chat, _CHAT, _CHAT_OPTIONAL) or not _is(user, _USER, _USER_OPTIONAL):
        return None
    if chat["type"] != "private" or not 0 < raw["date"] <= _LATEST or not _are_commands(raw.get("entities", [])):
        return None
    message = _made(
        Message,
        bot,
        message_id=raw["message_id"],
        date=datetime.fromtimestamp(raw["date"], UTC),
        chat=_made(Chat, bot, **chat),
        from_user=_made(User, bot, **user),
        text=raw["text"],
    )
    return _made(Update, bot, update_id=update_id, message=message)


def _made(kind: type[_Model], bot: Bot, **fields: Any) -> _Model:
    blank: _Model = _blank(kind)
    made: _Model = blank.model_copy(update=fields).as_(bot)
    return made


@cache
def _blank(kind: type[TelegramObject]) -> Any:
    """One with all optional fields at their defaults: a copy costs a hundredth of looking all of them up again."""
    return kind.model_construct()


def _is(raw: Any, required: _Keys, optional: _Keys) -> bool:
    known = required | optional
    return (
        type(raw) is dict
        and required.keys() <= raw.keys() <= known.keys()
        and all(type(value) is known[name] for name, value in raw.items())
    )


def _are_commands(entities: list[Any]) -> bool:
    """Telegram marks a command as one; other marks belong to messages that are read in full."""
    return all(
        type(entity) is dict
        and entity.keys() == _COMMAND
        and entity["type"] == "bot_command"
        and type(entity["offset"]) is type(entity["length"]) is int
        for entity in entities
    )
