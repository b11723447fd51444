"""Methods that take a message to another chat: as the bot's own, or with its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.chats.editing import MEDIA, content_of
from sandbox.telegram.protocol.errors import ApiError, bad_request
from sandbox.telegram.text.keyboards import parse_markup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.telegram.chats.accounts import Account
    from sandbox.telegram.chats.chats import Chats, Message
    from sandbox.telegram.chats.sending import Sending
    from sandbox.telegram.payments.payments import Payments
    from sandbox.telegram.protocol.arguments import Arguments

CAPTION: Final = ("caption", "caption_entities")


class TransferMethods:
    """One coroutine a method; each takes the call's arguments and returns the call's result."""

    def __init__(self, chats: Chats, sending: Sending, payments: Payments) -> None:
        self._chats = chats
        self._sending = sending
        self._payments = payments

    def table(self) -> dict[str, Callable[[Arguments], Awaitable[Any]]]:
        """The methods by lower-case name."""
        return {"copymessage": self.copy_message, "forwardmessage": self.forward_message}

    def _source(self, arguments: Arguments, action: str) -> Message:
        """The message to take; the bot reads chats of people who blocked it, too."""
        if not arguments.text("from_chat_id"):
            raise bad_request('parameter "from_chat_id" is required')
        try:
            account: Account | None = self._chats.open_chat(arguments.text("from_chat_id"))
        except ApiError as error:
            account = self._chats.accounts.get(arguments.integer("from_chat_id"))
            if error.code != 403 or account is None:  # noqa: PLR2004 - Forbidden to write, not to read
                raise
        message = self._chats.message(account.id, arguments.integer("message_id")) if account else None
        if message is None:
            raise bad_request(f"message to {action} not found")
        return message

    async def copy_message(self, arguments: Arguments) -> dict[str, int]:
        """Send what a message holds again, with another caption if one is given; the answer is the new id."""
        caption = self._sending.caption(arguments)
        source = self._source(arguments, "copy")
        markup = parse_markup(arguments.text("reply_markup"))
        account = self._chats.open_chat(arguments.text("chat_id"))
        content = content_of(source)
        if not content or source.get("has_protected_content"):
            raise bad_request("message can't be copied")
        self._sending.check_caption(caption)
        if "caption" in arguments.values and any(name in content for name in MEDIA):
            content = {name: value for name, value in content.items() if name not in CAPTION}
            content |= caption.fields("caption")
        options = self._sending.options(arguments, account)
        return {"message_id": self._sending.send(account, content | options, markup)["message_id"]}

    async def forward_message(self, arguments: Arguments) -> Message:
        """Send a message on with its origin. An invoice stays payable unless it has a start parameter."""
        source = self._source(arguments, "forward")
        account = self._chats.open_chat(arguments.text("chat_id"))
        content = content_of(source)
        markup: dict[str, Any] | None = None
        invoice = self._payments.invoice(str(source["message_id"])) if "invoice" in source else None
        if invoice is not None:
            content["invoice"] = source["invoice"]
            markup = {"inline_keyboard": [[invoice.pay_button]]}
        if not content or source.get("has_protected_content"):
            raise bad_request("message can't be forwarded")
        origin = {"type": "user", "sender_user": source["from"], "date": source["date"]}
        content["forward_origin"] = source.get("forward_origin", origin)
        content |= self._sending.options(arguments, account)
        if invoice is None or not invoice.start_parameter:
            message = self._sending.send(account, content, markup)
            if invoice is not None:
                self._payments.offer(str(message["message_id"]), invoice)
            return message
        url = f"https://t.me/{self._chats.bot['username']}?start={invoice.start_parameter}"
        button = {"text": invoice.pay_button["text"], "url": url}
        return self._sending.put(account, content, {"inline_keyboard": [[button]]})
