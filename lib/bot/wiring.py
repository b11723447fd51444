"""The bot put together from this process's settings and adapters, on first use."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from lib import bootstrap
from lib.bot import delivery
from lib.bot.services import Services
from lib.domain import accounts
from lib.settings import plain, pricelist

if TYPE_CHECKING:
    from aiogram import Bot

    from lib.bot.screen import Call

_ZONE = "Europe/Moscow"


@cache
def zone() -> ZoneInfo:
    """In which times are shown.

    Raises:
        ZoneInfoNotFoundError: `DISPLAY_TZ` names none.
    """
    return ZoneInfo(plain.text("DISPLAY_TZ", _ZONE))


@cache
def services() -> Services:
    """Raises: MissingSetting, InvalidPriceList, ZoneInfoNotFoundError: the configuration is wrong."""
    return Services(bootstrap.database(), pricelist.load(), plain.telegram(), bootstrap.cryptopay(), zone())


def bot() -> Bot:
    """The client of the Bot API, made once per process and loop.

    Raises:
        MissingSetting: no token.
    """
    return delivery.bot_for(plain.telegram())


async def deliver(reply: list[Call], *, in_response: bool) -> Call | None:
    """`delivery.deliver`, and the accounts of people who blocked the bot become unreachable.

    Raises:
        ReplyNotDelivered: Telegram could not take it now.
        DatabaseError: the block could not be noted.
    """
    delivered = await delivery.deliver(bot(), reply, in_response=in_response)
    for chat_id in delivered.blocked:
        await bootstrap.database().run(accounts.set_reachable, chat_id, reachable=False)
    return delivered.response
