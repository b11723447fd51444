"""The local system's database: the server, its roles, the schema, the clock, and the owner's view of it for people and tests."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lib.db.connection import Connection, Timeouts
from lib.db.invariants import violations
from lib.db.migrate import migrate
from lib.payments import registry
from sandbox.postgres.server import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lib.db.invariants import Violation
    from sandbox.state.home import Home

DATABASE = "atlas"
OWNER = "atlas_owner"
FUNCTIONS = "atlas_functions"
_TIMEOUTS = Timeouts(statement_ms=60_000, lock_ms=20_000, idle_in_transaction_ms=60_000)


def _newest(url: str) -> list[str]:
    return migrate(url, "local", providers=registry.providers("local"))


class LocalDatabase:
    """PostgreSQL below `home`, migrated as the owner; functions log in as a member of `atlas_app` and nothing more.

    Every method blocks. `functions_port` is where functions find it, when that is not the server itself
    (sandbox/postgres/link.py). `migrations` bring a database, by its URL, to the schema that is wanted: the newest.
    """

    def __init__(
        self,
        home: Home,
        *,
        durable: bool,
        functions_port: int | None = None,
        migrations: Callable[[str], list[str]] = _newest,
    ) -> None:
        self._migrations = migrations
        self._functions_port = functions_port
        # Not private: run by root, the server is another user, who must get through.
        self.server = Postgres(home.folder("postgres", private=False), port=home.port("postgres"), durable=durable)
        self._secrets = {role: home.secret(role) for role in (OWNER, FUNCTIONS)}

    @property
    def owner_url(self) -> str:
        """The role that migrates and may do anything: `MIGRATE_DATABASE_URL`."""
        return self._url(OWNER)

    @property
    def functions_url(self) -> str:
        """The role that functions have: `DATABASE_URL`."""
        return self._url(FUNCTIONS, self._functions_port)

    def start(self) -> list[str]:
        """Start the server and bring the schema to the newest; the migrations applied now.

        Raises:
            sandbox.postgres.server.PostgresError, lib.db.DatabaseError, lib.db.migrate.MigrationChanged
        """
        self.server.start()
        with self._session(self.server.url()) as session:
            self._make_role(session, OWNER, "login createrole")
            self._make_role(session, FUNCTIONS, "login")
            if not _rows(session, "select from pg_catalog.pg_database where datname = :name", name=DATABASE):
                session.simple(f"create database {DATABASE} owner {OWNER}")
        applied = self._migrations(self.owner_url)
        with self._session(self.server.url()) as session:
            session.simple(f"grant atlas_app to {FUNCTIONS}; grant pg_read_all_stats to atlas_readonly")
        return applied

    def stop(self) -> None:
        """Stop the server."""
        self.server.stop()

    def query(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run one statement as the owner; its rows by column name, empty when it gives none."""
        with self._session(self.owner_url) as session:
            return _rows(session, sql, **parameters)

    def offset(self) -> timedelta:
        """How far `atlas.now()` is ahead of the wall clock."""
        row = self.query("select cast(extract(epoch from clock_offset) as double precision) as ahead from deployment")
        return timedelta(seconds=row[0]["ahead"])

    def travel(self, by: timedelta) -> timedelta:
        """Move `atlas.now()` forward; how far it is ahead of the wall clock then."""
        row = self.query(
            "update deployment set clock_offset = clock_offset + make_interval(secs => :seconds)"
            " returning cast(extract(epoch from clock_offset) as double precision) as ahead",
            seconds=by.total_seconds(),
        )
        return timedelta(seconds=row[0]["ahead"])

    def invariants(self) -> list[Violation]:
        """What must never be, and is; empty when all holds."""
        return violations(self.owner_url)

    def _url(self, role: str, port: int | None = None) -> str:
        secret = quote(self._secrets[role], safe="")
        return f"postgresql://{role}:{secret}@127.0.0.1:{port or self.server.port}/{DATABASE}"

    def _make_role(self, session: Connection, role: str, options: str) -> None:
        known = _rows(session, "select from pg_catalog.pg_roles where rolname = :role", role=role)
        # The secret is made of letters, digits, - and _ (home.py), so it can stand in a literal.
        verb = "alter" if known else "create"
        session.simple(f"{verb} role {role} {options} password '{self._secrets[role]}'")

    @contextmanager
    def _session(self, url: str) -> Iterator[Connection]:
        session = Connection(url, application="sandbox", timeouts=_TIMEOUTS)
        try:
            yield session
        finally:
            session.close()


def _rows(session: Connection, sql: str, **parameters: Any) -> list[dict[str, Any]]:
    columns, rows, _ = session.execute(sql, parameters)
    return [dict(zip(columns, row, strict=True)) for row in rows]
