"""P1 (a): the same bot as aiogram's and asyncpg's documentation would have it, fast: one process, one loop, one pool.

An update's effect is one transaction with the statements of Atlas (tests/bench compares them): the update's key, the account,
whether the free period is open to them, the stored reply. The reply goes into the webhook's response, by aiogram's own
`SimpleRequestHandler` with `handle_in_background=False`.

Given it for speed, over what the documentations show: no FSM middleware, no reset of a connection between transactions (one
round trip), no access log, texts that are ready in the program.
"""

from __future__ import annotations

import html
import json
import logging
import os
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import asyncpg
from aiogram import Bot, Dispatcher, Router
from aiogram.filters import CommandStart
from aiogram.methods import SendMessage
from aiogram.types import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    Message,
    TelegramObject,
    Update,
)
from aiogram.webhook.aiohttp_server import SimpleRequestHandler
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp.typedefs import Handler

CLAIM = """
insert into updates (update_id, body, correlation_id) values ($1, $2, $3)
on conflict (update_id) do update set attempts = updates.attempts + 1
returning done_at is not null as done, reply, attempts,
          (select closed_until from telegram_budget where closed_until > atlas.now()) as closed_until
"""
MEET = """
insert into accounts
    (telegram_id, first_name, username, language, start_payload, latest_update_id, updates_counted_from, updates_counted,
     chat_sent_at)
select cast($1 as bigint), $2, $3, $4, $5, cast($6 as bigint),
       atlas.now(), 1, atlas.now()
where $7 or not exists (select from updates where update_id = $6 and done_at is not null)
on conflict (telegram_id) do update
    set first_name = excluded.first_name, username = excluded.username,
        language = coalesce(accounts.language, excluded.language),
        chat_sent_at = excluded.chat_sent_at,
        latest_update_id = coalesce(excluded.latest_update_id, accounts.latest_update_id),
        updates_counted = case when excluded.updates_counted_from < accounts.updates_counted_from + interval '1 minute'
                               then accounts.updates_counted + 1 else 1 end,
        updates_counted_from = case when excluded.updates_counted_from < accounts.updates_counted_from + interval '1 minute'
                                    then accounts.updates_counted_from else excluded.updates_counted_from end
returning id, telegram_id, first_name, coalesce(language, 'ru') as language, language_chosen, trial_used_at,
          unreachable_since is not null as was_unreachable, updates_counted as updates_in_minute, xmax = 0 as is_new,
          ban_reason
"""
EVEN_IF_DONE = False
ELIGIBLE = """
select a.trial_used_at is null and a.banned_at is null
   and not exists (select from payments p where p.account_id = a.id)
   and not exists (select from subscriptions s
                   where s.account_id = a.id
                     and (s.status = 'active' and s.expires_at > atlas.now() or s.status = 'frozen'))
from accounts a where a.id = $1
"""
FINISH = """
update updates set done_at = coalesce(done_at, atlas.now()), reply = cast($1 as jsonb), last_error = null,
    body = case when $2 then '{}' else body end
where update_id = $3
"""
FORGET_BODY = False
TEXTS = {
    "en": {
        "welcome": "👋 Hello, {name}!\n\n<b>Atlas</b> is a VPN that is set up within a minute: an app, a key, done.\n\n"
        "Where shall we begin?",
        "data": "🔒 We keep only what the bot can't work without; what that is: /privacy",
        "trial": "🎁 Try it free",
        "buy": "💳 Buy access",
        "key": "🔑 My key",
        "profile": "👤 Profile",
        "instruction": "📖 How to connect",
        "support": "💬 Support",
        "language": "🌐 Language · Язык",
    },
    "ru": {
        "welcome": "👋 Здравствуйте, {name}!\n\n<b>Atlas</b> — VPN, который подключается за минуту: приложение, ключ — и готово.\n\n"
        "Выберите, с чего начать:",  # noqa: RUF001 -- Russian
        "data": "🔒 Мы храним только то, без чего бот не работает; что именно — /privacy",
        "trial": "🎁 Попробовать бесплатно",
        "buy": "💳 Купить доступ",
        "key": "🔑 Мой ключ",
        "profile": "👤 Профиль",
        "instruction": "📖 Как подключиться",
        "support": "💬 Поддержка",
        "language": "🌐 Язык · Language",
    },
}
ROWS = (("buy",), ("key", "profile"), ("instruction",), ("support", "language"))

