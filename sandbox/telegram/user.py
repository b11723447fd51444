"""A person with a Telegram app: what they do, and what they see."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import TYPE_CHECKING, Any

from sandbox.telegram.text.texts import TEXT_LIMIT, clean, find_entities

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.telegram.chats.accounts import Account
    from sandbox.telegram.chats.channels import Channel
    from sandbox.telegram.chats.chats import Chats, Message
    from sandbox.telegram.chats.clicks import Clicks
    from sandbox.telegram.methods.bot import BotMethods
    from sandbox.telegram.payments.checkout import Checkout, Payment
    from sandbox.telegram.payments.payments import Subscription
    from sandbox.telegram.state.queries import Answer
    from sandbox.telegram.updates.updates import Updates


_FILLED_IN = {
    "email": re.compile(r"(?=.{5,64}\Z)[^@\s]+@[^@\s.]+(\.[^@\s.]+)+"),
    "phone_number": re.compile(r"[0-9]{5,15}", re.ASCII),
}


class User:
    """One account in its private chat with the bot. Everything they do becomes an update, delivered in the background."""

    def __init__(
        self,
        account: Account,
        chats: Chats,
        updates: Updates,
        *,
        clicks: Clicks,
        bot: BotMethods,
        checkout: Checkout,
    ) -> None:
        self.account = account
        self._chats = chats
        self._updates = updates
        self._clicks = clicks
        self._bot = bot
        self._checkout = checkout

    @property
    def id(self) -> int:
        """Their Telegram id, which is also the id of the chat."""
        return self.account.id

    @property
    def messages(self) -> list[Message]:
        """The chat as they see it now, oldest first: full Bot API messages, a photo's bytes under `photo_bytes`."""
        messages = self._chats.messages(self.id)
        for message in messages:
            stored = self._chats.files.picture(message["photo"][-1]["file_id"]) if "photo" in message else None
            if stored is not None:
                message["photo_bytes"] = stored.body
        return messages

    @property
    def answers(self) -> list[Answer]:
        """What their clicks were answered with, oldest first; an empty `text` only stopped the spinner."""
        return list(self._bot.answers.get(self.id, []))

    @property
    def commands(self) -> list[dict[str, Any]]:
        """The command menu their app shows."""
        return self._bot.commands_of(self.id, self.account.language_code)

    async def send(self, text: str) -> int:
        """Send a text; the answer is the update's id. Writing to a blocked bot unblocks it first, as the app does.

        Raises:
            ValueError: a text that the app would not send: blank, or over 4096 code points.
        """
        text = clean(text).strip()
        if not 1 <= len(text) <= TEXT_LIMIT:
            raise ValueError(f"the app sends texts of 1 to {TEXT_LIMIT} characters, not {len(text)}")
        self._be_there()
        if self.account.blocked:
            self.unblock()
        self.account.started = True
        self._chats.save(self.account)
        entities = find_entities(text)
        content = {"text": text} | ({"entities": entities} if entities else {})
        message = self._chats.add_message(self.account, self.account.user(), content)
        return self._updates.emit("message", message)

    def edit(self, message_id: int, text: str) -> int:
        """Change a text they sent; the answer is the update's id.

        Raises:
            ValueError: not a text of theirs, or one the app would not send.
        """
        self._be_there()
        message = self._chats.message(self.id, message_id)
        text = clean(text).strip()
        if message is None or message["from"]["id"] != self.id or "text" not in message:
            raise ValueError(f"message {message_id} is no text of theirs")
        if not 1 <= len(text) <= TEXT_LIMIT:
            raise ValueError(f"the app sends texts of 1 to {TEXT_LIMIT} characters, not {len(text)}")
        entities = find_entities(text)
        kept = {name: value for name, value in message.items() if name not in {"text", "entities"}}
        edited = kept | {"edit_date": self._chats.now, "text": text} | ({"entities": entities} if entities else {})
        self._chats.replace_message(edited)
        return self._updates.emit("edited_message", edited)

    def delete_message(self, message_id: int) -> None:
        """Delete a message for both sides, theirs or the bot's. The bot is told nothing: its next edit finds none.

        Raises:
            ValueError: there is none.
        """
        self._be_there()
        if self._chats.message(self.id, message_id) is None:
            raise ValueError(f"there is no message {message_id}")
        self._chats.delete_message(self.id, message_id)

    async def click(self, message_id: int, button: str) -> str:
        """Press a button of a message as it now is, named by its text or else its data; the answer is the query's id.

        Raises:
            AssertionError: no such message or button, or one that opens or copies something instead.
        """
        message = self._chats.message(self.id, message_id)
        if message is None:
            raise AssertionError(f"there is no message {message_id}; the chat is:\n{self.shown()}")
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        buttons = [found for row in rows for found in row]
        for name in ("text", "callback_data"):
            for found in buttons:
                if found.get(name) == button:
                    if "callback_data" not in found:
                        raise AssertionError(f"the button {button!r} asks the bot nothing: {found}")
                    return await self.click_raw(message_id, found["callback_data"])
        raise AssertionError(f"message {message_id} has no button {button!r}; the chat is:\n{self.shown()}")

    async def click_raw(self, message_id: int, data: str) -> str:
        """Send a click with any data on any message, as a forged app could; the answer is the query's id.

        Unanswered, it is sent again with new ids (`Timing.click_resend`).
        """
        self._be_there()
        gone = {"chat": self.account.chat(), "message_id": message_id, "date": 0}

        def query() -> dict[str, Any]:
            return {
                "from": self.account.user(),
                "message": self._chats.message(self.id, message_id) or gone,
                "chat_instance": self._chat_instance(),
                "data": data,
            }

        return self._clicks.send(self.id, query)

    def _chat_instance(self) -> str:
        digest = hashlib.sha256(f"{self._chats.bot['id']}:{self.id}".encode()).digest()
        return str(int.from_bytes(digest[:8], signed=True))

    async def pay(self, message_id: int, *, method: str = "card", tip: int = 0, charges: int = 1) -> Payment:
        """Press Pay on an invoice in their chat and wait for the end of it.

        Args:
            message_id: the invoice's.
            method: `card`, or `declined` for a card the provider turns down after the pre-checkout; Stars ignore it.
            tip: in the currency's smallest unit.
            charges: how many times the money is taken: 2 is the double charge of real life.

        Raises:
            ValueError: no unpaid invoice, a deleted account, or a tip the invoice does not take.
        """
        return await self._checkout.pay_message(self.account, message_id, tip, charges, method)

    async def pay_link(self, url: str, *, method: str = "card", tip: int = 0, charges: int = 1) -> Payment:
        """Pay at a link of createInvoiceLink, `https://t.me/$...`; again and again if they like. The rest is as in `pay`."""
        return await self._checkout.pay_link(self.account, url, tip, charges, method)

    def fill_in(self, order_info: dict[str, Any]) -> None:
        """What they write where an invoice asks for it, from now on: `email`, `phone_number`; the name is their account's.

        Raises:
            ValueError: what the app would not take.
        """
        for name, said in order_info.items():
            shape = _FILLED_IN.get(name)
            if shape is None or not isinstance(said, str) or not shape.fullmatch(said):
                raise ValueError(f"the app takes no such {name}" if shape else f"nothing asks for {name!r}")
        for name, said in order_info.items():
            setattr(self.account, name, said)
        self._chats.save(self.account)

    @property
    def subscriptions(self) -> list[Subscription]:
        """Their Star subscriptions, oldest first, those that are over included."""
        return self._checkout.subscriptions_of(self.id)

    def cancel_subscription(self, charge_id: str) -> int:
        """End a subscription's renewals, named by its first charge; the answer is the id of the `subscription` update.

        Raises:
            ValueError: not theirs, over, or canceled already.
        """
        return self._checkout.switch(self.id, charge_id, canceled=True)

    def resume_subscription(self, charge_id: str) -> int:
        """Let a canceled subscription go on; the answer is the id of the `subscription` update.

        Raises:
            ValueError: not theirs, over, not canceled, or canceled by the bot.
        """
        return self._checkout.switch(self.id, charge_id, canceled=False)

    def join(self, channel_id: int) -> int:
        """Enter a channel; the answer is the id of the `chat_member` update, 0 when the bot may not see it.

        Raises:
            ValueError: no such channel, they are in it already, or were thrown out of it.
        """
        return self._channel(channel_id).move(self.account, "member", self.account)

    def leave(self, channel_id: int) -> int:
        """Leave a channel; the answer is the id of the `chat_member` update, 0 when the bot may not see it.

        Raises:
            ValueError: no such channel, or they are not in it.
        """
        channel = self._channel(channel_id)
        if channel.status_of(self.id) != "member":
            raise ValueError("they are no member")
        return channel.move(self.account, "left", self.account)

    def _channel(self, channel_id: int) -> Channel:
        self._be_there()
        channel = self._chats.channels.get(channel_id)
        if channel is None:
            raise ValueError(f"there is no channel {channel_id}")
        return channel

    def block(self) -> int:
        """Block the bot; the answer is the id of the `my_chat_member` update."""
        return self._member(blocked=True)

    def unblock(self) -> int:
        """Take the bot back; the answer is the id of the `my_chat_member` update."""
        return self._member(blocked=False)

    def _member(self, *, blocked: bool) -> int:
        self._be_there()
        if self.account.blocked == blocked:
            raise ValueError("the bot is blocked already" if blocked else "the bot is not blocked")
        bot = self._chats.bot
        member = {"status": "member", "user": bot}
        banned = {"status": "kicked", "user": bot, "until_date": 0}
        self.account.blocked = blocked
        self._chats.save(self.account)
        change = {
            "chat": self.account.chat(),
            "from": self.account.user(),
            "date": self._chats.now,
            "old_chat_member": member if blocked else banned,
            "new_chat_member": banned if blocked else member,
        }
        return self._updates.emit("my_chat_member", change)

    def delete_account(self) -> None:
        """Leave Telegram for good. The bot is told nothing: its next call is answered 403."""
        self.account.deleted = True
        self._chats.save(self.account)

    def _be_there(self) -> None:
        if self.account.deleted:
            raise ValueError("this account is deleted")

    async def wait_for(self, predicate: Callable[[list[Message]], Any], timeout: float = 10) -> list[Message]:  # noqa: ASYNC109 - the caller gets an AssertionError that shows the chat, not a bare timeout
        """Wait until the predicate over their messages is true, at most so many real seconds.

        Returns the list it gave when it gave one (a filter, say), else all messages.

        Raises:
            AssertionError: it never was; the text shows the chat.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    seen = self._chats.changes.count
                    messages = self.messages
                    result = predicate(messages)
                    if result:
                        return result if isinstance(result, list) else messages
                    await self._chats.changes.after(seen)
        except TimeoutError:
            raise AssertionError(f"not seen within {timeout} s; the chat is:\n{self.shown()}") from None

    async def wait_for_answer(self, query_id: str, timeout: float = 10) -> Answer:  # noqa: ASYNC109 - as above
        """Wait for the bot's answer to a click, whichever of its sendings it answers.

        Raises:
            AssertionError: it did not come within so many real seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    seen = self._chats.changes.count
                    for answer in self.answers:
                        if answer.query_id == query_id:
                            return answer
                    await self._chats.changes.after(seen)
        except TimeoutError:
            raise AssertionError(f"the click was not answered within {timeout} s:\n{self.shown()}") from None

    def shown(self) -> str:
        """The chat as lines of text, for people who read a failed test."""
        lines = []
        for message in self._chats.messages(self.id):
            text = message.get("text", message.get("caption", ""))
            picture = "[photo] " if "photo" in message else ""
            rows = message.get("reply_markup", {}).get("inline_keyboard", [])
            buttons = " ".join(f"[{button['text']}]" for row in rows for button in row)
            lines.append(
                f"#{message['message_id']} {message['from']['first_name']}: {picture}{text} {buttons}".rstrip()
            )
        return "\n".join(lines) or "(empty)"
