"""A connection that is out of step, a statement that goes with COMMIT, a value that can't be sent or read: nothing is mixed up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lib.db import Database, OutcomeUnknown, StatementFailed, Unavailable, idempotent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lib.db import Transaction

_PUT = "insert into flags (name, enabled) values (:name, true)"
_UNREADABLE = "select cast('24:00:00' as time)"  # Postgres has a twenty-fourth hour, Python has none


@pytest.fixture
async def one(database_url: str) -> AsyncIterator[Database]:
    """One connection, so that the next transaction gets what the last one left."""
    database = Database(database_url, connections=1, application="damage", guards=False)
    yield database
    await database.close()


def names(tx: Transaction) -> list[str]:
    return tx.values("select name from flags where name like 'test-%' order by name")


async def test_what_can_not_be_read_leaves_no_answer_for_the_next_one(one: Database) -> None:
    def unreadable(tx: Transaction) -> None:
        tx.value(_UNREADABLE)

    with pytest.raises(ValueError, match="24:00"):
        await one.run(unreadable)

    def next_one(tx: Transaction, number: int) -> int:
        return int(tx.value("select cast(:number as int) + 1", number=number))

    assert [await one.run(next_one, number) for number in (41, 141, 241)] == [42, 142, 242]


async def test_a_refused_commit_is_refused_whatever_was_read_before(one: Database) -> None:
    """A deferred constraint speaks at COMMIT; an answer of before must not be taken for its own."""
    await one.run(
        lambda tx: tx.execute(
            "create table atlas.late (id int primary key, other int references atlas.late deferrable initially deferred)"
        )
    )

    def unreadable_inside(tx: Transaction) -> None:
        tx.execute(_PUT, name="test-swallowed")
        with pytest.raises(ValueError, match="24:00"), tx.savepoint("part"):
            tx.value(_UNREADABLE)

    with pytest.raises(Unavailable):
        await one.run(unreadable_inside)
    with pytest.raises(StatementFailed) as refused:
        await one.run(lambda tx: tx.execute("insert into late values (1, 99)"))
    assert refused.value.code == "23503"
    with pytest.raises(StatementFailed) as held:
        await one.run(lambda tx: tx.execute_with_commit("insert into late values (2, 98)"))
    assert held.value.code == "23503"
    assert await one.run(names) == []
    assert await one.run(lambda tx: tx.value("select count(*) from late")) == 0


async def test_a_statement_that_returns_rows_can_not_be_held(one: Database) -> None:
    with pytest.raises(ValueError, match="rows"):
        await one.run(lambda tx: tx.execute_with_commit(f"{_PUT} returning name", name="test-held"))
    assert await one.run(names) == []


@pytest.mark.parametrize("first", ["execute", "execute_with_commit"])
async def test_a_first_value_that_can_not_be_sent_leaves_no_transaction_without_begin(
    one: Database, first: str
) -> None:
    def swallow(tx: Transaction) -> None:
        with pytest.raises(UnicodeEncodeError):
            getattr(tx, first)(_PUT, name="\ud800")
        tx.execute(_PUT, name="test-alone")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await one.run(swallow)
    assert await one.run(names) == []


async def test_a_swallowed_value_that_can_not_be_sent_is_not_committed(one: Database) -> None:
    def swallow(tx: Transaction) -> None:
        tx.execute(_PUT, name="test-before")
        with pytest.raises(UnicodeEncodeError):
            tx.execute(_PUT, name="\ud800")

    with pytest.raises(RuntimeError):
        await one.run(swallow)
    assert await one.run(names) == []


async def test_a_held_statement_belongs_to_its_savepoint(one: Database) -> None:
    def partly(tx: Transaction) -> None:
        tx.execute_with_commit(_PUT, name="test-before")
        with pytest.raises(LookupError), tx.savepoint("part"):
            tx.execute_with_commit(_PUT, name="test-before")  # twice: it would be refused if it were ever sent
            raise LookupError
        with pytest.raises(StatementFailed), tx.savepoint("part"):
            tx.execute_with_commit(_PUT, name="test-before")
        tx.execute_with_commit(_PUT, name="test-after")

    await one.run(partly)
    assert await one.run(names) == ["test-after", "test-before"]


@pytest.mark.parametrize("how", ["execute", "execute_with_commit"])
async def test_what_the_server_refused_is_known_to_be_undone(one: Database, how: str) -> None:
    """A full disk, said by the statement or by the one that goes with COMMIT: never "unknown"."""
    await one.run(
        lambda tx: tx.execute(
            "create function atlas.refuse() returns trigger language plpgsql as"
            " $$ begin raise exception using errcode = '53100'; end $$"
        )
    )
    await one.run(
        lambda tx: tx.execute(
            "create trigger refuse before insert on flags for each row execute function atlas.refuse()"
        )
    )
    with pytest.raises(Unavailable):
        await one.run(lambda tx: getattr(tx, how)(_PUT, name="test-full"))
    assert await one.run(names) == []


async def test_no_caller_is_told_unchanged_after_an_attempt_that_may_have_committed(
    one: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    endings: list[Exception] = [OutcomeUnknown("lost during COMMIT"), Unavailable("no session is let in")]

    def attempt(*_given: object) -> None:
        raise endings.pop(0)

    monkeypatch.setattr(one, "_attempt", attempt)

    @idempotent
    def anything(_tx: Transaction) -> None:
        raise AssertionError("never run")

    with pytest.raises(OutcomeUnknown):
        await one.run(anything)
    assert endings == []


async def test_the_end_of_an_iterator_ends_the_run_as_well(one: Database) -> None:
    def exhausted(tx: Transaction) -> object:
        return next(iter(names(tx)))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await one.run(exhausted)
    assert await one.run(names) == []
