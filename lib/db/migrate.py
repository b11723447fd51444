"""Forward-only SQL migrations, applied under a lock: `python -m lib.db.migrate` (that is `make migrate`).

Each file of `migrations/NNNN_name.sql` runs once, in one transaction with its row in `schema_migrations`. Migrations
must be safe while the previous code still runs: add first, remove in a later release.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

from lib.db.connection import Connection, Timeouts
from lib.db.errors import DatabaseError

_FOLDER = Path(__file__).parent / "migrations"
_FILE = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_LOCK = "select pg_advisory_lock(7300, 1)"
_TIMEOUTS = Timeouts(statement_ms=600_000, lock_ms=5_000, idle_in_transaction_ms=600_000)

_PREPARE = """
create schema if not exists atlas;
create table if not exists atlas.schema_migrations (
    number integer primary key,
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default pg_catalog.now() -- before atlas.now() exists
);
"""


_ENVIRONMENTS = ("local", "dev", "prod")
# What people meet most, in words instead of codes.
_WORDS = {
    "3D000": "there is no such database (create it first)",
    "28P01": "wrong user or password",
    "42501": "this user may not create the schema",
    "57P03": "Postgres is starting or stopping; try again",
    "InterfaceError": "nobody answers there",
    "ConnectionRefusedError": "nobody answers there",
}


class MigrationChanged(Exception):
    """A migration that this database has applied was edited afterwards; migrations are forward-only."""


def migrate(url: str, environment: str) -> list[str]:
    """Bring the database at `url` to the newest schema; a second run changes nothing.

    Args:
        url: of a role that may create the schema.
        environment: `local`, `dev` or `prod`; written on the first run, checked on the others.

    Returns:
        The names of the files applied now.

    Raises:
        MigrationChanged: a file differs from what was applied.
        ValueError: the database belongs to another environment.
        lib.db.DatabaseError: Postgres refused or can't be reached.
    """
    connection = Connection(url, application="migrate", timeouts=_TIMEOUTS)
    try:
        connection.execute(_LOCK, {})
        connection.simple(_PREPARE)
        _, rows, _ = connection.execute("select number, sha256 from schema_migrations", {})
        applied = {int(number): str(digest) for number, digest in rows}
        done = [path.name for path in _files() if _apply(connection, path, applied)]
        connection.simple((_FOLDER / "roles.sql").read_text())
        _claim_environment(connection, environment)
        return done
    finally:
        connection.close()


def _files() -> list[Path]:
    return sorted(path for path in _FOLDER.iterdir() if _FILE.match(path.name))


def _apply(connection: Connection, path: Path, applied: dict[int, str]) -> bool:
    number = int(path.name[:4])
    sql = path.read_text()
    digest = hashlib.sha256(sql.encode()).hexdigest()
    if number in applied:
        if applied[number] != digest:
            raise MigrationChanged(f"{path.name} was changed after it had been applied")
        return False
    connection.begin()
    try:
        connection.simple(sql)
        connection.execute(
            "insert into schema_migrations (number, name, sha256) values (:number, :name, :digest)",
            {"number": number, "name": path.name, "digest": digest},
        )
        connection.commit("migrate.in-commit")
    except DatabaseError:
        connection.close()
        raise
    return True


def _claim_environment(connection: Connection, environment: str) -> None:
    connection.execute(
        "insert into deployment (environment) values (:environment) on conflict (only_row) do nothing",
        {"environment": environment},
    )
    _, rows, _ = connection.execute("select environment from deployment", {})
    if rows[0][0] != environment:
        raise ValueError(f"this database belongs to environment {rows[0][0]!r}, not {environment!r}")


def main() -> int:
    """`make migrate`: 0 when the database is at the newest schema, 1 and a sentence when not."""
    url = os.environ.get("MIGRATE_DATABASE_URL") or os.environ.get("DATABASE_URL")
    if not url:
        sys.stderr.write("migrate: set MIGRATE_DATABASE_URL or DATABASE_URL\n")
        return 1
    environment = os.environ.get("ENVIRONMENT") or "prod"
    if environment not in _ENVIRONMENTS:
        sys.stderr.write(f"migrate: ENVIRONMENT must be one of {', '.join(_ENVIRONMENTS)}\n")
        return 1
    try:
        done = migrate(url, environment)
    except (DatabaseError, MigrationChanged, ValueError) as error:
        words = next((words for code, words in _WORDS.items() if code in str(error)), "")
        server = urlsplit(url)
        where = f"{server.hostname or 'socket'}:{server.port or 5432}{server.path}"
        sys.stderr.write(f"migrate: {where}: {words or error}\n")
        return 1
    sys.stdout.write(f"migrate: {', '.join(done) if done else 'nothing to do'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
