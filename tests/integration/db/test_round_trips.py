from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lib.db import Database, OutcomeUnknown, StatementFailed, keyed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lib.db import Transaction

    from .conftest import Wire

_STORE = "insert into updates (update_id, body, correlation_id) values (:key, :body, 'c')"
_LAST = "marks-the-last-statement"


def bodies(tx: Transaction) -> list[str]:
    return tx.values("select body from updates order by update_id")


def store_two(tx: Transaction, first: int, last: int) -> None:
    tx.execute(_STORE, key=first, body="first")
    tx.conclude(_STORE, key=last, body=_LAST)


@keyed
def store_once(tx: Transaction, key: int) -> bool:
    if not tx.execute(f"{_STORE} on conflict do nothing", key=key, body="first"):
        return False
    tx.conclude(_STORE, key=key + 1, body=_LAST)
    return True


@pytest.fixture
async def wired(wire: Wire, db: Database) -> AsyncIterator[Database]:
    """Over the wire, without the injected failure of the guards; `db` empties the tables."""
    assert await db.run(bodies) == []
    database = Database(wire.url, connections=1, application="test", guards=False)
    yield database
    await database.close()


async def test_begin_goes_with_the_first_statement_and_commit_with_the_last(wire: Wire, wired: Database) -> None:
    await wired.run(store_two, 1, 2)  # prepares them
    before = wire.sent
    await wired.run(store_two, 3, 4)
    assert wire.sent - before == 2
    assert await wired.run(bodies) == ["first", _LAST] * 2


async def test_a_transaction_without_a_statement_is_none(wire: Wire, wired: Database) -> None:
    await wired.run(bodies)
    before = wire.sent
    await wired.run(lambda _tx: None)
    assert wire.sent == before


async def test_a_refused_last_statement_takes_the_whole_transaction_along(db: Database, wired: Database) -> None:
    for database in (db, wired):
        with pytest.raises(StatementFailed):
            await database.run(store_two, 1, 1)
        assert await database.run(bodies) == []
    await wired.run(store_two, 1, 2)
    assert await wired.run(bodies) == ["first", _LAST]


async def test_a_refused_first_statement_leaves_the_connection_fit_for_the_next(wired: Database) -> None:
    await wired.run(store_two, 1, 2)
    with pytest.raises(StatementFailed):
        await wired.run(store_two, 1, 3)
    await wired.run(store_two, 5, 6)
    assert await wired.run(bodies) == ["first", _LAST] * 2


async def test_statements_run_in_their_order_whatever_is_concluded(wired: Database) -> None:
    def conclude_early(tx: Transaction) -> list[str]:
        tx.conclude(_STORE, key=1, body="one")
        tx.conclude(_STORE, key=2, body="two")
        seen = bodies(tx)
        tx.conclude("update updates set body = 'three' where update_id = :key", key=2)
        return seen

    assert await wired.run(conclude_early) == ["one", "two"]
    assert await wired.run(bodies) == ["one", "three"]


async def test_a_concluded_statement_that_is_refused_inside_a_savepoint_is_undone_there(wired: Database) -> None:
    def try_twice(tx: Transaction) -> list[str]:
        tx.execute(_STORE, key=1, body="kept")
        with pytest.raises(StatementFailed), tx.savepoint("attempt"):
            tx.execute(_STORE, key=2, body="undone")
            tx.conclude(_STORE, key=1, body="refused")
        return bodies(tx)

    assert await wired.run(try_twice) == ["kept"]
    assert await wired.run(bodies) == ["kept"]


async def test_what_is_held_is_lost_with_an_exception(wired: Database) -> None:
    def fail(tx: Transaction) -> None:
        store_two(tx, 1, 2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await wired.run(fail)
    assert await wired.run(bodies) == []


async def test_lost_on_the_way_with_commit_the_outcome_is_unknown(wire: Wire, wired: Database) -> None:
    await wired.run(store_two, 1, 2)
    wire.cut_after = _LAST.encode()
    with pytest.raises(OutcomeUnknown):
        await wired.run(store_two, 3, 4)
    assert await wired.run(bodies) == ["first", _LAST] * 2  # it was committed: only the answer was lost


async def test_lost_on_the_way_with_commit_a_keyed_function_is_run_again(wire: Wire, wired: Database) -> None:
    assert await wired.run(store_once, 1)
    wire.cut_after = _LAST.encode()
    assert not await wired.run(store_once, 3)  # its second run finds the key used
    wire.cut_before = _LAST.encode()
    assert await wired.run(store_once, 5)  # nothing had arrived, so the second run does it
    assert await wired.run(bodies) == ["first", _LAST] * 3
