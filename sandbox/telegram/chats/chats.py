"""The private chat that each account has with the bot, and the files in those chats. Channels are beside them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sandbox.telegram.chats.accounts import Account, Accounts
from sandbox.telegram.chats.channels import Channels
from sandbox.telegram.files.files import Files
from sandbox.telegram.protocol.arguments import chat_number
from sandbox.telegram.protocol.errors import bad_request, forbidden, not_modelled

if TYPE_CHECKING:
    from sandbox.stand_in.clock import Clock
    from sandbox.telegram.files.files import StoredPicture
    from sandbox.telegram.state.store import Store
    from sandbox.telegram.updates.updates import Updates

Message = dict[str, Any]


class Chats(Accounts):
    """The state of all chats. `changes` moves with everything a user could see."""

    def __init__(self, store: Store, clock: Clock, bot: dict[str, Any], updates: Updates) -> None:
        super().__init__(store, clock, bot)
        self._messages: dict[int, dict[int, Message]] = {}
        # One sequence for all of a bot's private chats, as with the real one.
        self._last_id: int = store.setting("last_message_id") or 0
        for chat_id, body in store.messages():
            self._messages.setdefault(chat_id, {})[body["message_id"]] = body
        self.files = Files(store)
        self.channels = Channels(store, self, updates)

    def open_chat(self, chat_id: str) -> Account:
        """The account behind a call's `chat_id`, when the bot may write to it.

        Raises:
            ApiError: no such chat, or its owner blocked the bot, is deleted, or never started it.
        """
        if not chat_id:
            raise bad_request("chat_id is empty")
        if self.channels.find(chat_id) is not None:
            raise not_modelled("messages in channels")
        number = chat_number(chat_id)
        account = None if number is None else self.accounts.get(number)
        if str(self.bot["id"]) == chat_id.strip():
            raise forbidden("the bot can't send messages to the bot")
        if account is None:
            raise bad_request("chat not found")
        if account.deleted:
            raise forbidden("user is deactivated")
        if account.blocked:
            raise forbidden("bot was blocked by the user")
        if not account.started:
            raise forbidden("bot can't initiate conversation with a user")
        return account

    def messages(self, chat_id: int) -> list[Message]:
        """A copy of the chat as it now is, oldest first."""
        return copy.deepcopy(list(self._messages.get(chat_id, {}).values()))

    def last_message(self, chat_id: int) -> Message | None:
        """A copy of the newest message."""
        messages = self._messages.get(chat_id, {})
        return copy.deepcopy(messages[next(reversed(messages))]) if messages else None

    def message(self, chat_id: int, message_id: int) -> Message | None:
        """A copy of one message as it now is."""
        return copy.deepcopy(self._messages.get(chat_id, {}).get(message_id))

    def add_message(self, account: Account, sender: dict[str, Any], content: dict[str, Any]) -> Message:
        """Put a new message into the chat; the answer is the full Bot API `Message`."""
        self._last_id += 1
        self._store.save_setting("last_message_id", self._last_id)
        head = {"message_id": self._last_id, "from": sender, "chat": account.chat(), "date": self.now}
        message = {**head, **copy.deepcopy(content)}
        self._messages.setdefault(account.id, {})[self._last_id] = message
        self._store.save_message(account.id, self._last_id, message)
        self.changes.tell()
        return copy.deepcopy(message)

    def replace_message(self, message: Message) -> None:
        """Put an edited message in the place of the old one."""
        chat_id, message_id = message["chat"]["id"], message["message_id"]
        self._messages[chat_id][message_id] = copy.deepcopy(message)
        self._store.save_message(chat_id, message_id, message)
        self.changes.tell()

    def delete_message(self, chat_id: int, message_id: int) -> None:
        """Remove a message for both sides."""
        del self._messages[chat_id][message_id]
        self._store.delete_message(message_id)
        self.changes.tell()

    def picture(self, file_id: str) -> StoredPicture | None:
        """A photo by the `file_id` of any of its sizes."""
        return self.files.picture(file_id)
