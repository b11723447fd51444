"""Forward-only SQL migrations, applied under a lock (`make migrate` is lib/migrate.py).

A file of `migrations/` is `NNNN_pre_name.sql` or `NNNN_post_name.sql` and runs once, in one transaction with its row in
`schema_migrations`: one that fails leaves what it found. A pre file runs before the code that needs it and must be safe while the
code before still runs: it adds. A post file takes away what only the code before needed, and runs once no instance of that is
left: the deploy knows when. Code that is put back finds files it does not know and leaves the database as it is.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lib import currencies
from lib.db import schema
from lib.db.connection import Connection, Timeouts
from lib.db.errors import DatabaseError, OutcomeUnknown, TooSlow

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

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

# Who takes money here, and where it lies meanwhile; who once did stays, with all that was booked.
_LIST_PROVIDERS = """
with listed as (
    select name, 'clearing:' || name as clearing from unnest(cast(:names as text[])) as names (name)
    where name not in (select p.name from providers p)
), chart as (
    insert into ledger_codes (code, type) select clearing, 'asset' from listed on conflict (code) do nothing
)
insert into providers (name, clearing) select name, clearing from listed
"""

# Whatever the functions' login may do beyond atlas_app; roles.sql has taken away what the owner may take away.
_BEYOND = """
with login as (select * from pg_catalog.pg_roles where rolname = 'atlas_functions' and rolname <> current_user)
select 'SUPERUSER' from login where rolsuper
union all select 'CREATEROLE' from login where rolcreaterole
union all select 'CREATEDB' from login where rolcreatedb
union all select 'REPLICATION' from login where rolreplication
union all select 'BYPASSRLS' from login where rolbypassrls
union all select 'member of ' || given.rolname
    from login
    join pg_catalog.pg_auth_members m on m.member = login.oid
    join pg_catalog.pg_roles given on given.oid = m.roleid
    where given.rolname <> 'atlas_app'
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
    """Files would not run in the order of their numbers; the text names them."""


class MigrationFailed(Exception):
    """Postgres refused a file, which was undone as a whole.

    Attributes:
        file: its name.
        done: names of the files that were applied before it, by the same run.
        code: SQLSTATE, or what ended the session.
    """

    def __init__(self, file: str, done: list[str], error: DatabaseError) -> None:
        before = f"; applied before it: {', '.join(done)}" if done else ""
        super().__init__(f"{file} failed and was undone as a whole ({error}){before}")
        self.file, self.done, self.code = file, done, str(error)


class UnfitDatabase(Exception):
    """This server or database can't hold Atlas; the text says why."""


