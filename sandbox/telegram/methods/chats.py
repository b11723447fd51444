"""Methods about chats rather than messages: what a chat is, who is in it, what is pinned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.chats.channels import Channel, as_member
from sandbox.telegram.protocol.errors import ApiError, bad_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.telegram.chats.accounts import Account
    from sandbox.telegram.chats.chats import Chats
    from sandbox.telegram.protocol.arguments import Arguments
    from sandbox.telegram.state.store import Store
    from sandbox.telegram.updates.updates import Updates

REACTIONS_LIMIT: Final = 11
ACCENT_COLORS: Final = 7
GIFTS: Final = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")


class ChatMethods:
    """One coroutine a method; each takes the call's arguments and returns the call's result."""

    def __init__(self, chats: Chats, updates: Updates, store: Store) -> None:
        self._chats = chats
        self._updates = updates
        self._store = store
        # Pinned messages by chat, the newest last.
        self._pins: dict[int, list[int]] = {int(name): body["ids"] for name, body in store.records("pins")}

    def table(self) -> dict[str, Callable[[Arguments], Awaitable[Any]]]:
        """The methods by lower-case name."""
        return {
            "getchat": self.get_chat,
            "getchatmember": self.get_member,
            "getchatmembercount": self.get_count,
            "getchatadministrators": self.get_administrators,
            "leavechat": self.leave,
            "pinchatmessage": self.pin,
            "unpinchatmessage": self.unpin,
            "unpinallchatmessages": self.unpin_all,
        }

    def _place(self, arguments: Arguments) -> Account | Channel:
        """The chat of a call that reads: a person's, even if they blocked the bot, or a channel's."""
        channel = self._chats.channels.find(arguments.text("chat_id"))
        if channel is not None:
            channel.check_access()
            return channel
        try:
            return self._chats.open_chat(arguments.text("chat_id"))
        except ApiError as error:
            account = self._chats.accounts.get(arguments.integer("chat_id"))
            if error.code == 403 and account is not None:  # noqa: PLR2004 - Forbidden to write, not to read
                return account
            raise

    async def get_chat(self, arguments: Arguments) -> dict[str, Any]:
        """All there is to know of a chat."""
        place = self._place(arguments)
        gifts = not isinstance(place, Channel)
        info: dict[str, Any] = place.chat() | {
            "accent_color_id": abs(place.id) % ACCENT_COLORS,
            "max_reaction_count": REACTIONS_LIMIT,
            "accepted_gift_types": dict.fromkeys(GIFTS, gifts),
        }
        if place.username:
            info["active_usernames"] = [place.username]
        if pins := self._pinned(place.id):
            info["pinned_message"] = self._chats.message(place.id, pins[-1])
        return info

    async def get_member(self, arguments: Arguments) -> dict[str, Any]:
        """A person's status in a chat; people who never came to a channel have left it."""
        user_id = arguments.integer("user_id")
        if user_id <= 0:
            raise bad_request("invalid user_id specified")
        place = self._place(arguments)
        people = {user_id: account.user() for user_id, account in self._chats.accounts.items()}
        people[self._chats.bot["id"]] = self._chats.bot
        if isinstance(place, Channel):
            place.check_members()
            if user_id not in people:
                raise bad_request("PARTICIPANT_ID_INVALID")
            return as_member(place.status_of(user_id), people[user_id])
        if user_id not in {place.id, self._chats.bot["id"]}:
            raise bad_request("user not found")
        return as_member("member", people[user_id])

    async def get_count(self, arguments: Arguments) -> int:
        """How many are in a chat, the bot included."""
        place = self._place(arguments)
        if not isinstance(place, Channel):
            return 2
        return len(place.members) + (place.bot_status == "administrator")

    async def get_administrators(self, arguments: Arguments) -> list[dict[str, Any]]:
        """The owner of a channel, and the bot if it is an administrator."""
        place = self._place(arguments)
        if not isinstance(place, Channel):
            raise bad_request("there are no administrators in the private chat")
        place.check_members()
        return [as_member("creator", place.owner.user()), as_member("administrator", self._chats.bot)]

    async def leave(self, arguments: Arguments) -> bool:
        """Leave a channel."""
        place = self._place(arguments)
        if not isinstance(place, Channel):
            raise bad_request("chat member status can't be changed in private chats")
        if place.bot_status == "administrator":
            place.set_bot("left", self._chats.bot)
        return True

    # -- pins ----------------------------------------------------------------------------------------------------------

    def _pinned(self, chat_id: int) -> list[int]:
        """Pinned messages that are still there."""
        return [one for one in self._pins.get(chat_id, []) if self._chats.message(chat_id, one) is not None]

    def _set_pins(self, chat_id: int, pins: list[int]) -> None:
        self._pins[chat_id] = pins
        self._store.save_record("pins", str(chat_id), {"ids": pins})
        self._chats.changes.tell()

    async def pin(self, arguments: Arguments) -> bool:
        """Pin a message on top of the chat, which says so in a service message of its own."""
        account = self._chats.open_chat(arguments.text("chat_id"))
        message_id = arguments.integer("message_id")
        message = self._chats.message(account.id, message_id)
        if message is None:
            raise bad_request("message to pin not found")
        pins = self._pinned(account.id)
        if message_id in pins:
            return True
        self._set_pins(account.id, [*pins, message_id])
        message.pop("reply_to_message", None)
        told = self._chats.add_message(account, self._chats.bot, {"pinned_message": message})
        self._updates.emit("message", told)  # the server tells the bot of its own pin
        return True

    async def unpin(self, arguments: Arguments) -> bool:
        """Unpin one message, the newest pinned one unless said."""
        account = self._chats.open_chat(arguments.text("chat_id"))
        pins = self._pinned(account.id)
        message_id = arguments.integer("message_id")
        if message_id and self._chats.message(account.id, message_id) is None:
            raise bad_request("message to unpin not found")
        message_id = message_id or (pins[-1] if pins else 0)
        self._set_pins(account.id, [one for one in pins if one != message_id])
        return True

    async def unpin_all(self, arguments: Arguments) -> bool:
        """Unpin everything."""
        self._set_pins(self._chats.open_chat(arguments.text("chat_id")).id, [])
        return True
