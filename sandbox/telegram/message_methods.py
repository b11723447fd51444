"""Methods that write messages: send, edit, delete, show activity. Private chats only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.arguments import Arguments
from sandbox.telegram.errors import ApiError, bad_request, not_modelled
from sandbox.telegram.keyboards import check_pay_buttons, parse_markup
from sandbox.telegram.texts import TEXT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.telegram.chats import Account, Chats, Message, StoredPicture
    from sandbox.telegram.sending import Formatted, Sending

DELETABLE_FOR: Final = 48 * 3600  # seconds after sending
ACTIONS: Final = {
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
    "record_video_note",
    "upload_video_note",
}
PREVIEW_FLAGS: Final = ("is_disabled", "prefer_small_media", "prefer_large_media", "show_above_text")
NOT_MODIFIED: Final = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current content"
    " and reply markup of the message"
)
CONTENT: Final = ("text", "entities", "link_preview_options", "photo", "caption", "caption_entities")


class MessageMethods:
    """One coroutine a method; each takes the call's arguments and returns the call's result."""

    def __init__(self, chats: Chats, sending: Sending) -> None:
        self._chats = chats
        self._sending = sending

    def table(self) -> dict[str, Callable[[Arguments], Awaitable[Any]]]:
        """The methods by lower-case name."""
        return {
            "sendmessage": self.send_message,
            "sendphoto": self.send_photo,
            "sendchataction": self.send_chat_action,
            "editmessagetext": self.edit_text,
            "editmessagecaption": self.edit_caption,
            "editmessagemedia": self.edit_media,
            "editmessagereplymarkup": self.edit_markup,
            "deletemessage": self.delete_message,
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

    def _photo(self, arguments: Arguments, name: str) -> StoredPicture:
        upload = arguments.file(name)
        if upload is not None:
            if not upload.body:
                raise bad_request("file must be non-empty")
            return self._chats.add_picture(upload.body)
        value = arguments.text(name)
        if not value or value.startswith("attach://"):
            raise bad_request("there is no photo in the request")
        if value.startswith(("http://", "https://")):
            raise bad_request("failed to get HTTP URL content")  # nothing outside the sandbox is fetched
        stored = self._chats.picture(value)
        if stored is None:
            raise bad_request("wrong file identifier/HTTP URL specified")
        return stored

    async def send_photo(self, arguments: Arguments) -> Message:
        """Send a PNG or JPEG (an upload or a `file_id`) with a caption of up to 1024 code points."""
        if arguments.file("photo") is None and not arguments.text("photo"):
            raise bad_request("there is no photo in the request")
        caption = self._sending.caption(arguments)
        markup = parse_markup(arguments.text("reply_markup"))
        account = self._chats.open_chat(arguments.text("chat_id"))
        self._sending.check_caption(caption)
        options = self._sending.options(arguments, account)
        sizes = self._photo(arguments, "photo").sizes()
        flags = {"has_media_spoiler": "has_spoiler", "show_caption_above_media": "show_caption_above_media"}
        shown = {field: True for field, name in flags.items() if arguments.flag(name)}
        return self._sending.send(account, {"photo": sizes} | caption.fields("caption") | shown | options, markup)

    async def send_chat_action(self, arguments: Arguments) -> bool:
        """Show for five seconds, or until the next message, what the bot is doing."""
        account = self._chats.open_chat(arguments.text("chat_id"))
        if arguments.text("action").lower() not in ACTIONS:
            raise bad_request("wrong parameter action in request")
        self._sending.activity[account.id] = (arguments.text("action").lower(), self._chats.now + 5)
        self._chats.changes.tell()
        return True

    def _target(self, arguments: Arguments) -> Message:
        """The message an edit is for.

        Raises:
            ApiError: none named, none there, or none of the bot's own.
        """
        if arguments.text("inline_message_id"):
            raise not_modelled("inline messages")
        if not arguments.text("chat_id") or not arguments.integer("message_id"):
            raise bad_request("message identifier is not specified")
        account = self._chats.open_chat(arguments.text("chat_id"))
        message = self._chats.message(account.id, arguments.integer("message_id"))
        if message is None:
            raise bad_request("message to edit not found")
        if message["from"]["id"] != self._chats.bot["id"]:
            raise bad_request("message can't be edited")
        return message

    def _edit(self, message: Message, content: dict[str, Any], markup: dict[str, Any] | None) -> Message:
        """Replace what is shown; a keyboard that is not given again is gone."""
        check_pay_buttons(markup, invoice="invoice" in message)
        edited = {name: value for name, value in message.items() if name not in {*CONTENT, "reply_markup"}}
        edited |= content | ({"reply_markup": markup} if markup else {})
        if {**edited, "edit_date": 0} == {**message, "edit_date": 0}:
            raise bad_request(NOT_MODIFIED)
        self._chats.replace_message(edited | {"edit_date": self._chats.now})
        return edited | {"edit_date": self._chats.now}

    async def edit_text(self, arguments: Arguments) -> Message:
        """Change the text and keyboard of a text message."""
        text = self._text(arguments)
        markup = parse_markup(arguments.text("reply_markup"), inline_only=True)
        preview = self._preview(arguments)
        message = self._target(arguments)
        if "text" not in message:
            raise bad_request("there is no text in the message to edit")
        self._check_text(text)
        return self._edit(message, text.fields("text") | preview, markup)

    async def edit_caption(self, arguments: Arguments) -> Message:
        """Change the caption and keyboard of a photo."""
        caption = self._sending.caption(arguments)
        markup = parse_markup(arguments.text("reply_markup"), inline_only=True)
        message = self._target(arguments)
        if "photo" not in message:
            raise bad_request("there is no caption in the message to edit")
        self._sending.check_caption(caption)
        return self._edit(message, {"photo": message["photo"]} | caption.fields("caption"), markup)

    async def edit_media(self, arguments: Arguments) -> Message:
        """Put another photo, with its caption, in the place of a message's content."""
        media = arguments.parsed("media", "can't parse input media JSON object")
        if not isinstance(media, dict):
            raise bad_request("input media is not specified")
        if media.get("type") != "photo":
            raise not_modelled("editMessageMedia with anything but a photo")
        described = Arguments({name: str(media.get(name, "")) for name in ("media", "caption", "parse_mode")})
        described.files = arguments.files
        caption = self._sending.caption(described)
        markup = parse_markup(arguments.text("reply_markup"), inline_only=True)
        message = self._target(arguments)
        self._sending.check_caption(caption)
        sizes = self._photo(described, "media").sizes()
        return self._edit(message, {"photo": sizes} | caption.fields("caption"), markup)

    async def edit_markup(self, arguments: Arguments) -> Message:
        """Change the keyboard only."""
        markup = parse_markup(arguments.text("reply_markup"), inline_only=True)
        message = self._target(arguments)
        content = {name: value for name, value in message.items() if name in CONTENT}
        if "invoice" in message:  # the button that pays, or shows the receipt, stays
            pays = message["reply_markup"]["inline_keyboard"][0][0]
            markup = markup or {"inline_keyboard": [[pays]]}
            check_pay_buttons(markup, invoice=True)
            markup["inline_keyboard"][0][0] = pays
        return self._edit(message, content, markup)

    async def delete_message(self, arguments: Arguments) -> bool:
        """Delete a message for both sides, within 48 hours of sending."""
        account = self._deletable_chat(arguments)
        if not arguments.integer("message_id"):
            raise bad_request("message identifier is not specified")
        message = self._chats.message(account.id, arguments.integer("message_id"))
        if message is None:
            raise bad_request("message to delete not found")
        if self._chats.now - message["date"] > DELETABLE_FOR:
            raise bad_request("message can't be deleted for everyone")
        self._chats.delete_message(account.id, message["message_id"])
        return True

    def _deletable_chat(self, arguments: Arguments) -> Account:
        try:
            return self._chats.open_chat(arguments.text("chat_id"))
        except ApiError as error:
            if error.code == 403:  # noqa: PLR2004 - Forbidden; a block does not keep the bot from deleting
                account = self._chats.accounts.get(arguments.integer("chat_id"))
                if account is not None:
                    return account
            raise
