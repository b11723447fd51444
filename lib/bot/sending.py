"""Sending a message outside a dialogue, and what its outcome does to the message (product.md#messages)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiogram.exceptions import AiogramError
from aiogram.types import Message

from lib import json_reader
from lib.bot.client import BOT_REFUSED_S, Outcome, judge, perform, variants
from lib.domain import accounts, messages, telegram_budget

if TYPE_CHECKING:
    from aiogram import Bot

    from lib.bot.screen import Call
    from lib.db import Transaction
    from lib.domain.messages import Due
    from lib.domain.outbox import Item

_REFUSED_AGAIN_S = (60.0, 600.0, 3600.0, 21_600.0)
"""After a refusal of its content a `must` message is tried again at these times, the last one for ever: it is owed."""
_SERVER_LONGEST_S = 600.0


async def send(bot: Bot, calls: list[Call]) -> Outcome:
    """Make the calls of a message until one fails; the first one's message id counts. Refused content is sent more plainly."""
    first: int | None = None
    for call in calls:
        outcome = Outcome("refused")
        for form in variants(call):
            try:
                sent = await perform(bot, form)
            except AiogramError as error:
                outcome = judge(error)
                if outcome.kind == "refused":
                    continue
            else:
                is_known = isinstance(sent, Message) and json_reader.is_id(sent.message_id)
                outcome = Outcome("sent", sent.message_id if is_known else None)
            break
        if outcome.kind != "sent":
            return outcome if first is None else Outcome("unknown", first, error=outcome.error)
        first = first or outcome.message_id
    return Outcome("sent", first)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is to be said and done once an outcome is written.

    Attributes:
        status: of the message: `queued` when it waits.
        again: the work that brings it back.
        closed: the bot was closed by this outcome and by none before: an operator is alerted, once per pause.
    """

    status: str
    again: Item | None = None
    closed: bool = False


def record(tx: Transaction, due: Due, outbox_id: int, outcome: Outcome) -> Recorded:
    """Write what became of an attempt: the message ends, or waits for its own time.

    What was certainly not sent is no attempt. One customer's refusal ends or delays that customer's messages alone.
    """
    match outcome.kind:
        case "sent":
            messages.finish(tx, due, outbox_id, "sent", telegram_message_id=outcome.message_id)
            return Recorded("sent")
        case "unreachable":
            if due.telegram_id is not None:
                accounts.unreachable(tx, due.telegram_id)
            messages.finish(tx, due, outbox_id, "unreachable", error=outcome.error)
            return Recorded("unreachable")
        case "unknown" if due.is_last:
            messages.finish(tx, due, outbox_id, "unclear", error=outcome.error)
            return Recorded("unclear")
        case "unknown":
            messages.repeat_later(tx, due, outbox_id, outcome.error)
            return Recorded("queued")
        case "refused" if due.delivery == "once":
            messages.finish(tx, due, outbox_id, "failed", error=outcome.error)
            return Recorded("failed")
    seconds = wait_s(outcome, due.attempts)
    again = messages.put_off(tx, due, outbox_id, seconds, outcome.error, own_trouble=outcome.kind != "bot_refused")
    closed = due.telegram_id is not None and note_trouble(tx, due.telegram_id, outcome, seconds)
    return Recorded("queued", again, closed)


def wait_s(outcome: Outcome, attempts: int) -> float:
    """Seconds until a message that was certainly not sent is tried again."""
    match outcome.kind:
        case "refused":
            return _REFUSED_AGAIN_S[min(attempts, len(_REFUSED_AGAIN_S)) - 1]
        case "server":
            return min(outcome.retry_after * 2.0 ** min(attempts - 1, 10), _SERVER_LONGEST_S)
    return outcome.retry_after


def note_trouble(tx: Transaction, telegram_id: int, outcome: Outcome, seconds: float) -> bool:
    """Pause the bot, or one chat, as long as Telegram asks for; True when the bot was open until now."""
    match outcome.kind:
        case "bot_refused":
            return telegram_budget.close(tx, seconds, outcome.error)
        case "flood":
            return telegram_budget.pause_chat(tx, telegram_id, seconds, close_s=seconds, reason=outcome.error)
        case "server":
            close_s = min(seconds, BOT_REFUSED_S)
            return telegram_budget.pause_chat(tx, telegram_id, seconds, close_s=close_s, reason=outcome.error)
    return False
