"""What the bot does with an update: the update in, the stored reply out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiogram.enums import ChatMemberStatus, ChatType
from aiogram.types import Message, Update
from pydantic import ValidationError

from lib import json_reader, log
from lib.bot import client, plain_message
from lib.bot.dispatcher import the_dispatcher
from lib.bot.update_context import UpdateContext, UpdateRunner, finish_silently
from lib.domain.accounts import Person

if TYPE_CHECKING:
    from aiogram import Bot
    from aiogram.types import ChatMemberUpdated, User

    from lib.bot.services import Services
    from lib.domain.updates import Handled, Incoming

_ESSENTIAL = {
    "message": ("message_id", "date", "chat", "from", "text"),
    "callback_query": ("id", "from", "chat_instance", "data"),
    "my_chat_member": (),
}
"""The kinds of update the bot uses, and of each the fields that it can't do without."""


async def handle(services: Services, incoming: Incoming, update: dict[str, Any]) -> Handled:
    """Have the update's effect once and say what is to be answered; a second delivery gets the stored reply.

    Everything the bot has no use for is consumed and answered with nothing.

    Raises:
        DatabaseError: nothing is lost, the sender is to try again.
    """
    bot = client.bot_for(services.telegram)
    parsed = _parse(bot, update, incoming)
    if parsed is not None and parsed.my_chat_member is not None:
        return await _note_reachability(services, incoming, parsed.my_chat_member)
    handled = None
    if parsed is not None and (context := _context(services, incoming, parsed)) is not None:
        runner = UpdateRunner(services, context)
        await the_dispatcher().feed_update(bot, parsed, runner=runner)
        handled = runner.handled
    if handled is None:
        handled = await services.db.run(finish_silently, incoming)
    if handled.cap_reached:
        log.error("trial_cap_reached")
    return handled


def _parse(bot: Bot, update: dict[str, Any], incoming: Incoming) -> Update | None:
    """The update as aiogram has it, if need be without the parts that it can't read; None for kinds the bot does not use."""
    kind = next((name for name in _ESSENTIAL if isinstance(update.get(name), dict)), None)
    if kind is None:
        return None
    if kind == "message" and (plain := plain_message.read(bot, incoming.update_id, update[kind])) is not None:
        return plain
    only = {"update_id": incoming.update_id, kind: update[kind]}
    try:
        return Update.model_validate(only, context={"bot": bot})
    except ValidationError as error:
        log.warning("update_not_understood", kind=kind, update_id=incoming.update_id, problems=error.error_count())
    only[kind] = _essence(kind, update[kind])
    try:
        return Update.model_validate(only, context={"bot": bot})
    except ValidationError:
        return None


def _essence(kind: str, whole: dict[str, Any]) -> dict[str, Any]:
    """A union member that this version does not know must not cost the customer an answer."""
    kept = {name: whole[name] for name in _ESSENTIAL[kind] if name in whole}
    message = whole.get("message")
    if kind == "callback_query" and isinstance(message, dict):
        # date 0 is how Telegram marks a message it can't show: the answer is sent anew
        kept["message"] = {"message_id": message.get("message_id"), "chat": message.get("chat"), "date": 0}
    return kept


def _context(services: Services, incoming: Incoming, update: Update) -> UpdateContext | None:
    """Who acts and where the answer goes; None for what happens outside private chats, whose id is their owner's."""
    message, query = update.message, update.callback_query
    user, chat_id, message_id, query_id = None, 0, None, None
    if message is not None:
        user, chat_id = message.from_user, message.chat.id
    elif query is not None and query.message is not None:
        user, chat_id, query_id = query.from_user, query.message.chat.id, query.id
        # a picture or a message too old to be seen can't be edited into a text
        if isinstance(query.message, Message) and query.message.text is not None:
            message_id = query.message.message_id
    if user is None or chat_id != user.id or not _is_person(chat_id):
        return None
    return UpdateContext(
        incoming,
        _person(user),
        chat_id,
        message_id,
        query_id,
        prices=services.prices,
        zone=services.zone,
        support_url=services.telegram.support_url,
        methods=services.methods,
        balance_offered=services.balance_offered,
        owners=services.owners,
        asks_data=services.asks_data,
    )


def _is_person(telegram_id: int) -> bool:
    """An id that can be stored and written to; an update with any other is consumed and answered with nothing."""
    return json_reader.is_id(telegram_id)


def _person(user: User) -> Person:
    return Person(user.id, user.first_name, user.username, user.language_code)


async def _note_reachability(services: Services, incoming: Incoming, change: ChatMemberUpdated) -> Handled:
    if change.chat.type != ChatType.PRIVATE or not _is_person(change.chat.id):
        return await services.db.run(finish_silently, incoming)
    reachable = change.new_chat_member.status != ChatMemberStatus.KICKED
    return await services.db.run(finish_silently, incoming, change.chat.id, reachable=reachable)
