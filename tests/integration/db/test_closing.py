"""A day that is closed while postings are under way: each is either in the day before it closes, or refused."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lib.db.connection import Connection, Timeouts
from lib.db.errors import StatementFailed
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

_POST = (
    "insert into ledger_transfers (key, kind, entries, actor_id, reason, books_day)"
    " values (:key, 'owner_movement', 1, 5, 'rent', '2020-02-01')"
)
_CLOSE = "insert into closed_days (day) values ('2020-02-01')"
_WAITS = "select from pg_locks where not granted and relation = cast('ledger_transfers' as regclass)"


@pytest.fixture
def session(database_url: str) -> Iterator[Connection]:
    with closing(Connection(database_url, application="one", timeouts=Timeouts())) as connection:
        # what is posted here has no entries, which is told only at COMMIT
        connection.simple("alter table ledger_transfers disable trigger transfer_is_whole")
        yield connection


@pytest.fixture
def other(database_url: str, session: Connection) -> Iterator[Connection]:
    del session  # it comes first
    with closing(Connection(database_url, application="other", timeouts=Timeouts(lock_ms=60_000))) as connection:
        yield connection


async def _until_it_waits(database_url: str) -> None:
    with closing(Connection(database_url, application="watch", timeouts=Timeouts())) as connection:
        await until(lambda: connection.execute(_WAITS, {})[1], "a wait for the lock", 60)


async def test_a_day_waits_for_the_postings_under_way(
    database_url: str, session: Connection, other: Connection
) -> None:
    session.begin()
    session.execute(_POST, {"key": "owner_movement:1"})
    closes = asyncio.create_task(asyncio.to_thread(other.execute, _CLOSE, {}))
    await _until_it_waits(database_url)
    assert not closes.done()
    session.commit("test")
    await closes
    assert session.execute("select count(*) from ledger_transfers", {})[1] == [[1]]
    with pytest.raises(StatementFailed) as refused:
        session.execute(_POST, {"key": "owner_movement:2"})
    assert refused.value.constraint == "transfer_of_an_open_day"


@pytest.mark.parametrize("closed", [True, False])
async def test_a_posting_waits_for_the_day_that_is_being_closed(
    database_url: str,
    session: Connection,
    other: Connection,
    *,
    closed: bool,
) -> None:
    session.begin()
    session.execute(_CLOSE, {})
    posts = asyncio.create_task(asyncio.to_thread(other.execute, _POST, {"key": "owner_movement:1"}))
    await _until_it_waits(database_url)
    if not closed:
        session.rollback()
        await posts
        return
    session.commit("test")
    with pytest.raises(StatementFailed) as refused:
        await posts
    assert refused.value.constraint == "transfer_of_an_open_day"
