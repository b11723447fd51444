"""A small prompt for SQL, for machines without psql: one statement a line."""

from __future__ import annotations

import sys

import pg8000.exceptions
import pg8000.native


def run(session: pg8000.native.Connection, name: str = "atlas") -> None:
    """Read statements and print their rows until the input ends or Ctrl-C."""
    _say("No psql on this machine: a small prompt instead. One statement a line, Ctrl-D to leave.")
    while True:
        try:
            line = input(f"{name}> ").strip()
        except (EOFError, KeyboardInterrupt):
            _say("")
            return
        if line:
            _answer(session, line)


def _answer(session: pg8000.native.Connection, statement: str) -> None:
    try:
        result = session.execute_simple(statement)
    except pg8000.exceptions.DatabaseError as error:
        details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        _say(f"error: {details.get('M', error)}")
        return
    if result.columns:
        _say("\t".join(str(column["name"]) for column in result.columns))
        for row in result.rows or ():
            _say("\t".join("" if value is None else str(value) for value in row))
    _say(f"({result.row_count} rows)")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
