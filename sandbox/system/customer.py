"""A customer as the demo and the end-to-end tests simulate one: through the chat alone, by what buttons mean."""

from __future__ import annotations

import functools
import html
import itertools
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.node.lab import ShareLink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sandbox.telegram import User

Message = dict[str, Any]

APPLIED_S = 30.0
"""How long a key, or the news of an end, may take on a loaded machine."""
_LINK = re.compile(r"vless://\S+")
ANSWER_S = 15.0
"""How long an answer to what a person did may take on a loaded machine."""


class StepFailedError(AssertionError):
    """What had to be so was not; the text says what was seen instead."""


def need(condition: object, otherwise: str) -> None:
    """Go on only when it is so.

    Raises:
        StepFailedError
    """
    if not condition:
        raise StepFailedError(otherwise)


def text_of(message: Message) -> str:
    """Text or caption."""
    return str(message.get("text") or message.get("caption") or "")


def link_of(message: Message) -> str | None:
    """The share link in it."""
    found = _LINK.search(html.unescape(text_of(message)))
    return found[0] if found else None


def same_key(one: str | None, other: str) -> bool:
    """By UUID: it is one on all nodes, and any of their links may be shown."""
    return one is not None and ShareLink.parse(one).uuid == ShareLink.parse(other).uuid


def _keyboard(message: Message) -> list[dict[str, Any]]:
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    return [button for row in rows for button in row]


def buttons_of(message: Message) -> list[str]:
    """What its buttons mean: their callback data."""
    return [button["callback_data"] for button in _keyboard(message) if "callback_data" in button]


def _button(message: Message, meaning: str) -> str | None:
    return next((data for data in buttons_of(message) if data.startswith(meaning)), None)


def urls_of(message: Message) -> list[str]:
    """Where its buttons lead."""
    return [button["url"] for button in _keyboard(message) if "url" in button]


