"""What survives a restart of the sandbox: invoices and who paid them, transfers, checks, webhooks on their way, switches."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sandbox.cryptopay.invoices import Invoice

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS invoices (invoice_id INTEGER PRIMARY KEY, fields TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deleted (invoice_id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS payments (invoice_id INTEGER PRIMARY KEY, payer INTEGER NOT NULL, silent INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS things (
    kind TEXT NOT NULL, number INTEGER NOT NULL, fields TEXT, PRIMARY KEY (kind, number)
);
CREATE TABLE IF NOT EXISTS webhooks (
    number INTEGER PRIMARY KEY, invoice_id INTEGER NOT NULL, attempt INTEGER NOT NULL, due REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS held (number INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS switches (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(slots=True)
class Pending:
    """A webhook on its way: its next attempt, counted from 1, and when that is due; `held` ones wait for a release."""

    number: int
    invoice_id: int
    attempt: int
    due: datetime
    held: bool = False


@dataclass(slots=True)
class Payment:
    """Who paid an invoice (a Telegram id), and whether its webhook was to stay away."""

    payer: int
    silent: bool


class Store:
    """SQLite, written through; in memory when there is no path."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")  # a commit survives a kill of this process, which is enough here
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- invoices ------------------------------------------------------------------------------------------------------

    def invoices(self) -> dict[int, Invoice]:
        """All that were not deleted."""
        rows = self._db.execute("SELECT invoice_id, fields FROM invoices ORDER BY invoice_id")
        return {number: Invoice(number, json.loads(fields)) for number, fields in rows}

    def last_id(self) -> int:
        """The highest id ever given, 0 when none was."""
        found = self._db.execute(
            "SELECT max(invoice_id) FROM (SELECT invoice_id FROM invoices UNION ALL SELECT invoice_id FROM deleted)"
        ).fetchone()[0]
        return int(found or 0)

    def save(self, invoice: Invoice) -> None:
        """Insert or replace."""
        self._db.execute(
            "INSERT OR REPLACE INTO invoices VALUES (?, ?)", (invoice.invoice_id, json.dumps(invoice.fields))
        )

    def delete(self, invoice_id: int) -> None:
        """Remove an invoice; its id is not used again."""
        self._db.execute("DELETE FROM invoices WHERE invoice_id = ?", (invoice_id,))
        self._db.execute("INSERT OR IGNORE INTO deleted VALUES (?)", (invoice_id,))

    def payments(self) -> dict[int, Payment]:
        """Who paid, by invoice id."""
        rows = self._db.execute("SELECT invoice_id, payer, silent FROM payments")
        return {number: Payment(payer, bool(silent)) for number, payer, silent in rows}

    def keep_payment(self, invoice_id: int, payment: Payment) -> None:
        """Who paid an invoice."""
        self._db.execute(
            "INSERT OR REPLACE INTO payments VALUES (?, ?, ?)", (invoice_id, payment.payer, payment.silent)
        )

    # -- transfers and checks ------------------------------------------------------------------------------------------

    def things(self, kind: str) -> dict[int, dict[str, Any]]:
        """All of a kind ("transfer", "check") that were not deleted, by number."""
        rows = self._db.execute("SELECT number, fields FROM things WHERE kind = ? AND fields IS NOT NULL", (kind,))
        return {number: json.loads(fields) for number, fields in rows}

    def last_number(self, kind: str) -> int:
        """The highest number of a kind ever given, 0 when none was."""
        found = self._db.execute("SELECT max(number) FROM things WHERE kind = ?", (kind,)).fetchone()[0]
        return int(found or 0)

    def keep_thing(self, kind: str, number: int, fields: dict[str, Any]) -> None:
        """Insert or replace."""
        self._db.execute("INSERT OR REPLACE INTO things VALUES (?, ?, ?)", (kind, number, json.dumps(fields)))

    def drop_thing(self, kind: str, number: int) -> None:
        """Remove one; its number is not used again."""
        self._db.execute("UPDATE things SET fields = NULL WHERE kind = ? AND number = ?", (kind, number))

    # -- webhooks ------------------------------------------------------------------------------------------------------

    def pending(self) -> list[Pending]:
        """Webhooks not yet delivered."""
        rows: list[tuple[Any, ...]] = self._db.execute(
            "SELECT number, invoice_id, attempt, due, number IN (SELECT number FROM held) FROM webhooks ORDER BY number"
        ).fetchall()
        return [
            Pending(int(number), int(invoice_id), int(attempt), datetime.fromtimestamp(due, UTC), bool(held))
            for number, invoice_id, attempt, due, held in rows
        ]

    def keep(self, pending: Pending) -> None:
        """Insert or replace a webhook on its way."""
        change = "INSERT OR IGNORE INTO held VALUES (?)" if pending.held else "DELETE FROM held WHERE number = ?"
        self._db.execute(change, (pending.number,))
        self._db.execute(
            "INSERT OR REPLACE INTO webhooks VALUES (?, ?, ?, ?)",
            (pending.number, pending.invoice_id, pending.attempt, pending.due.timestamp()),
        )

    def drop(self, pending: Pending) -> None:
        """It arrived, or is given up."""
        self._db.execute("DELETE FROM webhooks WHERE number = ?", (pending.number,))
        self._db.execute("DELETE FROM held WHERE number = ?", (pending.number,))

    # -- switches ------------------------------------------------------------------------------------------------------

    def switch(self, name: str) -> Any:
        """What was kept under a name, None when nothing was."""
        found = self._db.execute("SELECT value FROM switches WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def turn(self, name: str, value: Any) -> None:
        """Keep a value under a name."""
        self._db.execute("INSERT OR REPLACE INTO switches VALUES (?, ?)", (name, json.dumps(value)))
