"""The bot put together from this process's settings and adapters, on first use."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from lib import bootstrap, log
from lib.bot import client, delivery, pace, sending
from lib.bot.services import Services
from lib.domain import accounts
from lib.settings import plain, pricelist

if TYPE_CHECKING:
    from datetime import datetime

    from aiogram import Bot

    from lib.bot.screen import Call


_PATIENCE_S = 3.0


@cache
def services() -> Services:
    """Raises: UnusableSetting, InvalidPriceList: the configuration is wrong."""
    return Services(
        bootstrap.database(),
        pricelist.load(),
        plain.telegram(),
        bootstrap.invoices(),
        plain.zone(),
        plain.payment_methods(),
        plain.asks_data(),
        plain.owners(),
        bootstrap.giving_back,
    )


def bot() -> Bot:
    """The client of the Bot API, made once per process and loop.

    Raises:
        UnusableSetting: no token, or none that can be one.
    """
    return client.bot_for(plain.telegram())


async def deliver(reply: list[Call], *, closed_until: datetime | None, in_response: bool) -> Call | None:
    """`delivery.deliver`, and what it showed is noted: customers out of reach, a pause that Telegram asks for.

    Args:
        reply: calls in their order.
        closed_until: until when Telegram refuses the whole bot, as the update's own transaction read it; no call is made then.
        in_response: one call may go into the webhook's response: it is returned.

    Raises:
        ReplyNotDelivered: Telegram could not take it now.
        DatabaseError: what it showed could not be noted.
    """
    if reply and closed_until is not None:
        raise delivery.ReplyNotDelivered(client.Outcome("bot_refused", error="the bot is paused"))
    if not in_response:
        await _slots_for(reply)
    try:
        delivered = await delivery.deliver(bot(), reply, in_response=in_response)
    except delivery.ReplyNotDelivered as error:
        await _note(error)
        raise
    for chat_id in delivered.unreachable:
        await bootstrap.database().run(accounts.unreachable, chat_id)
    return delivered.response


async def _slots_for(reply: list[Call]) -> None:
    """Of what a task sends later: in a webhook a customer is answered without asking.

    Raises:
        ReplyNotDelivered: there are none now.
    """
    for _ in (call for call in reply if "chat_id" in call):
        if seconds := await pace.slot(bootstrap.database(), _PATIENCE_S):
            raise delivery.ReplyNotDelivered(client.Outcome("flood", retry_after=seconds, error="no slot is free"))


async def _note(error: delivery.ReplyNotDelivered) -> None:
    if error.outcome.kind in {"bot_refused", "flood", "server"}:
        noted = bootstrap.database().run(sending.note_trouble, error.chat_id or 0, error.outcome, error.retry_after)
        if await noted:
            log.error("telegram_closed", reason=error.outcome.error, seconds=error.retry_after)
