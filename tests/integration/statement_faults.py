"""A transaction function with a fault at each of its statements in turn: all of it happens, or nothing (S4-2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from lib.db import Database, StatementFailed
from lib.db.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

T = TypeVar("T")

_TABLES = "select relname from pg_class where relnamespace = 'atlas'::regnamespace and relkind = 'r' order by relname"
_DIGEST = "select coalesce(md5(string_agg(cast(t as text), '|' order by cast(t as text))), '') from {table} t"
_MOST_STATEMENTS = 100
_BROKEN = "select 1 / 0"


class Fault(Exception):
    """What the statement's place was taken by: the process is as good as dead."""


class _Faulty(Transaction):
    """The transaction of `tx`, whose statement number `at` does not happen.

    Args:
        tx: as `Database.run` gives it.
        at: from 1; the one after the last stands for COMMIT.
        refused: the database refuses the statement, so that the function may catch it; else nothing of it goes on.
    """

    def __init__(self, tx: Transaction, at: int, *, refused: bool) -> None:
        super().__init__(tx._connection, tx._cancelled, tx.name)
        self._at, self._refused = at, refused
        self.sent = 0
        self.broken = ""

    def _send(self, sql: str, how: Callable[[], T]) -> T:
        self.sent += 1
        if self.sent != self._at:
            return super()._send(sql, how)
        self.broken = sql
        if self._refused:
            return super()._send(sql, lambda: self._connection.execute(_BROKEN, {}))  # type: ignore[return-value] # it raises
        raise Fault(sql)


def everything(tx: Transaction) -> dict[str, str]:
    """All rows of all tables, as one digest a table."""
    return {table: tx.value(_DIGEST.format(table=table)) for table in tx.values(_TABLES)}


async def all_or_nothing(
    url: str, function: Callable[..., T], *arguments: Any, refusals: bool = True, lives_without: Collection[str] = ()
) -> T:
    """Run `function(tx, ...)` with a fault at each statement in turn, and at COMMIT; then without.

    After each fault every table is as it was. `refusals`: also with each statement refused by the database, which a function that
    keeps what it can't do may survive. `lives_without`: statements whose refusal it survives: what it does then is another test's.

    Returns:
        What the function returned in the end.
    """
    db = Database(url, connections=1, application="faults", guards=False)
    try:
        before = await db.run(everything)
        for at in range(1, _MOST_STATEMENTS):
            sent = 0
            for refused in (False, True) if refusals else (False,):
                sent = await _broken(db, function, arguments, at, lives_without, refused=refused)
                assert await db.run(everything) == before, f"statement {at} left something behind"
            if sent < at:
                break
        else:
            raise AssertionError(f"more than {_MOST_STATEMENTS} statements")
        return await db.run(lambda tx: function(tx, *arguments))
    finally:
        await db.close()


async def _broken(
    db: Database,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    at: int,
    lives_without: Collection[str],
    *,
    refused: bool,
) -> int:
    """How many statements came until the fault."""
    sent = 0

    def run(tx: Transaction) -> None:
        nonlocal sent
        faulty = _Faulty(tx, at, refused=refused)
        try:
            function(faulty, *arguments)
        finally:
            sent = faulty.sent
        if sent < at:
            raise Fault("COMMIT")
        if refused and faulty.broken in lives_without:
            raise Fault("survived")
        raise AssertionError(f"went on after statement {at} was refused")

    try:
        await db.run(run)
    except (Fault, StatementFailed):
        return sent
    raise AssertionError("a fault that was not noticed")
