from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from lib.db import Database, OutcomeUnknown, Query, StatementFailed, idempotent, schema
from lib.db.connection import Connection, Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lib.db import Transaction
    from tests.integration.database_proxy import DatabaseProxy

_STORE = "insert into updates (update_id, body, correlation_id) values (:key, :body, 'c')"
_LAST = "marks-the-last-statement"


@dataclass(frozen=True)
class Stored:
    update_id: int
    body: str


@dataclass(frozen=True)
class Count:
    stored: int
    kept: str | None


def bodies(tx: Transaction) -> list[str]:
    return tx.values("select body from updates order by update_id")


def store_two(tx: Transaction, first: int, last: int) -> None:
    tx.execute(_STORE, key=first, body="first")
    tx.execute_with_commit(_STORE, key=last, body=_LAST)


@idempotent
def store_once(tx: Transaction, key: int) -> bool:
    if not tx.execute(f"{_STORE} on conflict do nothing", key=key, body="first"):
        return False
    tx.execute_with_commit(_STORE, key=key + 1, body=_LAST)
    return True


@pytest.fixture
async def wired(proxy: DatabaseProxy, db: Database) -> AsyncIterator[Database]:
    """Over the proxy, without the injected failure of the guards; `db` empties the tables."""
    assert await db.run(bodies) == []
    database = Database(proxy.url, connections=1, application="test", guards=False)
    yield database
    await database.close()


async def test_begin_goes_with_the_first_statement_and_commit_with_the_last(
    proxy: DatabaseProxy, wired: Database
) -> None:
    await wired.run(store_two, 1, 2)  # prepares them
    before = proxy.sent
    await wired.run(store_two, 3, 4)
    assert proxy.sent - before == 2
    assert await wired.run(bodies) == ["first", _LAST] * 2


def store_and_count(tx: Transaction, key: int) -> tuple[list[Stored], list[Count]]:
    return tx.together(
        Query(Stored, f"{_STORE} returning update_id, body", {"key": key, "body": "é"}),
        Query(Count, "select count(*) as stored, cast(:kept as text) as kept from updates", {"kept": None}),
    )


async def test_two_statements_travel_together_and_each_gets_its_own_rows(proxy: DatabaseProxy, wired: Database) -> None:
    assert await wired.run(store_and_count, 1) == ([Stored(1, "é")], [Count(1, None)])
    before = proxy.sent
    assert await wired.run(store_and_count, 2) == ([Stored(2, "é")], [Count(2, None)])
    assert proxy.sent - before == 2  # the two with BEGIN, and COMMIT

    def later(tx: Transaction) -> tuple[list[Stored], list[Count]]:
        tx.execute_with_commit(_STORE, key=3, body="held until something else is sent")
        return store_and_count(tx, 4)

    assert await wired.run(later) == ([Stored(4, "é")], [Count(4, None)])


async def test_after_a_refused_one_the_other_of_the_two_is_not_run(wired: Database) -> None:
    def refused_first(tx: Transaction) -> None:
        tx.execute(_STORE, key=1, body="first")
        with pytest.raises(StatementFailed), tx.savepoint("attempt"):
            tx.together(*[Query(Stored, f"{_STORE} returning update_id, body", {"key": 1, "body": "again"})] * 2)
        assert store_and_count(tx, 2)[1] == [Count(2, None)]

    await wired.run(refused_first)
    with pytest.raises(StatementFailed):
        await wired.run(store_and_count, 2)  # with BEGIN on the way
    with pytest.raises(StatementFailed):  # the other of the two is refused: both are undone
        await wired.run(
            lambda tx: tx.together(
                Query(Stored, f"{_STORE} returning update_id, body", {"key": 3, "body": "undone"}),
                Query(Count, "select 1 / :none as stored, '' as kept", {"none": 0}),
            )
        )
    assert await wired.run(bodies) == ["first", "é"]
    assert await wired.run(store_and_count, 3) == ([Stored(3, "é")], [Count(3, None)])


async def test_two_that_cannot_be_read_end_their_connection(wired: Database) -> None:
    """The second's answer is still unread then: no other statement may take it for its own."""

    def unreadable(tx: Transaction) -> None:
        tx.together(
            # Postgres has a twenty-fourth hour, Python has none
            Query(Count, "select 1 as stored, cast('24:00:00' as time) as kept", {}),
            Query(Count, "select 7 as stored, '' as kept", {}),
        )

    with pytest.raises(ValueError, match="24:00"):
        await wired.run(unreadable)
    assert await wired.run(store_and_count, 1) == ([Stored(1, "é")], [Count(1, None)])


async def test_lost_on_the_way_of_two_the_transaction_is_run_again(proxy: DatabaseProxy, wired: Database) -> None:
    await wired.run(store_and_count, 1)
    proxy.cut_after = "é".encode()
    assert await wired.run(store_and_count, 2) == ([Stored(2, "é")], [Count(2, None)])
    assert await wired.run(bodies) == ["é", "é"]


async def test_a_transaction_without_a_statement_is_none(proxy: DatabaseProxy, wired: Database) -> None:
    await wired.run(bodies)
    before = proxy.sent
    await wired.run(lambda _tx: None)
    assert proxy.sent == before


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


async def test_statements_run_in_their_order_whatever_goes_with_commit(wired: Database) -> None:
    def sent_with_commit_early(tx: Transaction) -> list[str]:
        tx.execute_with_commit(_STORE, key=1, body="one")
        tx.execute_with_commit(_STORE, key=2, body="two")
        seen = bodies(tx)
        tx.execute_with_commit("update updates set body = 'three' where update_id = :key", key=2)
        return seen

    assert await wired.run(sent_with_commit_early) == ["one", "two"]
    assert await wired.run(bodies) == ["one", "three"]


