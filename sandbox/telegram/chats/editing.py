"""What every method that changes a message shares: which message, and what is left of the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.protocol.errors import bad_request, not_modelled
from sandbox.telegram.text.keyboards import check_pay_buttons

if TYPE_CHECKING:
    from sandbox.telegram.chats.chats import Chats, Message
    from sandbox.telegram.protocol.arguments import Arguments

NOT_MODIFIED: Final = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current content"
    " and reply markup of the message"
)
MEDIA: Final = ("photo", "document", "video", "animation", "audio", "voice")
CONTENT: Final = (
    "text",
    "entities",
    "link_preview_options",
    *MEDIA,
    "caption",
    "caption_entities",
    "has_media_spoiler",
    "show_caption_above_media",
)


def content_of(message: Message) -> dict[str, Any]:
    """What a message shows, without its keyboard."""
    return {name: value for name, value in message.items() if name in CONTENT}


class Editing:
    """Edits the bot's own messages."""

    def __init__(self, chats: Chats) -> None:
        self._chats = chats

    def target(self, arguments: Arguments) -> Message:
        """The message an edit is for.

        Raises:
            ApiError: none named, none there, or none of the bot's own.
        """
        if not arguments.text("chat_id") and not arguments.integer("message_id"):
            if arguments.text("inline_message_id"):
                raise not_modelled("inline messages")
            raise bad_request("message identifier is not specified")
        account = self._chats.open_chat(arguments.text("chat_id"))
        message = self._chats.message(account.id, arguments.integer("message_id"))
        if message is None:
            raise bad_request("message to edit not found")
        if message["from"]["id"] != self._chats.bot["id"]:
            raise bad_request("message can't be edited")
        return message

    def edit(self, message: Message, content: dict[str, Any], markup: dict[str, Any] | None) -> Message:
        """Replace what is shown; a keyboard that is not given again is gone.

        Raises:
            ApiError: nothing would change, or a button that pays in the wrong place.
        """
        check_pay_buttons(markup, invoice="invoice" in message)
        edited = {name: value for name, value in message.items() if name not in {*CONTENT, "reply_markup"}}
        edited |= content | ({"reply_markup": markup} if markup else {})
        if {**edited, "edit_date": 0} == {**message, "edit_date": 0}:
            raise bad_request(NOT_MODIFIED)
        self._chats.replace_message(edited | {"edit_date": self._chats.now})
        return edited | {"edit_date": self._chats.now}
