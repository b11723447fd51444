"""Puts the watch over money (money_watch.sql) into a database of the tests."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from lib.db.connection import Connection, Timeouts
from tests.postings_by_hand import CASES

_ROWS = "insert into public.money_rows select * from jsonb_to_recordset(cast(:rows as jsonb)) as r (kind text, debit text, credit text)"


def _named(code: str) -> str:
    return "money" if code == "bank" or code.startswith("clearing:") else code


def install(url: str) -> None:
    """Compare at each COMMIT from now on."""
    rows = {(one.kind, _named(debit), _named(credit)) for one in CASES.values() for debit, credit, *_ in one.moved}
    with closing(Connection(url, application="watch", timeouts=Timeouts())) as connection:
        connection.simple(Path(__file__).with_suffix(".sql").read_text())
        listed = [dict(zip(("kind", "debit", "credit"), row, strict=True)) for row in sorted(rows)]
        connection.execute(_ROWS, {"rows": json.dumps(listed)})


def remove(url: str) -> None:
    """This database holds what no transaction of the shop could leave, or rows by the million."""
    with closing(Connection(url, application="watch", timeouts=Timeouts())) as connection:
        connection.simple(
            "drop trigger watch_wallet on ledger_accounts; drop trigger watch_entry on ledger_entries;"
            " drop function public.watch_wallet; drop function public.watch_entry; drop function public.money_name;"
            " drop table public.money_watch, public.money_rows"
        )


def knows_rows(url: str, *, knows: bool) -> None:
    """Whether each entry is to be a row of the posting table."""
    with closing(Connection(url, application="watch", timeouts=Timeouts())) as connection:
        connection.execute("update public.money_watch set knows_rows = :knows", {"knows": knows})
