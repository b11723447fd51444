"""Making the calls of a stored reply: what a customer sees after a tap or a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiogram.exceptions import AiogramError

from lib import log
from lib.bot.client import Outcome, judge, perform, variants
from lib.bot.screen import REPEATABLE, bare

if TYPE_CHECKING:
    from aiogram import Bot

    from lib.bot.screen import Call

_PAUSE_S = 3.0
"""When the sender should come back after a failure that names no time of its own."""
_NOT_MODIFIED = "message is not modified"
"""The only refusal of an edit that is a success: the customer sees the screen already."""


class ReplyNotDelivered(Exception):
    """Telegram did not take the reply; the update is done, so the next delivery sends the same reply.

    Attributes:
        outcome: of the call that failed.
        chat_id: whose.
        retry_after: seconds.
    """

    def __init__(self, outcome: Outcome, chat_id: int | None = None) -> None:
        super().__init__(outcome.error)
        self.outcome = outcome
        self.chat_id = chat_id
        self.retry_after = outcome.retry_after or _PAUSE_S


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a reply.

    Attributes:
        response: the last call, when it is to go into the webhook's response; it has not been made.
        unreachable: ids of the chats whose owner blocked the bot or is gone.
    """

    response: Call | None = None
    unreachable: tuple[int, ...] = ()


def _may_go_in_response(reply: list[Call]) -> bool:
    # Its result is lost, a refusal and flood control too. So only what costs nothing when it is lost: the answer to a tap,
    # after the screen, and a lone screen that is marked as one that the same tap brings again.
    last = reply[-1]
    if last["method"] == "answerCallbackQuery":
        return True
    return bool(len(reply) == 1 and last["method"] == "sendMessage" and last.get(REPEATABLE))


async def deliver(bot: Bot, reply: list[Call], *, in_response: bool) -> Delivered:
    """Make the calls of a reply in their order, so that the customer sees the screen whatever Telegram says.

    A refused edit comes as a new message, and a refused message as plain text (`client.variants`). A refused answer to a tap
    costs its toast alone.

    Raises:
        ReplyNotDelivered: nothing of the screen was taken, now.
    """
    made, response = (reply[:-1], reply[-1]) if in_response and reply and _may_go_in_response(reply) else (reply, None)
    unreachable = [
        int(call["chat_id"])
        for position, call in enumerate(made)
        if not await _reached(bot, call, is_first=position == 0) and "chat_id" in call
    ]
    return Delivered(bare(response) if response is not None else None, tuple(unreachable))


async def _reached(bot: Bot, call: Call, *, is_first: bool) -> bool:
    """Make one call of a reply; False when its chat's owner can't be reached any more.

    What follows the screen is an answer to a tap: whatever becomes of it, the screen must not be sent again for it.

    Raises:
        ReplyNotDelivered: it was not taken.
    """
    call = bare(call)
    outcome = await _tried(bot, call)
    if outcome.kind == "refused" and "chat_id" in call:
        if call["method"] == "editMessageText":
            if _NOT_MODIFIED in outcome.error:
                return True
            call = {name: value for name, value in call.items() if name != "message_id"} | {"method": "sendMessage"}
            log.info("edit_refused", reason=outcome.error)
            outcome = await _tried(bot, call)
        outcome = await _sent_more_plainly(bot, call, outcome)
    match outcome.kind:
        case "sent":
            return True
        case "unreachable":
            log.info("reply_to_unreachable", method=call["method"], reason=outcome.error)
            return False
        case kind if "chat_id" not in call and (kind == "refused" or not is_first):
            log.info("tap_not_answered", reason=outcome.error)  # too old, most often; the screen is there
            return True
    log.warning("reply_not_delivered", method=call["method"], reason=outcome.error)
    raise ReplyNotDelivered(outcome, call.get("chat_id"))


async def _sent_more_plainly(bot: Bot, call: Call, outcome: Outcome) -> Outcome:
    """A message whose content is refused, in ever plainer forms; a fault of ours, so it is logged as one."""
    for plainer in variants(call)[1:]:
        if outcome.kind != "refused":
            break
        log.error("reply_refused", method=call["method"], reason=outcome.error)
        outcome = await _tried(bot, plainer)
    return outcome


async def _tried(bot: Bot, call: Call) -> Outcome:
    try:
        await perform(bot, call)
    except AiogramError as error:
        return judge(error)
    return Outcome("sent")
