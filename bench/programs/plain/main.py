"""P2 (b): the webhook bot as aiogram's documentation has it, under functions-framework. No database, one handler.

It answers in the webhook's response, which saves it a call to Telegram.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import functions_framework.aio
from aiogram import Bot, Dispatcher
from aiogram.client.default import Default
from aiogram.filters import CommandStart
from aiogram.methods import SendMessage  # noqa: TC002 -- as in the documentation's example; loaded anyway
from aiogram.methods.base import TelegramMethod
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup, Message, Update
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

bot = Bot(os.environ["TELEGRAM_BOT_TOKEN"])
dispatcher = Dispatcher()


@dispatcher.message(CommandStart())
async def start(message: Message) -> SendMessage:
    """The menu."""
    buttons = [[InlineKeyboardButton(text=text, callback_data=text)] for text in ("buy", "key", "profile", "help")]
    return message.answer("Hello", reply_markup=InlineKeyboardMarkup(inline_keyboard=buttons))


@functions_framework.aio.http
async def plain(request: Request) -> Response:
    """Telegram's webhook."""
    update = Update.model_validate(await request.json(), context={"bot": bot})
    answer: object = await dispatcher.feed_webhook_update(bot, update)
    return JSONResponse(_as_response(answer) if isinstance(answer, TelegramMethod) else {})


def _as_response(method: TelegramMethod[Any]) -> dict[str, Any]:
    fields = method.model_dump(exclude_none=True, warnings=False)
    given = {name: value for name, value in fields.items() if not isinstance(value, Default)}
    return {"method": method.__api_method__, **given}
