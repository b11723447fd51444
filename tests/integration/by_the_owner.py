"""Steps of a test that the functions' login, which it runs the code by, may not take itself."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lib.db.connection import Connection, Timeouts

if TYPE_CHECKING:
    from lib.db import Transaction

_LIMIT = "select set_config('statement_timeout', :limit, true)"


def install(url: str) -> None:
    """Let tests do so in this database."""
    with closing(Connection(url, application="owner", timeouts=Timeouts())) as connection:
        connection.simple(Path(__file__).with_suffix(".sql").read_text())


def by_the_owner(tx: Transaction, sql: str) -> None:
    """Run a statement with all rights, in this transaction; it has no parameters.

    It may last as long as it must, for it makes what a test begins with: the functions' limit is for their own statements.
    """
    limit = tx.value("select current_setting('statement_timeout')")
    tx.execute(_LIMIT, limit="0")
    tx.execute("select public.by_the_owner(:statement)", statement=sql)
    tx.execute(_LIMIT, limit=limit)


def travel(tx: Transaction, by: timedelta) -> None:
    """Time passes."""
    by_the_owner(
        tx,
        f"update deployment set clock_offset = clock_offset + interval '{by / timedelta(microseconds=1):.0f} microseconds'",  # noqa: S608 -- a number
    )
