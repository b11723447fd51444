"""Runs the named queries of `invariants.sql`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lib.db.connection import Connection, Timeouts

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_TIMEOUTS = Timeouts(statement_ms=120_000)


@dataclass(frozen=True, slots=True)
class Violation:
    """A query that should have come back empty, with the keys of the first rows it found."""

    invariant: str
    keys: tuple[str, ...]


@cache
def queries() -> dict[str, str]:
    """Invariant name -> SQL."""
    parts = _NAME.split(Path(__file__).with_name("invariants.sql").read_text())
    return {name: sql.strip().rstrip(";") for name, sql in zip(parts[1::2], parts[2::2], strict=True)}


def violations(url: str) -> list[Violation]:
    """Everything that is wrong now in the database at `url`; empty when all holds.

    Raises:
        lib.db.DatabaseError: Postgres can't be had, or a query is wrong.
    """
    connection = Connection(url, application="invariants", timeouts=_TIMEOUTS)
    try:
        found = []
        for name, sql in queries().items():
            _, rows, _ = connection.execute(sql, {})
            if rows:
                found.append(Violation(name, tuple(str(row[0]) for row in rows[:10])))
        return found
    finally:
        connection.close()
