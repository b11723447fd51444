"""Runs the named queries of `invariants.sql`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lib.db.connection import Connection, Timeouts

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_TIMEOUTS = Timeouts(statement_ms=120_000)
_MOST_KEYS = 10


@dataclass(frozen=True, slots=True)
class Violation:
    """A query that should have come back empty, with the keys of the first rows it found."""

    invariant: str
    keys: tuple[str, ...]


@cache
def queries() -> dict[str, str]:
    """Invariant name -> SQL."""
    parts = _NAME.split(Path(__file__).with_name("invariants.sql").read_text())
    return {name: sql.partition(";\n")[0].strip() for name, sql in zip(parts[1::2], parts[2::2], strict=True)}


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


def violations_in(connection: Connection) -> list[Violation]:
    """As `violations`, in a session that is open: what its own transaction has done is seen."""
    found = []
    for name, sql in queries().items():
        _, rows, _ = connection.execute(f"select * from ({sql}) violated limit {_MOST_KEYS}", {})  # noqa: S608 -- our own file
        if rows:
            found.append(Violation(name, tuple(str(row[0]) for row in rows)))
    return found
