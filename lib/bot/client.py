"""Calls of the Bot API through aiogram's client, and what each failure means."""

from __future__ import annotations

import asyncio
import html
import io
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import aiogram.methods
from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    AiogramError,
    ClientDecodeError,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.methods import TelegramMethod
from aiogram.types import BufferedInputFile

from lib.bot.late_session import LateSession

if TYPE_CHECKING:
    from lib.bot.screen import Call
    from lib.settings.plain import TelegramSettings

TIMEOUT_S = 10
"""Of one call, connecting included."""
BOT_REFUSED_S = 30.0
"""How long nothing is sent once Telegram refused the whole bot."""
"""Flood control that names no time of its own."""
_SERVER_S = 30.0
_LONGEST_WAIT_S = 24 * 3600
"""However long Telegram says to wait, after a day it is asked anew: what it said once is not believed for ever."""
_LONGEST_TEXT = 4000
# Refusals that mean: there is no such customer any more. A text that is missing here costs nothing: it counts as a refusal,
# after which what is owed is kept and tried again.
_GONE = ("chat not found", "user is deactivated", "peer_id_invalid", "user_is_blocked", "input_user_deactivated")
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call.

    Attributes:
        kind: sent;
            unreachable: this customer blocked the bot or is gone, until they write again;
            flood: too many for this chat or the bot, not sent;
            bot_refused: not sent, and no other call would be: wrong token, Telegram out of reach;
            server: refused by trouble at Telegram, not sent;
            refused: this very call is refused, not sent;
            unknown: it may have been sent.
        message_id: Telegram's, when it told.
        retry_after: seconds to wait, for flood, bot_refused and server.
        error: without anything that was sent.
    """

    kind: Literal["sent", "unreachable", "flood", "bot_refused", "server", "refused", "unknown"]
    message_id: int | None = None
    retry_after: float = 0.0
    error: str = ""


class _OneBot:
    """The process's Bot. Its session belongs to the running loop, so another loop gets another Bot."""

    def __init__(self) -> None:
        self._key: tuple[str, str, object] | None = None
        self._bot: Bot | None = None

    def get(self, settings: TelegramSettings) -> Bot:
        key = (settings.token, settings.api_base, asyncio.get_running_loop())
        if self._bot is None or key != self._key:
            server = TelegramAPIServer.from_base(settings.api_base)
            self._bot = Bot(settings.token, session=LateSession(api=server, timeout=TIMEOUT_S))
            self._key = key
        return self._bot


_one = _OneBot()


def bot_for(settings: TelegramSettings) -> Bot:
    """The Bot of this process and loop, made on first use; no request is made."""
    return _one.get(settings)


@cache
def _methods() -> dict[str, type[TelegramMethod[Any]]]:
    listed = (getattr(aiogram.methods, name) for name in aiogram.methods.__all__)
    return {
        str(method.__api_method__): method
        for method in listed
        if isinstance(method, type) and issubclass(method, TelegramMethod) and method is not TelegramMethod
    }


def _drawn(text: str) -> BufferedInputFile:
    """A QR picture, large and with a wide margin: Telegram compresses pictures."""
    import segno  # noqa: PLC0415 -- only a process that draws one pays for it

    picture = io.BytesIO()
    segno.make(text, error="m", micro=False).save(picture, kind="png", scale=10, border=4)
    return BufferedInputFile(picture.getvalue(), "qr.png")


async def perform(bot: Bot, call: Call) -> Any:
    """Make one call.

    Raises:
        AiogramError: refused, or not known whether it was taken.
    """
    arguments = {name: value for name, value in call.items() if name != "method"}
    photo = arguments.get("photo")
    if isinstance(photo, dict):
        arguments["photo"] = _drawn(photo["qr"])
    return await bot(_methods()[call["method"]](**arguments), request_timeout=TIMEOUT_S)


def variants(call: Call) -> list[Call]:
    """A message as it is, then as plain text with the buttons that come back to us, then as text alone.

    For a call whose content Telegram refuses, whatever it says of it: a bad address behind a button, markup, a picture.
    """
    markup = call.get("reply_markup", {}).get("inline_keyboard", [])
    ours = [row for row in ([button for button in row if "callback_data" in button] for row in markup) if row]
    text = html.unescape(_TAG.sub("", call.get("text") or call.get("caption") or ""))[:_LONGEST_TEXT]
    bare: Call = {"method": "sendMessage", "chat_id": call["chat_id"], "text": text}
    return [call, bare | {"reply_markup": {"inline_keyboard": ours}}, bare] if ours else [call, bare]


def judge(error: AiogramError) -> Outcome:  # noqa: PLR0911 -- a table of failures reads best as one
    """What a failed call means. Whatever is not known by its kind is a refusal of this call, and no success."""
    text = _text(error)
    match error:
        case TelegramRetryAfter():
            return Outcome("flood", retry_after=float(min(max(error.retry_after, 1), _LONGEST_WAIT_S)), error=text)
        case TelegramForbiddenError():
            return Outcome("unreachable", error=text)
        case TelegramUnauthorizedError() | TelegramNotFound():
            # the token is wrong: an operator's matter
            return Outcome("bot_refused", retry_after=BOT_REFUSED_S, error=text)
        case TelegramNetworkError() if _never_connected(error):
            return Outcome("bot_refused", retry_after=BOT_REFUSED_S, error=text)
        case TelegramServerError():
            return Outcome("server", retry_after=_SERVER_S, error=text)
        case ClientDecodeError() if isinstance(error.data, dict) and error.data.get("ok") is True:
            return Outcome("sent")  # taken; only what it was answered with is beyond this version
        case TelegramBadRequest() if any(gone in text.lower() for gone in _GONE):
            return Outcome("unreachable", error=text)
        case TelegramEntityTooLarge():  # an answer, although aiogram has it among failures of the network
            return Outcome("refused", error=text)
        case TelegramAPIError() if not isinstance(error, TelegramNetworkError):
            return Outcome("refused", error=text)
    return Outcome("unknown", error=text)


def _never_connected(error: TelegramNetworkError) -> bool:
    """Connection refused, no such name, no TLS, or no connection in time: nothing was sent."""
    from aiohttp import ClientConnectorError, ConnectionTimeoutError  # noqa: PLC0415 -- a call was made, so it is loaded

    return isinstance(error.__cause__, ClientConnectorError | ConnectionTimeoutError)


def _text(error: AiogramError) -> str:
    """The failure without what was sent: a decode error's own text quotes the whole answer."""
    if isinstance(error, TelegramAPIError):
        return f"{type(error).__name__}: {error.message}"[:200]
    return type(error).__name__
