"""Performing stored replies: Bot API calls through aiogram's client, and what each failure means."""

from __future__ import annotations

import asyncio
import io
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
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.methods import TelegramMethod
from aiogram.types import BufferedInputFile, Message

from lib import log
from lib.bot.late_session import LateSession

if TYPE_CHECKING:
    from lib.bot.screen import Call
    from lib.settings.plain import TelegramSettings

TIMEOUT_S = 10
"""Of one call, connecting included."""
_PAUSE_S = 3.0
"""When the sender should come back after a failure without a time to retry at."""
_NOT_MODIFIED = "message is not modified"
_QUERY_TOO_OLD = "query is too old"
# What an edit is answered with when there is no message that could take the text.
_CANT_EDIT = ("message to edit not found", "there is no text in the message to edit", "message can't be edited")
_GONE = ("chat not found", "user is deactivated")


class ReplyNotDelivered(Exception):
    """Telegram could not take the reply now; the update is done, so the next delivery sends the same reply.

    Attributes:
        retry_after: seconds.
    """

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a reply.

    Attributes:
        response: the last call, when it is to go into the webhook's response; it has not been made.
        blocked: ids of the chats whose owner blocked the bot or is gone.
    """

    response: Call | None = None
    blocked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a notification.

    Attributes:
        kind: sent; blocked (unreachable until they write again); flood (not sent, later); refused (not sent);
            unknown (it may have been sent).
        message_id: Telegram's, when it told.
        retry_after: seconds, for flood.
        permanent: refused for a reason that time does not heal.
    """

    kind: Literal["sent", "blocked", "flood", "refused", "unknown"]
    message_id: int | None = None
    retry_after: float = 0.0
    error: str = ""
    permanent: bool = False


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


def _may_go_in_response(reply: list[Call]) -> bool:
    # Its result is lost, so only calls whose outcome changes nothing: the answer to a tap, a lone new message.
    last = reply[-1]["method"]
    return bool(last == "answerCallbackQuery" or (last == "sendMessage" and len(reply) == 1))


async def deliver(bot: Bot, reply: list[Call], *, in_response: bool) -> Delivered:
    """Make the calls of a reply in their order.

    An edit that has nothing to edit becomes a new message; an edit without a change and an answer that comes too late are
    fine; a block is reported. Any other refusal is logged, and the next call is made.

    Raises:
        ReplyNotDelivered: flood control, trouble at Telegram or on the way.
    """
    made, response = (reply[:-1], reply[-1]) if in_response and reply and _may_go_in_response(reply) else (reply, None)
    blocked = [int(call["chat_id"]) for call in made if await _blocked(bot, call)]
    return Delivered(response, tuple(blocked))


async def _blocked(bot: Bot, call: Call) -> bool:
    """Make one call of a reply; True when its chat's owner can't be reached any more.

    Raises:
        ReplyNotDelivered: it may work later.
    """
    try:
        await perform(bot, call)
    except TelegramBadRequest as error:
        return await _after_refusal(bot, call, error)
    except AiogramError as error:
        outcome = _outcome(error)
        if outcome.kind == "sent":
            return False
        if outcome.kind == "blocked":
            log.info("reply_to_unreachable", method=call["method"], reason=outcome.error)
            return "chat_id" in call
        log.warning("reply_not_delivered", method=call["method"], reason=outcome.error)
        raise ReplyNotDelivered(outcome.error, outcome.retry_after or _PAUSE_S) from None
    return False


async def _after_refusal(bot: Bot, call: Call, error: TelegramBadRequest) -> bool:
    reason = error.message
    if _NOT_MODIFIED in reason or _QUERY_TOO_OLD in reason:
        return False
    if call["method"] == "editMessageText" and any(text in reason for text in _CANT_EDIT):
        anew = {name: value for name, value in call.items() if name != "message_id"} | {"method": "sendMessage"}
        return await _blocked(bot, anew)
    log.error("reply_refused", method=call["method"], reason=reason)
    return any(text in reason for text in _GONE) and "chat_id" in call


async def send(bot: Bot, calls: list[Call]) -> Outcome:
    """Make the calls of a message outside a dialogue, until one fails; the first one's message id counts."""
    first: int | None = None
    for call in calls:
        try:
            sent = await perform(bot, call)
        except AiogramError as error:
            return _outcome(error) if first is None else Outcome("unknown", first, error=_text(error))
        if first is None and isinstance(sent, Message):
            first = sent.message_id
    return Outcome("sent", first)


def _outcome(error: AiogramError) -> Outcome:  # noqa: PLR0911 -- a table of failures reads best as one
    """What a failed call means."""
    text = _text(error)
    match error:
        case TelegramRetryAfter():
            return Outcome("flood", retry_after=float(error.retry_after), error=text)
        case TelegramForbiddenError():
            return Outcome("blocked", error=text)
        case TelegramBadRequest() if any(gone in error.message for gone in _GONE):
            return Outcome("blocked", error=text)
        case TelegramBadRequest():
            return Outcome("refused", error=text, permanent=True)
        case TelegramUnauthorizedError() | TelegramNotFound():
            return Outcome("refused", error=text, retry_after=30.0)  # the token is wrong: an operator's matter
        case TelegramNetworkError() if _never_connected(error):
            return Outcome("refused", error=text)
        case ClientDecodeError() if isinstance(error.data, dict) and error.data.get("ok") is True:
            return Outcome("sent")  # taken; only what it was answered with is beyond this version
    return Outcome("unknown", error=text)


def _never_connected(error: TelegramNetworkError) -> bool:
    from aiohttp import ClientConnectorError  # noqa: PLC0415 -- a call was made, so it is loaded

    return isinstance(error.__cause__, ClientConnectorError)


def _text(error: AiogramError) -> str:
    """The failure without what was sent: a decode error's own text quotes the whole answer."""
    if isinstance(error, TelegramAPIError):
        return f"{type(error).__name__}: {error.message}"[:200]
    return type(error).__name__
