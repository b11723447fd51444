"""Migrations: they queue up, come in two kinds, and refuse a database that can't hold Atlas."""

from __future__ import annotations

import asyncio
import itertools
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lib import currencies
from lib import migrate as command
from lib.db import migrate as migrations
from lib.db.connection import Connection, Timeouts
from lib.db.migrate import MigrationFailed, MigrationOutOfOrder, UnfitDatabase, migrate
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.postgres.server import Postgres

_numbers = itertools.count()
_REAL = Path(migrations.__file__).parent / "migrations"


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[str]:
    """A database without a schema."""
    name = f"migrate_{next(_numbers)}"
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)


def asked(url: str, sql: str) -> list[list[Any]]:
    with closing(Connection(url, application="test", timeouts=Timeouts())) as connection:
        return connection.execute(sql, {})[1]


@pytest.mark.proves("G-7")
async def test_a_second_migration_waits_for_the_first_however_long_a_lock_may_be_waited_for(empty: str) -> None:
    migrate(empty, "local")
    with closing(Connection(empty, application="first", timeouts=Timeouts(statement_ms=60_000))) as first:
        first.execute(migrations._LOCK, {})
        second = asyncio.create_task(asyncio.to_thread(migrate, empty, "local"))
        await until(lambda: asked(empty, "select from pg_locks where locktype = 'advisory' and not granted"))
        # what it waits with: no lock_timeout, or the second deploy of two fails after 5 s
        pinned = asked(empty, "select pid from pg_stat_activity where application_name = 'migrate'")
        assert pinned
        assert migrations._TIMEOUTS.lock_ms == 0
        assert not second.done()
    assert await second == []


@pytest.mark.proves("G-7")
async def test_two_at_once_apply_each_file_once(empty: str) -> None:
    done = await asyncio.gather(*(asyncio.to_thread(migrate, empty, "local") for _ in range(3)))
    assert sorted(done, key=len) == [[], [], sorted(path.name for path in _REAL.glob("0*.sql"))]


