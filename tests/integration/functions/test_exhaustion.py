"""Connections run out, of an instance or of the server: 503 and another try, no spiral, nothing lost; and the wait is told."""

from __future__ import annotations

import asyncio
import importlib
import logging
from typing import TYPE_CHECKING, Any

import pg8000.native
import pytest

from lib import bootstrap
from lib.bot import wiring
from lib.bot.dispatcher import the_dispatcher
from lib.db import Database, Unavailable, connection
from lib.db import database as module
from lib.db.address import DatabaseAddress
from tests.integration.functions.test_slow_database import SECRET, _start, _webhook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lib.db import Transaction

CONNECTIONS, TOGETHER = 3, 24


class Opened:
    """Counts sessions that were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real: Callable[..., Any] = connection.Connection

        def connect(*given: Any, **more: Any) -> Any:
            self.count += 1
            return real(*given, **more)

        monkeypatch.setattr(module, "Connection", connect)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(monkeypatch)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[logging.LogRecord]:
    """What is logged: the function puts its own handler in place of pytest's."""
    records: list[logging.LogRecord] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    monkeypatch.setattr(logging.getLogger("atlas"), "handlers", [Keeps()])
    return records


@pytest.fixture
async def small(functions_url: str, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:  # noqa: ARG001 -- counted from the first
    """The webhook on an instance of three connections, one of them kept for what has a deadline."""
    database = Database(functions_url, connections=CONNECTIONS, reserved=1, application="small", guards=False)
    monkeypatch.setattr(bootstrap, "database", lambda: database)
    monkeypatch.setenv("TELEGRAM_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "42:TESTTESTTEST")
    wiring.services.cache_clear()
    importlib.import_module("lib.bot.handle")
    the_dispatcher()
    yield database
    wiring.services.cache_clear()
    await database.close()


@pytest.mark.proves("S0-8")
async def test_an_instance_whose_connections_are_taken_answers_503_and_takes_all_of_it_later(
    small: Database,
    opened: Opened,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    told: list[logging.LogRecord],
) -> None:
    monkeypatch.setattr(module, "_WAIT_FOR_THREAD_S", 0.3)
    other = pg8000.native.Connection(**DatabaseAddress.parse(database_url).driver_arguments())
    other.run("begin")
    other.run("select pg_advisory_xact_lock(1)")

    def held(tx: Transaction) -> None:
        tx.value("select pg_advisory_xact_lock(1)")

    ordinary = CONNECTIONS - 1
    holding = [asyncio.ensure_future(small.run(held)) for _ in range(ordinary)]
    await asyncio.sleep(0)
    answers = await asyncio.gather(*(_webhook(_start(number)) for number in range(1, TOGETHER + 1)))
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {"2"}
    waited = [vars(record)["fields"] for record in told if record.getMessage() == "connection_waited"]
    assert len(waited) == TOGETHER
    assert all(line["got"] is False and line["ms"] >= 300 and line["connections"] == CONNECTIONS for line in waited)
    assert opened.count <= CONNECTIONS  # no session beyond them, however many ask
    other.run("commit")
    other.close()
    await asyncio.gather(*holding)
    monkeypatch.setattr(module, "_WAIT_FOR_THREAD_S", 60.0)
    again = await asyncio.gather(*(_webhook(_start(number)) for number in range(1, TOGETHER + 1)))
    assert {answer.status_code for answer in again} == {200}
    assert await small.run(lambda tx: tx.value("select count(*) from updates where done_at is not null")) == TOGETHER
    assert opened.count <= CONNECTIONS


@pytest.mark.proves("S0-8")
async def test_a_server_that_takes_no_more_sessions_is_asked_once_a_request_and_has_them_again(
    database_url: str, opened: Opened
) -> None:
    address = DatabaseAddress.parse(database_url)
    owner = pg8000.native.Connection(**address.driver_arguments())
    owner.run("create role atlas_crowded login password 'crowded' connection limit 1 in role atlas_app")
    crowded = database_url.replace(database_url.partition("://")[2].partition("@")[0], "atlas_crowded:crowded", 1)
    try:
        taken = pg8000.native.Connection(**DatabaseAddress.parse(crowded).driver_arguments())
        database = Database(crowded, connections=4, application="crowded", guards=False)
        results = await asyncio.gather(
            *(database.run(lambda tx: tx.value("select 1")) for _ in range(TOGETHER)), return_exceptions=True
        )
        assert all(isinstance(one, Unavailable) and "53300" in str(one) for one in results)
        assert opened.count == TOGETHER  # once each: what is full is not asked again in the same breath
        taken.close()
        assert await _until_taken(database) == 1
        await database.close()
    finally:
        owner.run("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'atlas_crowded'")
        owner.run("drop role atlas_crowded")
        owner.close()


async def _until_taken(database: Database) -> int:
    """The server needs a moment to see that a session has ended."""
    deadline = asyncio.get_running_loop().time() + 30
    while True:
        try:
            return int(await database.run(lambda tx: tx.value("select 1")))
        except Unavailable:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0)
