"""Runs the named queries of `invariants.sql`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lib.db.connection import Connection, Timeouts

_NAME = re.compile(r"^-- name: (\w+)(?: by (\w+)| (hourly))?$", re.MULTILINE)
_FOR_KEYS = "--only "
_TIMEOUTS = Timeouts(statement_ms=120_000)
_MOST_KEYS = 10


@dataclass(frozen=True, slots=True)
class Violation:
    """A query that should have come back empty, with the keys of the first rows it found."""

    invariant: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One named query.

    Attributes:
        by: what kind of thing its keys are, where it may be asked for some of them; None: only for all.
        hourly: asked for all it is cheap as well.
    """

    name: str
    sql: str
    by: str | None
    hourly: bool

    def asked(self, *, by_keys: bool) -> str:
        """The statement that returns the first of its keys that are violated, as text; with `by_keys`, of those in `:keys`."""
        if not by_keys:
            return f"select cast(key as text) from ({self.sql}) violated (key) limit {_MOST_KEYS}"  # noqa: S608 -- our own file
        if self.by is None:
            raise ValueError(f"{self.name} is asked for all only")
        sql = self.sql.replace(_FOR_KEYS, "")
        among = "key = any(cast(:keys as bigint[]))"
        return f"select cast(key as text) from ({sql}) violated (key) where {among} limit {_MOST_KEYS}"  # noqa: S608 -- as above


@cache
def declared() -> dict[str, Invariant]:
    """All of them, by name, in the order of the file."""
    parts = _NAME.split(Path(__file__).with_name("invariants.sql").read_text())
    return {
        name: Invariant(name, sql.partition(";\n")[0].strip(), by, hourly is not None)
        for name, by, hourly, sql in zip(parts[1::4], parts[2::4], parts[3::4], parts[4::4], strict=True)
    }


@cache
def queries() -> dict[str, str]:
    """Invariant name -> SQL."""
    return {name: one.sql for name, one in declared().items()}


def violations(url: str) -> list[Violation]:
    """Everything that is wrong now in the database at `url`; empty when all holds.

    Raises:
        lib.db.DatabaseError: Postgres can't be had, or a query is wrong.
    """
    connection = Connection(url, application="invariants", timeouts=_TIMEOUTS)
    try:
        return violations_in(connection)
    finally:
        connection.close()


def violations_in(connection: Connection, *, together: bool = False) -> list[Violation]:
    """As `violations`, in a session that is open: what its own transaction has done is seen.

    Args:
        connection: the session.
        together: all in one round trip, where no limit on the whole has to be kept between two of them.
    """
    statements = [
        (f"select * from ({sql}) violated limit {_MOST_KEYS}", dict[str, Any]())  # noqa: S608 -- our own file
        for sql in queries().values()
    ]
    answers = connection.execute_together(*statements) if together else (connection.execute(*one) for one in statements)
    return [
        Violation(name, tuple(str(row[0]) for row in rows))
        for name, (_, rows, _) in zip(queries(), answers, strict=True)
        if rows
    ]