async def test_a_statement_sent_with_commit_that_is_refused_inside_a_savepoint_is_undone_there(wired: Database) -> None:
    def try_twice(tx: Transaction) -> list[str]:
        tx.execute(_STORE, key=1, body="kept")
        with pytest.raises(StatementFailed), tx.savepoint("attempt"):
            tx.execute(_STORE, key=2, body="undone")
            tx.execute_with_commit(_STORE, key=1, body="refused")
        return bodies(tx)

    assert await wired.run(try_twice) == ["kept"]
    assert await wired.run(bodies) == ["kept"]


def store_under_savepoint(tx: Transaction, first: int) -> None:
    tx.execute(_STORE, key=first, body="first")
    with tx.savepoint("attempt"):
        tx.execute(_STORE, key=first + 1, body=_LAST)


async def test_a_savepoint_is_no_round_trip(proxy: DatabaseProxy, wired: Database) -> None:
    await wired.run(store_under_savepoint, 1)
    before = proxy.sent
    await wired.run(store_under_savepoint, 3)
    assert proxy.sent - before == 3  # two statements, COMMIT
    assert await wired.run(bodies) == ["first", _LAST] * 2


def _nothing(_tx: Transaction) -> None:
    pass


def _twice(tx: Transaction) -> None:
    tx.execute(_STORE, key=1, body="again")


def _not_a_statement(tx: Transaction) -> None:
    tx.execute("no statement at all")


def _not_a_value(tx: Transaction) -> None:
    tx.execute(_STORE, key=9, body="\ud800")


def _then_wrong(tx: Transaction) -> None:
    tx.execute_with_commit(_STORE, key=9, body="undone")
    raise LookupError


def _nested(tx: Transaction) -> None:
    with tx.savepoint("inner"):
        tx.execute(_STORE, key=9, body="undone")
    _twice(tx)


@pytest.mark.parametrize("attempt", [_twice, _not_a_statement, _not_a_value, _then_wrong, _nested])
@pytest.mark.parametrize("before", [True, False], ids=["begun", "first of all"])
@pytest.mark.parametrize("nested", [True, False])
async def test_whatever_fails_under_a_savepoint_is_undone_there(
    wired: Database, attempt: Callable[[Transaction], None], *, before: bool, nested: bool
) -> None:
    await wired.run(lambda tx: tx.execute(_STORE, key=1, body="there"))

    def around(tx: Transaction) -> None:
        if before:
            tx.execute(_STORE, key=2, body="before")
        refused, inside = (
            (StatementFailed, ValueError, LookupError),
            tx.savepoint("inside") if nested else nullcontext(),
        )
        with pytest.raises(refused), tx.savepoint("attempt"), inside:
            attempt(tx)
        with tx.savepoint("attempt"):
            _nothing(tx)
        tx.execute(_STORE, key=3, body="after")

    for _ in range(2):  # with every statement prepared by now or not
        await wired.run(around)
        assert await wired.run(bodies) == (["there", "before", "after"] if before else ["there", "after"])
        await wired.run(lambda tx: tx.execute("delete from updates where update_id > 1"))


@pytest.mark.parametrize("before", [True, False], ids=["begun", "first of all"])
async def test_what_is_not_undone_at_a_savepoint_ends_the_transaction(wired: Database, *, before: bool) -> None:
    def fail(tx: Transaction) -> None:
        if before:
            tx.execute(_STORE, key=1, body="undone")
        with tx.savepoint("attempt"):
            raise AssertionError

    with pytest.raises(AssertionError):
        await wired.run(fail)
    assert await wired.run(bodies) == []
    await wired.run(store_two, 1, 2)
    assert await wired.run(bodies) == ["first", _LAST]


async def test_what_is_held_is_lost_with_an_exception(wired: Database) -> None:
    def fail(tx: Transaction) -> None:
        store_two(tx, 1, 2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await wired.run(fail)
    assert await wired.run(bodies) == []


async def test_lost_on_the_way_with_commit_the_outcome_is_unknown(proxy: DatabaseProxy, wired: Database) -> None:
    await wired.run(store_two, 1, 2)
    proxy.cut_after = _LAST.encode()
    with pytest.raises(OutcomeUnknown):
        await wired.run(store_two, 3, 4)
    assert await wired.run(bodies) == ["first", _LAST] * 2  # it was committed: only the answer was lost


async def test_lost_on_the_way_with_commit_an_idempotent_function_is_run_again(
    proxy: DatabaseProxy, wired: Database
) -> None:
    assert await wired.run(store_once, 1)
    proxy.cut_after = _LAST.encode()
    assert not await wired.run(store_once, 3)  # its second run finds the key used
    proxy.cut_before = _LAST.encode()
    assert await wired.run(store_once, 5)  # nothing had arrived, so the second run does it
    assert await wired.run(bodies) == ["first", _LAST] * 3


def test_the_look_at_the_schema_is_no_round_trip_of_its_own(proxy: DatabaseProxy) -> None:
    """On servers that are told to end no transaction by its age (17 and newer): it goes with that."""

    sent, opened = [], []
    for needs in (None, schema.needed()):
        before = proxy.sent
        opened.append(Connection(proxy.url, application="test", timeouts=Timeouts(), needs=needs))
        sent.append(proxy.sent - before)  # all of it was answered
    for connection in opened:
        connection.close()
    assert sent[0] == sent[1]
