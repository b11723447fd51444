"""The chain of the audit log: it links itself, and names what was changed, removed or put in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.db import Database
from lib.db.connection import Connection, Timeouts
from lib.db.errors import StatementFailed
from lib.domain import audit
from lib.domain.audit import Broken, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lib.db import Transaction

    Damage = Callable[..., list[Broken]]

LAST = 6
CHANGES = (
    "update audit_log set created_at = created_at + interval '1 microsecond' where id = :row",
    "update audit_log set actor = coalesce(actor, 0) + 1 where id = :row",
    "update audit_log set action = action || '_too' where id = :row",
    "update audit_log set subject_kind = 'order' where id = :row",
    "update audit_log set subject_key = subject_key || '0' where id = :row",
    """update audit_log set before = coalesce(before, '{}') || '{"amount": 1}' where id = :row""",
    "update audit_log set after = null where id = :row",
    "update audit_log set correlation_id = correlation_id || 'x' where id = :row",
    "update audit_log set previous_hash = sha256('other') where id = :row",
    "update audit_log set hash = sha256('other') where id = :row",
    # together with its hash
    """with forged as (
        select audit_hash(cast(row(a.id, a.created_at, a.actor, 'refund.made', a.subject_kind, a.subject_key, a.before,
                                   a.after, a.correlation_id, a.previous_hash, a.hash) as audit_log)) as hash
        from audit_log a where id = :row)
    update audit_log set action = 'refund.made', hash = forged.hash from forged where id = :row""",
)


class Undone(Exception):
    """Ends a transaction whose damage is not to be kept."""


def write(tx: Transaction, number: int) -> None:
    before = None if number == 1 else {"role": "support", "limit": number / 3}
    audit.record(
        tx,
        None if number % 3 == 0 else 100 + number,
        "role.granted",
        Subject("operator", str(number)),
        before=before,
        after={"role": "Поддержка 🎁"},
        correlation_id=f"c-{number}",
    )


@pytest.fixture
def chain(database_url: str) -> Iterator[Damage]:
    """Six rows; called with damage done as the owner, it says what `verify` finds, and the damage is undone."""
    database = Database(database_url, connections=1, application="chain", guards=False)

    async def fill() -> None:
        for number in range(1, LAST + 1):
            await database.run(write, number)

    async def judge(damage: str, parameters: dict[str, object]) -> list[Broken]:
        found: list[Broken] = []

        def damaged(tx: Transaction) -> None:
            tx.execute(damage, **parameters)
            found.extend(audit.verify(tx))
            raise Undone

        with pytest.raises(Undone):
            await database.run(damaged)
        return found

    with asyncio.Runner() as runner:
        runner.run(fill())
        yield lambda damage, **parameters: runner.run(judge(damage, parameters))
        runner.run(database.close())


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_row_is_named(chain: Damage, change: str) -> None:
    for row in range(1, LAST + 1):
        assert chain(change, row=row) == [Broken(row, "changed")]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.sets(st.integers(1, LAST), min_size=1))
def test_removed_rows_are_named(chain: Damage, rows: set[int]) -> None:
    found = chain("delete from audit_log where id = any(cast(:rows as bigint[]))", rows=sorted(rows))
    assert found == [Broken(row, "removed") for row in sorted(rows)]


@pytest.mark.parametrize("number", [-1, 0, LAST + 1, LAST + 9])
def test_a_row_put_in_is_named(chain: Damage, number: int) -> None:
    # around the trigger: a row is moved to where none belongs, and the place it came from is empty
    found = chain("update audit_log set id = :number where id = 3", number=number)
    assert found == sorted([Broken(number, "inserted"), Broken(3, "removed")], key=lambda broken: broken.id)


def test_a_whole_chain_has_nothing_to_name(chain: Damage) -> None:
    assert chain("select 1") == []


async def test_the_chain_reads_the_same_in_every_session(database_url: str, db: Database) -> None:
    await db.run(write, 1)
    await db.run(write, 2)
    connection = Connection(database_url, application="other", timeouts=Timeouts())
    connection.simple("set timezone = 'Asia/Kolkata'")
    connection.simple("set datestyle = 'SQL, DMY'")
    connection.simple("set extra_float_digits = -5")
    _, rows, _ = connection.execute("select bool_and(audit_hash(a) = a.hash), count(*) from audit_log a", {})
    connection.close()
    assert rows == [[True, 2]]


async def test_operators_at_the_same_moment_make_one_chain(racing_db: Database) -> None:
    await asyncio.gather(*(racing_db.run(write, number) for number in range(1, 25)))
    assert await racing_db.run(audit.verify) == []
    ids = await racing_db.run(lambda tx: tx.values("select id from audit_log order by id"))
    assert ids == list(range(1, 25))


async def test_an_action_that_is_rolled_back_leaves_no_gap(db: Database) -> None:
    await db.run(write, 1)

    def failing(tx: Transaction) -> None:
        write(tx, 2)
        raise Undone

    with pytest.raises(Undone):
        await db.run(failing)
    await db.run(write, 3)
    assert await db.run(audit.verify) == []
    assert await db.run(lambda tx: tx.values("select id from audit_log order by id")) == [1, 2]


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_log set action = 'other'",
        "delete from audit_log",
        "truncate audit_log",
        "update audit_head set last_id = 0",
        "delete from audit_head",
        "insert into audit_head (last_id, last_hash) values (0, sha256(''))",
        "alter table audit_log disable trigger audit_link",
        "update consents set accepted = true",
    ],
)
async def test_functions_can_add_to_the_chain_and_change_nothing_of_it(db: Database, statement: str) -> None:
    def as_function(tx: Transaction, then: str) -> None:
        tx.execute("set local role atlas_app")
        write(tx, 1)
        tx.execute(then)

    with pytest.raises(StatementFailed) as refused:
        await db.run(as_function, statement)
    assert refused.value.code == "42501"
    await db.run(as_function, "select 1")
    assert await db.run(audit.verify) == []
