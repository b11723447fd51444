"""The routers under one dispatcher. No state in memory: chat state is in Postgres (lib/domain/chat_state.py)."""

from __future__ import annotations

from functools import cache

from aiogram import Dispatcher, Router
from aiogram.enums import ChatType
from aiogram.types import CallbackQuery, Message

from lib.bot.routers import access, auto_renewal, balance, changes, menu, operator, purchase, reference, trial


async def in_private(event: Message | CallbackQuery) -> bool:
    """Whether it happened in a private chat. Async, for aiogram hands every other filter to a thread."""
    message = event.message if isinstance(event, CallbackQuery) else event
    return message is not None and message.chat.type == ChatType.PRIVATE


@cache
def the_dispatcher() -> Dispatcher:
    """The one dispatcher of the process; it holds no state, so it is shared by all updates at once."""
    private = Router(name="private")
    private.message.filter(in_private)
    private.callback_query.filter(in_private)
    # the menu's router comes last: it takes what no other router takes; the balance's takes any text that is no command
    private.include_routers(
        menu.start_router,
        purchase.router,
        trial.router,
        access.router,
        auto_renewal.router,
        changes.router,
        reference.router,
        operator.router,
        balance.router,
        menu.router,
    )
    root = Dispatcher(disable_fsm=True)
    root.include_router(private)
    return root