@pytest.mark.proves("G-7")
def test_pre_and_post_files_run_when_they_are_asked_for(empty: str, files: Path) -> None:
    (files / "0900_pre_add.sql").write_text("alter table flags add note text;")
    (files / "0901_post_drop.sql").write_text("alter table flags drop note;")
    assert migrate(empty, "local", kinds=frozenset({"pre"}), folder=files) == [
        *sorted(path.name for path in _REAL.glob("0*_pre_*.sql")),
        "0900_pre_add.sql",
    ]
    (files / "0902_pre_later.sql").write_text("alter table flags add other text;")
    with pytest.raises(MigrationOutOfOrder, match="0901_post_drop"):
        migrate(empty, "local", kinds=frozenset({"pre"}), folder=files)
    assert migrate(empty, "local", kinds=frozenset({"post"}), folder=files) == ["0901_post_drop.sql"]
    assert migrate(empty, "local", folder=files) == ["0902_pre_later.sql"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with this release's files, to which a test adds later ones."""
    for path in _REAL.glob("0*.sql"):
        (tmp_path / path.name).write_text(path.read_text())
    return tmp_path


_COLUMNS = "select count(*) from information_schema.columns where table_schema = 'atlas' and table_name = 'flags'"


@pytest.mark.proves("N-61.migration")
def test_a_file_that_fails_is_undone_as_a_whole_and_named(empty: str, files: Path) -> None:
    (files / "0900_pre_note.sql").write_text("alter table flags add note text;")
    (files / "0901_pre_half.sql").write_text("alter table flags add other text; alter table flags add note text;")
    (files / "0902_pre_never.sql").write_text("alter table flags add never text;")
    migrate(empty, "local")
    before = asked(empty, _COLUMNS)[0][0]
    with pytest.raises(
        MigrationFailed, match=r"0901_pre_half\.sql failed and was undone .*42701.*: 0900_pre_note\.sql"
    ):
        migrate(empty, "local", folder=files)
    assert asked(empty, _COLUMNS)[0][0] == before + 1
    assert asked(empty, "select max(number) from schema_migrations") == [[900]]
    (files / "0901_pre_half.sql").write_text("alter table flags add other text;")
    assert migrate(empty, "local", folder=files) == ["0901_pre_half.sql", "0902_pre_never.sql"]


@pytest.mark.proves("N-61.migration")
def test_the_command_tells_which_file_failed_and_ends_with_1(
    empty: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(empty, "create schema atlas create table flags (name text)")
    monkeypatch.setenv("MIGRATE_DATABASE_URL", empty)
    assert command.main(["--pre"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(
        r"migrate: \S+: 0001_pre_core\.sql failed and was undone as a whole \(SQLSTATE 42P07\)\n", said.err
    )
    assert asked(empty, "select to_regclass('atlas.accounts') is null") == [[True]]


def test_post_files_wait_for_the_pre_files_before_them(empty: str, files: Path) -> None:
    (files / "0900_post_drop.sql").write_text("alter table flags drop updated_by;")
    with pytest.raises(MigrationOutOfOrder, match=r"0001_pre_core\.sql comes before 0900_post_drop\.sql"):
        migrate(empty, "local", kinds=frozenset({"post"}), folder=files)
    assert asked(empty, "select count(*) from schema_migrations") == [[0]]


def test_two_files_of_one_number_are_refused(empty: str, files: Path) -> None:
    """As two branches make them that are merged."""
    for name in ("a", "b"):
        (files / f"0905_pre_{name}.sql").write_text(f"alter table flags add {name} text;")
    with pytest.raises(MigrationOutOfOrder, match=r"0905_pre_a\.sql and 0905_pre_b\.sql have one number"):
        migrate(empty, "local", folder=files)
    assert asked(empty, "select count(*) from schema_migrations") == [[0]]


def test_a_file_that_comes_late_with_an_early_number_is_refused(empty: str, files: Path) -> None:
    (files / "0905_pre_a.sql").write_text("alter table flags add a text;")
    migrate(empty, "local", folder=files)
    (files / "0904_pre_b.sql").write_text("alter table flags add b text;")
    with pytest.raises(MigrationOutOfOrder, match=r"0904_pre_b\.sql was never applied here and 0905 was"):
        migrate(empty, "local", folder=files)


@pytest.mark.proves("N-61.migration")
def test_code_that_is_put_back_changes_nothing_of_a_newer_schema(empty: str, files: Path) -> None:
    """Its list of rights would give every table that it does not know to the functions as a whole."""
    (files / "0900_pre_book.sql").write_text("create table book (id bigint); grant select on book to atlas_app;")
    migrate(empty, "local", folder=files)
    asked(empty, "revoke insert, update, delete on book from atlas_app")
    assert migrate(empty, "local") == []
    assert asked(empty, "select has_table_privilege('atlas_app', 'atlas.book', 'delete')") == [[False]]


@pytest.mark.parametrize("path", sorted(_REAL.glob("*.sql")), ids=lambda path: path.name)
def test_no_file_ends_its_own_transaction(path: Path) -> None:
    """Nor holds what can't be run in one: it would stay when the rest is undone."""
    code = re.sub(r"--[^\n]*", "", path.read_text())
    code = re.sub(r"\$\$.*?\$\$", "", code, flags=re.DOTALL)
    assert not re.search(
        r"(^|;)\s*(begin|start|commit|end|rollback|abort|vacuum)\b|\bconcurrently\b|\balter\s+system\b",
        code,
        re.IGNORECASE,
    )


def test_a_database_of_another_encoding_is_refused(postgres: Postgres) -> None:
    name = f"migrate_{next(_numbers)}"
    asked(postgres.url(), f"create database {name} encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0")
    with pytest.raises(UnfitDatabase, match="LATIN1"):
        migrate(postgres.url(name), "local")
    postgres.drop_database(name)


@pytest.fixture
def made_by_an_api(postgres: Postgres) -> Iterator[str]:
    """An owner that may make roles, and the functions' login as Cloud SQL's API makes users: a database without a schema."""
    name = f"migrate_{next(_numbers)}"
    postgres.create_database(name)
    for sql in (
        "create role cloudsqlsuperuser createrole createdb",
        "create role api_owner login createrole createdb password 'apiowner' in role cloudsqlsuperuser",
        "create role atlas_functions login createrole createdb password 'functions' in role cloudsqlsuperuser",
        f"alter database {name} owner to api_owner",
    ):
        asked(postgres.url(), sql)
    yield postgres.url(name)
    postgres.drop_database(name)
    for role in ("atlas_functions", "api_owner", "cloudsqlsuperuser"):
        asked(postgres.url(), f"drop role {role}")


_LOGIN = """
select rolcreaterole or rolcreatedb or rolsuper,
    array(select given.rolname from pg_auth_members m join pg_roles given on given.oid = m.roleid where m.member = r.oid)
from pg_roles r where rolname = 'atlas_functions'
"""


def test_the_functions_login_is_left_with_the_rights_of_atlas_app_alone(made_by_an_api: str) -> None:
    migrate(made_by_an_api, "local")
    assert asked(made_by_an_api, _LOGIN) == [[False, ["atlas_app"]]]
    assert migrate(made_by_an_api, "local") == []


def test_what_a_login_may_beyond_that_is_refused_by_name_when_the_owner_can_not_take_it_away(
    made_by_an_api: str, postgres: Postgres
) -> None:
    name = made_by_an_api.rsplit("/", 1)[1]
    with pytest.raises(UnfitDatabase) as refused:
        migrate(postgres.url(name, "api_owner", "apiowner"), "local")
    beyond = "atlas_functions may do more than atlas_app (CREATEDB, CREATEROLE, member of cloudsqlsuperuser)"
    assert beyond in str(refused.value)


def test_the_zone_and_the_currency_of_the_books_are_fixed_by_the_first_run(empty: str) -> None:
    migrate(empty, "local", zone="Asia/Tokyo", currency="RUB")
    migrate(empty, "local", zone="Europe/Moscow", currency="RUB")
    assert asked(empty, "select books_zone, books_currency from deployment") == [["Asia/Tokyo", "RUB"]]
    with pytest.raises(ValueError, match="books in RUB"):
        migrate(empty, "local", currency="USD")


@pytest.mark.parametrize(("environment", "planned"), [("prod", "now()"), ("local", "atlas.now()")])
def test_the_clock_costs_nothing_where_time_does_not_travel(empty: str, environment: str, planned: str) -> None:
    """Inlined, it is pg_catalog.now() in the plan; a function of ours in it is called per row."""
    migrate(empty, environment)
    plan = "\n".join(
        row[0] for row in asked(empty, "explain verbose select id from accounts where created_at < atlas.now()")
    )
    filters = [line for line in plan.splitlines() if "Filter" in line or "Cond" in line]
    assert filters
    assert all(f"< {planned}" in line for line in filters)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://atlas:Qm7/xYz9secret@127.0.0.1:5432/atlas"),
        ("DATABASE_URL", "postgresql://atlas:xYz9secret@127.0.0.1:543x/atlas"),
        ("DISPLAY_TZ", "Mars/Olympus"),
        ("ENVIRONMENT", "production"),
    ],
)
def test_the_command_refuses_in_a_sentence_without_the_password(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MIGRATE_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://atlas:xYz9secret@127.0.0.1:1/atlas")
    monkeypatch.setenv(name, value)
    assert command.main([]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "xYz9secret" not in said.err + said.out


def test_the_database_lists_the_currencies_of_the_one_list(database_url: str) -> None:
    rows = asked(database_url, "select code, exponent, price_exponent from currencies")
    assert {code: (digits, price_digits) for code, digits, price_digits in rows} == {
        one.code: (one.digits, one.price_digits) for one in currencies.ALL.values()
    }


def test_digits_that_books_are_kept_with_are_never_changed(empty: str) -> None:
    migrate(empty, "local")
    asked(empty, "update currencies set exponent = 3, price_exponent = 3 where code = 'RUB'")
    with pytest.raises(ValueError, match=r"other digits .*RUB"):
        migrate(empty, "local")


def test_books_are_not_kept_in_a_currency_that_no_list_has(empty: str) -> None:
    with pytest.raises(ValueError, match="unknown currency 'XXX'"):
        migrate(empty, "local", currency="XXX")
