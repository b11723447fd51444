"""Postgres: the only state. `Database.run` is the only way to it, `SweepLock` the only lock outside a transaction."""

from lib.db.database import Database, idempotent
from lib.db.errors import (
    Busy,
    DatabaseError,
    OutcomeUnknown,
    SchemaTooOld,
    StatementFailed,
    TooSlow,
    Unavailable,
)
from lib.db.query import Query
from lib.db.transaction import Transaction

__all__ = [
    "Busy",
    "Database",
    "DatabaseError",
    "OutcomeUnknown",
    "Query",
    "SchemaTooOld",
    "StatementFailed",
    "TooSlow",
    "Transaction",
    "Unavailable",
    "idempotent",
]
