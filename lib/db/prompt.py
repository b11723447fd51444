"""A small prompt for SQL, for machines without psql: one statement a line."""

from __future__ import annotations

import sys

import pg8000.exceptions
import pg8000.native

FAILED = 3
"""psql's own exit code when a script failed."""


def psql_options() -> tuple[str, ...]:
    """What psql is started with: statements that no person types end at the first that fails, and the exit code says so."""
    return () if sys.stdin.isatty() else ("--set=ON_ERROR_STOP=1",)


def run(session: pg8000.native.Connection, name: str = "atlas") -> int:
    """Read statements and print their rows until the input ends or Ctrl-C; without a terminal, until one fails.

    Returns:
        The exit code: 0, or 3 when a statement failed that no person typed.
    """
    _say("No psql on this machine: a small prompt instead. One statement a line, Ctrl-D to leave.")
    while True:
        try:
            line = input(f"{name}> ").strip()
        except (EOFError, KeyboardInterrupt):
            _say("")
            return 0
        if line and not _answer(session, line) and not sys.stdin.isatty():
            return FAILED


def _answer(session: pg8000.native.Connection, statement: str) -> bool:
    try:
        result = session.execute_simple(statement)
    except pg8000.exceptions.DatabaseError as error:
        details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        _say(f"error: {details.get('M', error)}")
        return False
    if result.columns:
        _say("\t".join(str(column["name"]) for column in result.columns))
        for row in result.rows or ():
            _say("\t".join("" if value is None else str(value) for value in row))
    _say(f"({result.row_count} rows)")
    return True


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
