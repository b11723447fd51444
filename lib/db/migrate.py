"""Forward-only SQL migrations, applied under a lock (`make migrate` is lib/migrate.py).

A file of `migrations/` is `NNNN_pre_name.sql` or `NNNN_post_name.sql` and runs once, in one transaction with its row in
`schema_migrations`. A pre file runs before the code that needs it and must be safe while the code before still runs: it adds. A
post file takes away what only the code before needed, and runs once no instance of that is left.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lib import currencies
from lib.db.connection import Connection, Timeouts
from lib.db.errors import DatabaseError, TooSlow

_FOLDER = Path(__file__).parent / "migrations"
_FILE = re.compile(r"^(\d{4})_(pre|post)_[a-z0-9_]+\.sql$")
_LOCK = "select pg_advisory_lock(7300, 1)"
_OLDEST_SERVER = 15
_WAIT_S = 600
_TIMEOUTS = Timeouts(statement_ms=_WAIT_S * 1000, lock_ms=0, idle_in_transaction_ms=_WAIT_S * 1000)
# Statements on tables wait shortly for their users; the wait for another migration is bounded by the statement's time alone.
_LOCK_TIMEOUT = "set lock_timeout = '5s'"
LOCAL = "local"

_PREPARE = """
create schema if not exists atlas;
create table if not exists atlas.schema_migrations (
    number integer primary key,
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default pg_catalog.now() -- before atlas.now() exists
);
"""
_CLAIM = """
insert into deployment (environment, books_zone, books_currency) values (:environment, :zone, :currency)
on conflict (only_row) do nothing
"""

# What the books hold already fixes the digits: another number would change what every amount means.
_LIST_CURRENCIES = """
with listed as (
    select * from jsonb_to_recordset(cast(:listed as jsonb)) as l (code text, exponent smallint, price_exponent smallint)
), added as (
    insert into currencies (code, exponent, price_exponent) select code, exponent, price_exponent from listed
    on conflict (code) do nothing
)
select c.code from currencies c join listed l on l.code = c.code
where (c.exponent, c.price_exponent) <> (l.exponent, l.price_exponent) order by c.code
"""

Kind = Literal["pre", "post"]
BOTH: frozenset[Kind] = frozenset({"pre", "post"})


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    number: int
    kind: Kind
    path: Path


class MigrationChanged(Exception):
    """A migration that this database has applied was edited afterwards; migrations are forward-only."""


class MigrationOutOfOrder(Exception):
    """A pre file would run before a post file of an earlier release."""


class UnfitDatabase(Exception):
    """This server or database can't hold Atlas; the text says why."""


def migrate(
    url: str,
    environment: str,
    *,
    kinds: frozenset[Kind] = BOTH,
    zone: str = "Europe/Moscow",
    currency: str = "RUB",
    folder: Path = _FOLDER,
) -> list[str]:
    """Bring the database at `url` to the newest schema; a second run changes nothing, a concurrent one waits for the first.

    Args:
        url: of a role that may create the schema.
        environment: `local`, `dev` or `prod`; written on the first run, checked on the others.
        kinds: which files: a deploy runs `pre` before the new code and `post` once the old code has no traffic.
        zone: whose days and months the books are closed by; written on the first run, never changed.
        currency: of the price list; written on the first run, checked on the others.
        folder: of the files; roles and the clock are Atlas's own.

    Returns:
        The names of the files applied now.

    Raises:
        MigrationChanged, MigrationOutOfOrder, UnfitDatabase: nothing was applied.
        ValueError: the database belongs to another environment, its books are kept in another currency, or with other digits.
        lib.db.DatabaseError: Postgres refused or can't be reached, or another migration ran for ten minutes.
    """
    if currency not in currencies.ALL:
        raise ValueError(f"the books can't be kept in unknown currency {currency!r}")
    connection = Connection(url, application="migrate", timeouts=_TIMEOUTS)
    try:
        _assert_fit(connection)
        _queue_up(connection)
        connection.simple(_PREPARE)
        _, rows, _ = connection.execute("select number, sha256 from schema_migrations", {})
        applied = {int(number): str(digest) for number, digest in rows}
        waiting = _waiting(_files(folder), applied)
        _assert_order(waiting, kinds)
        done = [_apply(connection, one) for one in waiting if one.kind in kinds]
        connection.simple((_FOLDER / "roles.sql").read_text())
        _list_currencies(connection)
        _claim_environment(connection, environment, zone, currency)
        if environment != LOCAL:
            connection.simple((_FOLDER / "clock.sql").read_text())
        return done
    finally:
        connection.close()


