"""What survives a restart of the sandbox: invoices, the merchant's balance, webhooks not yet delivered."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sandbox.cryptopay.invoices import Invoice

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS invoices (invoice_id INTEGER PRIMARY KEY, fields TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deleted (invoice_id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS webhooks (
    number INTEGER PRIMARY KEY, invoice_id INTEGER NOT NULL, attempt INTEGER NOT NULL, due REAL NOT NULL
);
"""


@dataclass(slots=True)
class Pending:
    """A webhook on its way: its next attempt, counted from 1, and when that is due."""

    number: int
    invoice_id: int
    attempt: int
    due: datetime


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

    def pending(self) -> list[Pending]:
        """Webhooks not yet delivered."""
        rows: list[tuple[Any, ...]] = self._db.execute(
            "SELECT number, invoice_id, attempt, due FROM webhooks"
        ).fetchall()
        return [
            Pending(int(number), int(invoice_id), int(attempt), datetime.fromtimestamp(due, UTC))
            for number, invoice_id, attempt, due in rows
        ]

    def keep(self, pending: Pending) -> None:
        """Insert or replace a webhook on its way."""
        self._db.execute(
            "INSERT OR REPLACE INTO webhooks VALUES (?, ?, ?, ?)",
            (pending.number, pending.invoice_id, pending.attempt, pending.due.timestamp()),
        )

    def drop(self, pending: Pending) -> None:
        """It arrived, or is given up."""
        self._db.execute("DELETE FROM webhooks WHERE number = ?", (pending.number,))


def balances(invoices: dict[int, Invoice]) -> dict[str, Decimal]:
    """What was paid less the fees, by asset."""
    total: dict[str, Decimal] = {}
    for invoice in invoices.values():
        if invoice.status == "paid":
            asset = invoice.fields["paid_asset"]
            net = Decimal(invoice.fields["paid_amount"]) - Decimal(invoice.fields["fee_amount"])
            total[asset] = total.get(asset, Decimal(0)) + net
    return total
