"""A screen as values, and the Bot API calls that show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiogram.filters.callback_data import CallbackData

    from lib.domain.outbox import Item

COPY_LIMIT = 256
"""Characters that a copy button holds; many links are longer."""
REPEATABLE = "repeatable"
"""A mark of ours in a call (`bare` removes it): the same tap or text brings the screen again, so it may be lost."""
Call = dict[str, Any]
"""One Bot API call: `{"method": "sendMessage", ...}`. A picture that is drawn when it is sent is `{"qr": <text>}`."""


@dataclass(frozen=True, slots=True)
class Button:
    """An inline button; exactly one of the three says what it does."""

    text: str
    data: str = ""
    url: str = ""
    copy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As the Bot API takes it."""
        if self.copy:
            return {"text": self.text, "copy_text": {"text": self.copy}}
        return {"text": self.text, "url": self.url} if self.url else {"text": self.text, "callback_data": self.data}


Rows = tuple[tuple[Button, ...], ...]


@dataclass(frozen=True, slots=True)
class Screen:
    """What a person sees.

    Attributes:
        text: HTML, everything that came from people escaped.
        toast: shown over the chat when a button led here, plain text.
        qr: drawn as a QR picture whose caption `text` is.
        repeatable: it may be lost, since the same tap or text brings it again: the menu, and no address in it that Telegram
            might refuse, no key, no order's button.
    """

    text: str
    rows: Rows = ()
    toast: str = ""
    qr: str = ""
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """A screen, and what is to be done after commit: work to enqueue, and whether the trial's cap refused it."""

    screen: Screen
    follow_up: tuple[Item, ...] = ()
    cap_reached: bool = False


def tap(text: str, data: CallbackData) -> Button:
    """A button that comes back to us.

    Raises:
        ValueError: the data is longer than 64 bytes.
    """
    return Button(text, data=data.pack())


def keyboard(rows: Rows) -> dict[str, Any]:
    """`reply_markup` of an inline keyboard."""
    return {"inline_keyboard": [[button.as_dict() for button in row] for row in rows]}


def message(chat_id: int, screen: Screen) -> Call:
    """The call that sends a screen as a new message."""
    call: Call = {"chat_id": chat_id, "parse_mode": "HTML", "reply_markup": keyboard(screen.rows)}
    if screen.qr:
        return {"method": "sendPhoto", "photo": {"qr": screen.qr}, "caption": screen.text, **call}
    if screen.repeatable:
        call[REPEATABLE] = True
    return {"method": "sendMessage", "text": screen.text, "link_preview_options": {"is_disabled": True}, **call}


def bare(call: Call) -> Call:
    """A call as the Bot API takes it, without marks of ours."""
    return {name: value for name, value in call.items() if name != REPEATABLE}


def calls(screen: Screen, chat_id: int, *, message_id: int | None = None, query_id: str | None = None) -> list[Call]:
    """The calls that show a screen: it edits the message it came from, or is sent; a tap is answered last.

    Args:
        screen: to be shown.
        chat_id: where.
        message_id: the message that a button belongs to, when it can be edited into another text.
        query_id: the tap that waits for an answer.
    """
    shown = message(chat_id, screen)
    if message_id is not None and not screen.qr:
        shown |= {"method": "editMessageText", "message_id": message_id}
    if query_id is None:
        return [shown]
    answer: Call = {"method": "answerCallbackQuery", "callback_query_id": query_id}
    return [shown, answer | ({"text": screen.toast} if screen.toast else {})]
