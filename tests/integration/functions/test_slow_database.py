"""The webhook's budget counts from the start of its request, however long each way to Postgres takes."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.requests import Request

from functions.public import telegram_webhook as function
from lib import bootstrap
from lib.bot import wiring
from lib.bot.dispatcher import the_dispatcher
from lib.db import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

    from tests.integration.database_proxy import DatabaseProxy

SECRET = "s" * 16
_BUDGET_S, _KEEPING_S, ROUND_TRIP_S = 0.8, 0.1, 0.3
"""A tenth of the real budget, and of three seconds: what counts is how often they fit."""


def _start(number: int) -> Request:
    person = {"id": number, "is_bot": False, "first_name": "Anna"}
    message = {"message_id": 1, "date": 1, "chat": {"id": number, "type": "private"}, "from": person, "text": "/start"}
    body = json.dumps({"update_id": number, "message": message}).encode()
    headers = [(b"x-telegram-bot-api-secret-token", SECRET.encode())]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}, receive)


async def _webhook(request: Request) -> Response:
    entry: Any = function.telegram_webhook
    return cast("Response", await entry(request))


@pytest.fixture
async def far(proxy: DatabaseProxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    database = Database(proxy.url, connections=4, reserved=1, application="far", guards=False)
    monkeypatch.setattr(bootstrap, "database", lambda: database)
    monkeypatch.setenv("TELEGRAM_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "42:TESTTESTTEST")
    monkeypatch.setattr(function, "INLINE_BUDGET_S", _BUDGET_S)
    monkeypatch.setattr(function, "_KEEPING_S", _KEEPING_S)
    wiring.services.cache_clear()
    importlib.import_module("lib.bot.handle")
    the_dispatcher()  # what loads on first use is another matter
    yield database
    wiring.services.cache_clear()
    proxy.delay_s = 0
    await database.close()


@pytest.mark.parametrize("connected", [False, True], ids=["first request", "connected"])
async def test_a_far_database(far: Database, proxy: DatabaseProxy, *, connected: bool) -> None:
    if connected:
        await far.run(lambda tx: tx.value("select 1"))
    proxy.delay_s = ROUND_TRIP_S
    sent = proxy.sent
    answer = await _webhook(_start(1))
    assert answer.status_code == 503
    # Three round trips fit into the budget; then the one under way is waited for, and one more begins to keep the update.
    assert proxy.sent - sent <= 6
    proxy.delay_s = 0
    again = await _webhook(_start(1))
    assert again.status_code == 200
    assert await far.run(lambda tx: tx.value("select done_at is not null from updates"))