router = Router()
received: ContextVar[str] = ContextVar("received")
"""The update's text as it came, which is kept with it."""


@web.middleware
async def keep_text(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Remember what came; aiogram passes on only what it made of it."""
    received.set(await request.text())
    return await handler(request)


async def have_one_effect(
    handler: Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]], event: TelegramObject, data: dict[str, Any]
) -> Any:
    """One transaction around the handler: the update's key first, the reply last; a second delivery gets the stored one."""
    if not isinstance(event, Update):
        raise TypeError("an update was expected")
    pool: asyncpg.Pool = data["pool"]
    async with pool.acquire() as connection, connection.transaction():
        claimed = await connection.fetchrow(CLAIM, event.update_id, received.get(), f"tg-{event.update_id}")
        if claimed["done"]:
            stored = json.loads(claimed["reply"])
            return SendMessage(**stored[0]) if stored else None
        data["connection"] = connection
        reply = await handler(event, data)
        stored = []
        if isinstance(reply, SendMessage):
            stored.append({"method": reply.__api_method__, **reply.model_dump(mode="json", exclude_unset=True)})
        await connection.execute(FINISH, json.dumps(stored), FORGET_BODY, event.update_id)
        return reply


@router.message(CommandStart())
async def on_start(message: Message, event_update: Update, connection: asyncpg.Connection) -> SendMessage | None:
    """Greeting and menu."""
    person = message.from_user
    if person is None:
        return None
    code = person.language_code
    language = None if not code else "ru" if code.lower().split("-")[0] == "ru" else "en"
    known = (person.id, person.first_name[:128], person.username, language)
    account = await connection.fetchrow(MEET, *known, None, event_update.update_id, EVEN_IF_DONE)
    offered = await connection.fetchval(ELIGIBLE, account["id"])
    say = TEXTS[account["language"]]
    rows = (("trial",), *ROWS) if offered else ROWS
    buttons = [[InlineKeyboardButton(text=say[to], callback_data=f"go:{to}") for to in row] for row in rows]
    text = say["welcome"].format(name=html.escape(account["first_name"], quote=False))
    if account["is_new"]:
        text += "\n\n" + say["data"]
    return SendMessage(
        chat_id=message.chat.id,
        text=text,
        parse_mode="HTML",
        reply_markup=InlineKeyboardMarkup(inline_keyboard=buttons),
        link_preview_options=LinkPreviewOptions(is_disabled=True),
    )


async def leave_as_it_is(_connection: asyncpg.Connection) -> None:
    """Nothing of a transaction outlives it here, so the pool need not ask the server to make sure."""


async def application() -> web.Application:
    """The webhook's application."""
    bot = Bot(os.environ["TELEGRAM_BOT_TOKEN"])
    dispatcher = Dispatcher(disable_fsm=True)
    dispatcher.update.outer_middleware(have_one_effect)
    dispatcher.include_router(router)
    app = web.Application(middlewares=[keep_text])

    async def pool(_app: web.Application) -> AsyncIterator[None]:
        size = int(os.environ["DB_CONNECTIONS"])
        async with asyncpg.create_pool(
            os.environ["DATABASE_URL"],
            min_size=size,
            max_size=size,
            reset=leave_as_it_is,
            server_settings={"search_path": "atlas", "TimeZone": "UTC"},
        ) as opened:
            dispatcher["pool"] = opened
            yield

    app.cleanup_ctx.append(pool)
    secret = os.environ["TELEGRAM_WEBHOOK_SECRET"]
    SimpleRequestHandler(dispatcher, bot, handle_in_background=False, secret_token=secret).register(app, "/")
    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    web.run_app(application(), host=os.environ["HOST"], port=int(os.environ["PORT"]), access_log=None, print=None)
