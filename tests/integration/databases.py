"""Databases for one test each, used again when that leaves no trace.

To copy the template and drop the copy takes longer than most tests. So a database that a test is done with is emptied and kept, unless
something of it can't be taken back by removing rows: any change of the schema or of its settings, sessions that do not end, much data.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import pg8000.native

from lib.db.connection import Connection, Timeouts
from lib.db.errors import DatabaseError
from lib.db.invariants import violations, violations_in

if TYPE_CHECKING:
    from lib.db.invariants import Violation
    from sandbox.postgres.server import Postgres

_GROWN_BYTES = 2_000_000  # what a test that fills tables leaves: its pages, its statistics, and plans made for them

_TIMEOUTS = Timeouts(statement_ms=120_000, lock_ms=5_000)

# Each row of a catalogue has the transaction that wrote it; DDL writes rows. Sequences move and statistics are kept elsewhere.
_SCHEMA = """
select count(*) || ' ' || sum(cast(hashtextextended(line, 0) as numeric)) from (
  select 'class ' || oid || ' ' || xmin as line from pg_class where relnamespace = 'atlas'::regnamespace
  union all select 'attribute ' || attrelid || ' ' || attnum || ' ' || xmin from pg_attribute
    where attrelid in (select oid from pg_class where relnamespace = 'atlas'::regnamespace)
  union all select 'constraint ' || oid || ' ' || xmin from pg_constraint where connamespace = 'atlas'::regnamespace
  union all select 'trigger ' || oid || ' ' || xmin from pg_trigger
    where tgrelid in (select oid from pg_class where relnamespace = 'atlas'::regnamespace)
  union all select 'function ' || oid || ' ' || xmin from pg_proc where pronamespace = 'atlas'::regnamespace
  union all select 'default ' || oid || ' ' || xmin from pg_attrdef
  union all select 'type ' || oid || ' ' || xmin from pg_type where typnamespace = 'atlas'::regnamespace
  union all select 'schema ' || oid || ' ' || xmin from pg_namespace
  union all select 'setting ' || setdatabase || ' ' || setrole || ' ' || xmin from pg_db_role_setting
    where setdatabase in (0, (select oid from pg_database where datname = current_database()))
  union all select 'other ' || oid from pg_class where relnamespace = 'public'::regnamespace
) as lines
"""
_BYTES = "select pg_database_size(current_database())"
_TABLES = "select relname from pg_class where relnamespace = 'atlas'::regnamespace and relkind = 'r' order by relname"
_RESTART_SEQUENCES = """
select setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
from pg_sequences where schemaname = 'atlas'
"""
_OTHER_SESSIONS = """
select coalesce(bool_and(pg_terminate_backend(pid, 5000)), true) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""


def _reset(tables: list[str], first: dict[str, str]) -> str:
    """One text that leaves of `tables` the rows of `first`: a round trip for each would take longer than most tests."""
    # Without triggers: foreign keys hold among all rows or none, and append-only tables must give way here.
    empty = [f"delete from atlas.{table}" for table in tables]  # noqa: S608 -- a name of ours
    fill = [
        f"insert into atlas.{table} overriding system value"  # noqa: S608 -- a name of ours
        f" select * from jsonb_populate_recordset(null::atlas.{table}, {pg8000.native.literal(rows)}::jsonb)"
        for table, rows in first.items()
    ]
    return "; ".join(
        ["begin", "set local session_replication_role = replica", *empty, *fill, _RESTART_SEQUENCES, "commit"]
    )


class _Kept:
    """A database at rest, with the session that empties it. It is opened before the test, since its own row would count as a change."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.name, self.url = name, server.url(name)
        self._session = Connection(self.url, application="tests-reset", timeouts=_TIMEOUTS)
        tables = [row[0] for row in self._session.execute(_TABLES, {})[1]]
        first = {
            table: json.dumps(rows)
            for table in tables
            if (rows := self._value(f"select jsonb_agg(to_jsonb(t)) from atlas.{table} as t")) is not None  # noqa: S608 -- a name of ours
        }
        self._reset = _reset(tables, first)
        self._schema, self._size = self._value(_SCHEMA), self._value(_BYTES)

    def emptied(self) -> bool:
        """Bring it back to what it was; False when that can't be done by removing rows."""
        try:
            if not self._value(_OTHER_SESSIONS) or self._value(_SCHEMA) != self._schema:
                return False
            if self._grown():
                return False
            self._session.simple(self._reset)
        except DatabaseError:
            return False  # another program of the test took its session, or a lock: the next test gets a new one
        return True

    def violations(self) -> list[Violation]:
        """What must never be, and is. By plans that were made once: to make them takes longer than most tests do.

        They were made for empty tables. So what has much data, and what a test changed the schema of, is judged in a session of its own.
        """
        # An error: another program of the test took the session, or changed what a plan was made for.
        with contextlib.suppress(DatabaseError):
            if not self._grown():
                return violations_in(self._session, together=True)
        return violations(self.url)

    def _grown(self) -> bool:
        return bool(self._value(_BYTES) > self._size + _GROWN_BYTES)

    def as_if_new(self) -> None:
        """Migrated a moment ago, however long the run goes on already: a shop's age is told by its migrations."""
        self._session.simple("update atlas.schema_migrations set applied_at = now()")

    def close(self) -> None:
        """End its session. A dead one has nothing to end."""
        self._session.close()

    def _value(self, statement: str) -> Any:
        return self._session.execute(statement, {})[1][0][0]


class Databases:
    """Fresh, migrated databases of one server, each a copy of `template` or one that was brought back to that."""

    def __init__(self, server: Postgres, template: str) -> None:
        self._server, self._template = server, template
        self._free: list[_Kept] = []
        self._lent: dict[str, _Kept] = {}
        self._numbers = itertools.count()

    def take(self) -> str:
        """The URL of one."""
        kept = self._free.pop() if self._free else self._make()
        self._lent[kept.url] = kept
        kept.as_if_new()
        return kept.url

    def violations(self, url: str) -> list[Violation]:
        """What must never be, and is, in one that was taken; empty when all holds."""
        return self._lent[url].violations()

    def give_back(self, url: str) -> None:
        """Keep it for the next test, or drop it."""
        kept = self._lent.pop(url)
        if kept.emptied():
            self._free.append(kept)
            return
        kept.close()
        self._server.drop_database(kept.name)

    def close(self) -> None:
        """End the sessions that wait for the next test."""
        for kept in (*self._free, *self._lent.values()):
            kept.close()

    def _make(self) -> _Kept:
        name = f"test_{next(self._numbers)}"
        self._server.create_database(name, template=self._template)
        return _Kept(self._server, name)