@dataclass
class Customer:
    """A person with the app, and how they find their way: by what a button means, not by how it is called.

    Attributes:
        patience_s: after so many real seconds without an answer they do the same again, as people do; None waits on.
        meanwhile: what happens whenever their patience ends while they wait for what comes by itself: lets time pass, say.
    """

    user: User
    patience_s: float | None = None
    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def start(self) -> Message:
        """Send /start; the menu that comes back."""
        before = self.last_id()
        return await self._until_seen(
            lambda: self.user.send("/start"),
            lambda message: message["message_id"] > before and buttons_of(message),
            "a menu",
        )

    async def press(self, message: Message, meaning: str) -> Message:
        """Press the button of this meaning; the message once it has changed, or the one that came instead.

        Raises:
            StepFailedError: there is no such button.
        """
        data = _button(message, meaning)
        need(data, f"no button {meaning!r} among {buttons_of(message)} of {text_of(message)!r}")
        last = self.last_id()

        def changed(now: Message) -> bool:
            # the same screen once more, as a new message, is an earlier answer that was delivered twice
            if (text_of(now), buttons_of(now)) == (text_of(message), buttons_of(message)):
                return False
            return now["message_id"] == message["message_id"] or bool(
                now["message_id"] > last and now["from"]["is_bot"]
            )

        return await self._until_seen(
            lambda: self.user.click(message["message_id"], str(data)), changed, f"an answer to {meaning!r}"
        )

    async def follow(self, meanings: Sequence[str], until: Callable[[Message], object], what: str) -> Message:
        """Press button after button, each on the newest message that has it, until what the last one leads to is seen.

        A button that has changed while they reached for it leads to the screen as it is now; they go on from there.
        """
        for meaning, following in itertools.pairwise(meanings):
            goal = functools.partial(_button, meaning=following)
            await self._press_until(meaning, goal, f"{following!r} by {meaning!r}")
        return await self._press_until(meanings[-1], until, what)

    async def order(
        self, tariff: str, days: int, offer: Callable[[Message], object], *, method: str = "cryptobot"
    ) -> Message:
        """Through the buy dialogue until a message makes the `offer`; an invoice that is still being made is asked for again."""
        await self.start()
        way = ("go:buy", f"tariff:{tariff}", f"period:{days}:", f"pay:{method}:")
        screen = await self.follow(way, lambda message: offer(message) or _button(message, "order_id="), "an order")
        return screen if offer(screen) else await self.follow(("order_id=",), offer, "an invoice to pay")

    async def reissue(self) -> Message:
        """Ask for a new key; what the key's screen says then: the old link still, or the new one."""
        return await self._press_through("go:profile", "go:key", "go:reissue", "reissue:")

    async def turn_auto_renewal(self, *, on: bool) -> Message:
        """By its screen, where price, moment and the way out are said; the screen as it is then."""
        return await self._press_through("go:profile", "go:auto_renewal", f"renew:{int(on)}")

    async def _press_through(self, *meanings: str) -> Message:
        """From a new menu, each on the screen that the one before led to: screens of before may still have the same buttons."""
        screen = await self.start()
        for meaning in meanings:
            screen = await self.press(screen, meaning)
        return screen

    async def _press_until(self, meaning: str, wanted: Callable[[Message], object], what: str) -> Message:
        await self._press_newest(meaning)
        return await self._look(wanted, what, ANSWER_S, functools.partial(self._press_newest, meaning, wanted))

    async def _press_newest(self, meaning: str, unless: Callable[[Message], object] = lambda _message: False) -> None:
        """Press it on the newest message that has it; not when what is hoped for came while they reached for it once more."""
        screen = await self.sees(lambda message: _button(message, meaning) or unless(message), f"a button {meaning!r}")
        if not unless(screen):
            await self.user.click_raw(screen["message_id"], str(_button(screen, meaning)))

    async def _until_seen(
        self, do: Callable[[], Awaitable[object]], wanted: Callable[[Message], object], what: str
    ) -> Message:
        """What they do, done again whenever their patience ends, until it is seen."""
        await do()
        return await self._look(wanted, what, ANSWER_S, do)

    async def sees(self, wanted: Callable[[Message], object], what: str, timeout_s: float | None = None) -> Message:
        """The newest message of the chat that is as wanted; waits as long as an answer may take unless said.

        Raises:
            StepFailedError: none is, within so many seconds.
        """
        return await self._look(wanted, what, timeout_s or ANSWER_S, self.meanwhile)

    async def _look(
        self,
        wanted: Callable[[Message], object],
        what: str,
        timeout_s: float,
        impatient: Callable[[], Awaitable[object]] | None,
    ) -> Message:
        deadline = time.monotonic() + timeout_s
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            is_last = impatient is None or self.patience_s is None or left <= self.patience_s
            try:
                found = await self.user.wait_for(
                    lambda messages: [message for message in messages if wanted(message)],
                    left if is_last or self.patience_s is None else self.patience_s,
                )
            except AssertionError as error:
                if is_last or impatient is None:
                    who = self.user.account.first_name
                    raise StepFailedError(f"{who} waits for {what}: {error}") from None
                await impatient()
            else:
                return found[-1]

    async def gets_key(self, after: int = 0, timeout_s: float | None = None) -> str:
        """The link of a key that came by itself in a message later than `after`; waits `APPLIED_S` unless said."""
        message = await self.sees(
            lambda message: message["message_id"] > after and link_of(message), "a key", timeout_s or APPLIED_S
        )
        return str(link_of(message))

    async def shown_key(self) -> str | None:
        """What the key's screen shows now: the link, or None while it says that there is none yet."""
        menu = await self.start()
        profile = await self.press(menu, "go:profile")
        return link_of(await self.press(profile, "go:key"))

    def last_id(self) -> int:
        """Of the newest message in their chat, 0 in an empty one."""
        return max((message["message_id"] for message in self.user.messages), default=0)
