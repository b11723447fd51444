"""Methods that write messages: send, edit, delete, show activity. Private chats only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.chats.editing import MEDIA, content_of
from sandbox.telegram.protocol.arguments import whole_number
from sandbox.telegram.protocol.errors import ApiError, bad_request
from sandbox.telegram.text.keyboards import check_pay_buttons, parse_markup
from sandbox.telegram.text.texts import TEXT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.telegram.chats.accounts import Account
    from sandbox.telegram.chats.chats import Chats, Message
    from sandbox.telegram.chats.editing import Editing
    from sandbox.telegram.chats.sending import Formatted, Sending
    from sandbox.telegram.protocol.arguments import Arguments

DELETABLE_FOR: Final = 48 * 3600  # seconds after sending
DELETED_AT_ONCE: Final = 100
ACTIONS: Final = {
    "cancel",
    "typing",
    "upload_photo",
    "record_video",
    "upload_video",
    "record_voice",
    "upload_voice",
    "record_audio",
    "upload_audio",
    "upload_document",
    "choose_sticker",
    "find_location",
    "pick_up_location",
    "record_video_note",
    "upload_video_note",
}
PREVIEW_FLAGS: Final = ("is_disabled", "prefer_small_media", "prefer_large_media", "show_above_text")


class MessageMethods:
    """One coroutine a method; each takes the call's arguments and returns the call's result."""

    def __init__(self, chats: Chats, sending: Sending, editing: Editing) -> None:
        self._chats = chats
        self._sending = sending
        self._editing = editing

    def table(self) -> dict[str, Callable[[Arguments], Awaitable[Any]]]:
        """The methods by lower-case name."""
        return {
            "sendmessage": self.send_message,
            "sendchataction": self.send_chat_action,
            "editmessagetext": self.edit_text,
            "editmessagecaption": self.edit_caption,
            "editmessagereplymarkup": self.edit_markup,
            "deletemessage": self.delete_message,
            "deletemessages": self.delete_messages,
        }

    def _text(self, arguments: Arguments) -> Formatted:
        if not arguments.text("text"):
            raise bad_request("message text is empty")
        return self._sending.formatted(arguments, "text", "entities")

    @staticmethod
    def _check_text(text: Formatted) -> None:
        """Checked after the chat, as the server does."""
        if not text.text:
            raise bad_request("text must be non-empty")
        if len(text.text) > TEXT_LIMIT:
            raise bad_request("message is too long")

    @staticmethod
    def _preview(arguments: Arguments) -> dict[str, Any]:
        options = arguments.parsed("link_preview_options", "can't parse link preview options JSON object")
        if options is None:
            disabled = arguments.flag("disable_web_page_preview")
            return {"link_preview_options": {"is_disabled": True}} if disabled else {}
        if not isinstance(options, dict):
            raise bad_request("object expected as link preview options")
        for name in PREVIEW_FLAGS:
            if not isinstance(options.get(name, False), bool):
                raise bad_request(f'field "{name}" must be of type Boolean')
        shown = {name: value for name, value in options.items() if value and name in {*PREVIEW_FLAGS, "url"}}
        return {"link_preview_options": shown} if shown else {}

    async def send_message(self, arguments: Arguments) -> Message:
        """Send a text of 1 to 4096 code points."""
        text = self._text(arguments)
        markup = parse_markup(arguments.text("reply_markup"))
        preview = self._preview(arguments)
        account = self._chats.open_chat(arguments.text("chat_id"))
        self._check_text(text)
        return self._sending.send(
            account, text.fields("text") | preview | self._sending.options(arguments, account), markup
        )

    async def send_chat_action(self, arguments: Arguments) -> bool:
        """Show for five seconds, or until the next message, what the bot is doing."""
        action = arguments.text("action").lower()
        if action not in ACTIONS:
            raise bad_request("wrong parameter action in request")
        account = self._chats.open_chat(arguments.text("chat_id"))
        self._sending.activity[account.id] = (action, self._chats.now + 5)
        if action == "cancel":
            del self._sending.activity[account.id]
        self._chats.changes.tell()
        return True

    async def edit_text(self, arguments: Arguments) -> Message:
        """Change the text and keyboard of a text message."""
        text = self._text(arguments)
        markup = parse_markup(arguments.text("reply_markup"), inline_only=True)
        preview = self._preview(arguments)
        message = self._editing.target(arguments)
        if "text" not in message:
            raise bad_request("there is no text in the message to edit")
        self._check_text(text)
        return self._editing.edit(message, text.fields("text") | preview, markup)

    async def edit_caption(self, arguments: Arguments) -> Message:
        """Change the caption and keyboard of a photo or file."""
        caption = self._sending.caption(arguments)
        markup = parse_markup(arguments.text("reply_markup"), inline_only=True)
        message = self._editing.target(arguments)
        media = {name: message[name] for name in MEDIA if name in message}
        if not media:
            raise bad_request("there is no caption in the message to edit")
        self._sending.check_caption(caption)
        return self._editing.edit(message, media | caption.fields("caption"), markup)

    async def edit_markup(self, arguments: Arguments) -> Message:
        """Change the keyboard only."""
        markup = parse_markup(arguments.text("reply_markup"), inline_only=True)
        message = self._editing.target(arguments)
        content = content_of(message)
        if "invoice" in message:  # the button that pays, or shows the receipt, stays
            pays = message["reply_markup"]["inline_keyboard"][0][0]
            markup = markup or {"inline_keyboard": [[pays]]}
            check_pay_buttons(markup, invoice=True)
            markup["inline_keyboard"][0][0] = pays
        return self._editing.edit(message, content, markup)

    async def delete_message(self, arguments: Arguments) -> bool:
        """Delete a message for both sides, within 48 hours of sending."""
        if not arguments.text("chat_id"):
            raise bad_request("chat identifier is not specified")
        if not arguments.integer("message_id"):
            raise bad_request("message identifier is not specified")
        account = self._deletable_chat(arguments)
        message = self._chats.message(account.id, arguments.integer("message_id"))
        if message is None:
            raise bad_request("message to delete not found")
        if self._chats.now - message["date"] > DELETABLE_FOR:
            raise bad_request("message can't be deleted for everyone")
        self._chats.delete_message(account.id, message["message_id"])
        return True

    async def delete_messages(self, arguments: Arguments) -> bool:
        """Delete up to 100 messages; those that are not there are skipped."""
        numbers = self._identifiers(arguments)
        account = self._deletable_chat(arguments)
        found = [self._chats.message(account.id, number) for number in numbers]
        messages = {message["message_id"]: message for message in found if message is not None}
        if any(self._chats.now - message["date"] > DELETABLE_FOR for message in messages.values()):
            raise bad_request("message can't be deleted for everyone")
        for message_id in messages:
            self._chats.delete_message(account.id, message_id)
        return True

    @staticmethod
    def _identifiers(arguments: Arguments) -> list[int]:
        listed = arguments.parsed("message_ids", "can't parse message_ids JSON object")
        if not arguments.text("message_ids") or listed == []:
            raise bad_request("message identifiers are not specified")
        if not isinstance(listed, list):
            raise bad_request("expected an Array of message identifiers")
        if len(listed) > DELETED_AT_ONCE:
            raise bad_request("too many message identifiers specified")
        numbers: list[int] = []
        for one in listed:
            if isinstance(one, bool) or not isinstance(one, int | float | str):
                raise bad_request("message identifier must be a Number")
            number = whole_number(one)
            if number is None:
                raise bad_request("can't parse message identifier as Number")
            if number <= 0:
                raise bad_request("invalid message identifier specified")
            numbers.append(number)
        return numbers

    def _deletable_chat(self, arguments: Arguments) -> Account:
        try:
            return self._chats.open_chat(arguments.text("chat_id"))
        except ApiError as error:
            if error.code == 403:  # noqa: PLR2004 - Forbidden; a block does not keep the bot from deleting
                account = self._chats.accounts.get(arguments.integer("chat_id"))
                if account is not None and not account.deleted:
                    return account
            raise
