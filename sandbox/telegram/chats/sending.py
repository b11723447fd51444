"""What every method that puts a message into a chat shares: who gets it, as a reply to what, with which caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.protocol.arguments import whole_number
from sandbox.telegram.protocol.errors import bad_request
from sandbox.telegram.text.keyboards import check_pay_buttons
from sandbox.telegram.text.texts import CAPTION_LIMIT, format_text

if TYPE_CHECKING:
    from sandbox.telegram.chats.accounts import Account
    from sandbox.telegram.chats.chats import Chats, Message
    from sandbox.telegram.protocol.arguments import Arguments

_REFUSALS: Final = {
    "business_connection_id": "business connection not found",
    "message_thread_id": "message thread not found",
    "message_effect_id": "EFFECT_ID_INVALID",
}


@dataclass(frozen=True)
class Formatted:
    """A formatted text, as it goes into a message under `text` or `caption`."""

    text: str
    entities: list[dict[str, Any]]

    def fields(self, name: str) -> dict[str, Any]:
        """The message's fields; nothing for an empty text."""
        if not self.text:
            return {}
        entities = "entities" if name == "text" else "caption_entities"
        return {name: self.text} | ({entities: self.entities} if self.entities else {})


class Sending:
    """Sends as the bot. `activity` is what it is seen doing, by chat: the action and until when (POSIX seconds)."""

    def __init__(self, chats: Chats) -> None:
        self._chats = chats
        self.activity: dict[int, tuple[str, int]] = {}

    def _user(self, user_id: int) -> dict[str, Any] | None:
        account = self._chats.accounts.get(user_id)
        return account.user() if account else None

    def formatted(self, arguments: Arguments, name: str, entities: str) -> Formatted:
        """A text parameter with its `parse_mode` or entities."""
        given = arguments.text(name), arguments.text("parse_mode"), arguments.text(entities)
        return Formatted(*format_text(*given, self._user))

    def caption(self, arguments: Arguments) -> Formatted:
        """The caption; its length is checked later, as the server does, by `check_caption`."""
        return self.formatted(arguments, "caption", "caption_entities")

    @staticmethod
    def check_caption(caption: Formatted) -> None:
        """Refuse more than 1024 code points."""
        if len(caption.text) > CAPTION_LIMIT:
            raise bad_request("message caption is too long")

    def options(self, arguments: Arguments, account: Account) -> dict[str, Any]:
        """What every sending method shares, with the refusals a private chat with a bot of no standing gets."""
        for name, reason in _REFUSALS.items():
            if arguments.text(name) not in {"", "0"}:
                raise bad_request(reason)
        if arguments.flag("allow_paid_broadcast"):
            raise bad_request("FLOODSKIP_NOT_ALLOWED")
        options: dict[str, Any] = {"has_protected_content": True} if arguments.flag("protect_content") else {}
        return options | self._reply(arguments, account)

    def _reply(self, arguments: Arguments, account: Account) -> dict[str, Any]:
        reply = arguments.parsed("reply_parameters", "can't parse reply parameters JSON object")
        if reply == {}:
            return {}
        if not arguments.text("reply_parameters"):
            if not arguments.integer("reply_to_message_id"):
                return {}
            optional = arguments.flag("allow_sending_without_reply")
            reply = {"message_id": arguments.integer("reply_to_message_id"), "allow_sending_without_reply": optional}
        if not isinstance(reply, dict):
            raise bad_request("object expected as reply parameters")
        if "message_id" not in reply:
            raise bad_request('can\'t find field "message_id"')
        target = self._chats.message(account.id, whole_number(reply["message_id"]) or 0)
        if target is None and reply.get("allow_sending_without_reply") is not True:
            raise bad_request("message to be replied not found")
        if target is not None:
            target.pop("reply_to_message", None)  # the server nests one level only
        return {"reply_to_message": target} if target else {}

    def send(self, account: Account, content: dict[str, Any], markup: dict[str, Any] | None) -> Message:
        """Put a new message into the chat.

        Raises:
            ApiError: a button that pays where none may, or none where one must.
        """
        check_pay_buttons(markup, invoice="invoice" in content)
        return self.put(account, content, markup)

    def put(self, account: Account, content: dict[str, Any], markup: dict[str, Any] | None) -> Message:
        """Put it there unchecked; whatever the bot was seen doing ends."""
        self.activity.pop(account.id, None)
        return self._chats.add_message(account, self._chats.bot, content | ({"reply_markup": markup} if markup else {}))