def migrate(
    url: str,
    environment: str,
    *,
    kinds: frozenset[Kind] = BOTH,
    zone: str = "Europe/Moscow",
    currency: str = "RUB",
    providers: Collection[str] = (),
    folder: Path = schema.FOLDER,
) -> list[str]:
    """Bring the database at `url` to the newest schema; a second run changes nothing, a concurrent one waits for the first.

    Args:
        url: of a role that may create the schema.
        environment: `local`, `dev` or `prod`; written on the first run, checked on the others.
        kinds: which files: a deploy runs `pre` before the new code and `post` once the old code has no traffic.
        zone: whose days and months the books are closed by; written on the first run, never changed.
        currency: of the price list; written on the first run, checked on the others.
        providers: who takes money in this environment; one that is new gets its clearing account.
        folder: of the files; roles and the clock are Atlas's own.

    Returns:
        The names of the files applied now.

    Raises:
        MigrationChanged, MigrationOutOfOrder, UnfitDatabase: nothing was applied; but when the functions' login may do more than
            `atlas_app`, which is told last.
        MigrationFailed: a file was undone; those before it stay.
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
        files = _files(folder)
        waiting = _waiting(files, applied)
        _assert_order(waiting, kinds, newest=max(applied, default=0))
        done = _apply_all(connection, [one for one in waiting if one.kind in kinds])
        if applied.keys() - {one.number for one in files}:
            # Of a newer release: its rights are on tables that this code does not know, and would give away.
            _claim_environment(connection, environment, zone, currency)
            return done
        _run_again(connection, "roles.sql", done)
        _assert_bounded(connection)
        _list_currencies(connection)
        _claim_environment(connection, environment, zone, currency)
        list_providers(connection, providers)
        if environment != LOCAL:
            _run_again(connection, "clock.sql", done)
        return done
    finally:
        connection.close()


def _assert_fit(connection: Connection) -> None:
    if connection.server_version < _OLDEST_SERVER:
        raise UnfitDatabase(f"PostgreSQL {connection.server_version} is too old; {_OLDEST_SERVER} or newer is needed")
    _, rows, _ = connection.execute("select pg_catalog.current_setting('server_encoding')", {})
    if rows[0][0] != "UTF8":
        raise UnfitDatabase(f"the database's encoding is {rows[0][0]}; create it with encoding UTF8")


def _assert_bounded(connection: Connection) -> None:
    """Functions, the public ones as well, must not own, make or copy what they may only use.

    Raises:
        UnfitDatabase: their login may, and the owner can't take it away.
    """
    _, rows, _ = connection.execute(_BEYOND, {})
    if rows:
        raise UnfitDatabase(
            f"the functions' login atlas_functions may do more than atlas_app ({', '.join(sorted(row[0] for row in rows))}) and this"
            " user can't take it away: do it as an administrator (docs/data.md, Roles)"
        )


def _queue_up(connection: Connection) -> None:
    try:
        connection.execute(_LOCK, {})
    except TooSlow:
        raise UnfitDatabase(
            f"another migration has been running for {_WAIT_S // 60} minutes; look at it first"
        ) from None
    connection.simple(_LOCK_TIMEOUT)


def _files(folder: Path) -> list[Migration]:
    found = [(path, schema.FILE.match(path.name)) for path in sorted(folder.iterdir())]
    files = [
        Migration(int(match[1]), "pre" if match[2] == "pre" else "post", path)
        for path, match in found
        if match is not None
    ]
    for one, following in itertools.pairwise(files):
        if one.number == following.number:
            raise MigrationOutOfOrder(f"{one.path.name} and {following.path.name} have one number")
    return files


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


def _assert_order(waiting: list[Migration], kinds: frozenset[Kind], newest: int) -> None:
    for one in waiting:
        if one.number < newest:
            raise MigrationOutOfOrder(
                f"{one.path.name} was never applied here and {newest:04} was: a new file has the highest number of all"
            )
        earlier = [other.path.name for other in waiting if other.number < one.number and other.kind not in kinds]
        if one.kind in kinds and earlier:
            raise MigrationOutOfOrder(f"{earlier[0]} comes before {one.path.name} and is not applied: run it first")


def _digest(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()


def _apply_all(connection: Connection, migrations: list[Migration]) -> list[str]:
    done: list[str] = []
    for one in migrations:
        try:
            done.append(_apply(connection, one))
        except OutcomeUnknown:
            raise  # it may be there: the next run finds it, or applies it
        except DatabaseError as error:
            raise MigrationFailed(one.path.name, done, error) from error
    return done


def _run_again(connection: Connection, name: str, done: list[str]) -> None:
    """What every run puts in place anew: one transaction as well, for it is sent as one."""
    try:
        connection.simple((schema.FOLDER / name).read_text())
    except DatabaseError as error:
        raise MigrationFailed(name, done, error) from error


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


def list_providers(connection: Connection, names: Collection[str]) -> None:
    """Give providers that are new here their row and their clearing account.

    Raises:
        lib.db.DatabaseError: Postgres refused.
    """
    connection.execute(_LIST_PROVIDERS, {"names": list(names)})


def _claim_environment(connection: Connection, environment: str, zone: str, currency: str) -> None:
    connection.execute(_CLAIM, {"environment": environment, "zone": zone, "currency": currency})
    _, rows, _ = connection.execute("select environment, books_currency from deployment", {})
    held, books = rows[0]
    if held != environment:
        raise ValueError(f"this database belongs to environment {held!r}, not {environment!r}")
    if books != currency:
        raise ValueError(f"this database keeps its books in {books}, and the price list's currency is {currency}")
