"""The routers under one dispatcher. No state in memory: chat state is in Postgres (lib/domain/chat_state.py)."""

from __future__ import annotations

from functools import cache

from aiogram import Dispatcher, F, Router
from aiogram.enums import ChatType

from lib.bot.routers import access, menu, purchase, reference, trial


@cache
def the_dispatcher() -> Dispatcher:
    """The one dispatcher of the process; it holds no state, so it is shared by all updates at once."""
    private = Router(name="private")
    private.message.filter(F.chat.type == ChatType.PRIVATE)
    private.callback_query.filter(F.message.chat.type == ChatType.PRIVATE)
    # the menu's router is the last one: it takes whatever nobody else did
    private.include_routers(purchase.router, trial.router, access.router, reference.router, menu.router)
    root = Dispatcher(disable_fsm=True)
    root.include_router(private)
    return root