def _assert_fit(connection: Connection) -> None:
    if connection.server_version < _OLDEST_SERVER:
        raise UnfitDatabase(f"PostgreSQL {connection.server_version} is too old; {_OLDEST_SERVER} or newer is needed")
    _, rows, _ = connection.execute("select pg_catalog.current_setting('server_encoding')", {})
    if rows[0][0] != "UTF8":
        raise UnfitDatabase(f"the database's encoding is {rows[0][0]}; create it with encoding UTF8")


def _queue_up(connection: Connection) -> None:
    try:
        connection.execute(_LOCK, {})
    except TooSlow:
        raise UnfitDatabase(
            f"another migration has been running for {_WAIT_S // 60} minutes; look at it first"
        ) from None
    connection.simple(_LOCK_TIMEOUT)


def _files(folder: Path) -> list[Migration]:
    found = [(path, _FILE.match(path.name)) for path in sorted(folder.iterdir())]
    return [
        Migration(int(match[1]), "pre" if match[2] == "pre" else "post", path)
        for path, match in found
        if match is not None
    ]


def _waiting(files: list[Migration], applied: dict[int, str]) -> list[Migration]:
    waiting = []
    for one in files:
        digest = applied.get(one.number)
        if digest is None:
            waiting.append(one)
        elif digest != _digest(one.path.read_text()):
            raise MigrationChanged(
                f"{one.path.name} was changed after it had been applied: a change needs a new file"
                " (a local database that may go: `make reset`)"
            )
    return waiting


def _assert_order(waiting: list[Migration], kinds: frozenset[Kind]) -> None:
    for one in waiting:
        earlier = [other.path.name for other in waiting if other.number < one.number and other.kind not in kinds]
        if one.kind in kinds and earlier:
            raise MigrationOutOfOrder(f"{earlier[0]} comes before {one.path.name} and is not applied: run it first")


def _digest(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()


def _apply(connection: Connection, migration: Migration) -> str:
    sql = migration.path.read_text()
    connection.begin()
    try:
        connection.simple(sql)
        connection.execute(
            "insert into schema_migrations (number, name, sha256) values (:number, :name, :digest)",
            {"number": migration.number, "name": migration.path.name, "digest": _digest(sql)},
        )
        connection.commit("migrate.in-commit")
    except DatabaseError:
        connection.close()
        raise
    return migration.path.name


def _list_currencies(connection: Connection) -> None:
    listed = [
        {"code": one.code, "exponent": one.digits, "price_exponent": one.price_digits}
        for one in currencies.ALL.values()
    ]
    _, rows, _ = connection.execute(_LIST_CURRENCIES, {"listed": json.dumps(listed)})
    if rows:
        raise ValueError(
            f"this database keeps other digits than lib/currencies.py: {', '.join(row[0] for row in rows)}"
        )


def _claim_environment(connection: Connection, environment: str, zone: str, currency: str) -> None:
    connection.execute(_CLAIM, {"environment": environment, "zone": zone, "currency": currency})
    _, rows, _ = connection.execute("select environment, books_currency from deployment", {})
    held, books = rows[0]
    if held != environment:
        raise ValueError(f"this database belongs to environment {held!r}, not {environment!r}")
    if books != currency:
        raise ValueError(f"this database keeps its books in {books}, and the price list's currency is {currency}")
