"""S3-9: the database itself takes no node whose key would travel in the clear, or to a peer that no pin names."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib.db import migrate as migrations
from lib.db.connection import Connection, Timeouts
from lib.db.errors import StatementFailed
from lib.db.migrate import MigrationFailed, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.postgres.server import Postgres

pytestmark = pytest.mark.proves("S3-9")

_FOLDER = Path(migrations.__file__).parent / "migrations"
OLD, NEW = "0a" * 32, "0b" * 32
_INSERT = "insert into nodes (name, api_url, key_name, pin, next_pin, pin_until) values "


def row(url: str, pin: str | None = None, next_pin: str | None = None, until: str = "null") -> str:
    pins = ", ".join("null" if one is None else f"'{one}'" for one in (pin, next_pin))
    return f"{_INSERT}('n', '{url}', 'K', {pins}, {until})"


_LATER = "atlas.now() + interval '1 day'"
REFUSED = [
    ("https_has_a_pin", row("https://de1.example:8443")),
    ("https_has_a_pin", row("https://127.0.0.1:8443")),
    ("https_has_a_pin", row("http://127.0.0.1:8010", OLD)),
    ("plain_http_is_loopback", row("http://de1.example:8443")),
    ("plain_http_is_loopback", row("http://10.0.0.3")),
    ("plain_http_is_loopback", row("http://localhost:8010")),
    ("plain_http_is_loopback", row("http://127.0.0.1.example")),
    ("plain_http_is_loopback", row("http://127.0.0.256")),
    ("exchange_is_whole", row("https://de1.example", OLD, NEW)),
    ("exchange_is_whole", row("https://de1.example", OLD, None, _LATER)),
    ("pins_differ", row("https://de1.example", OLD, OLD, _LATER)),
    ("nodes_pin_check", row("https://de1.example", OLD.upper())),
]


@pytest.fixture
def session(database_url: str) -> Iterator[Connection]:
    with closing(Connection(database_url, application="test", timeouts=Timeouts())) as made:
        yield made


@pytest.mark.parametrize(("constraint", "statement"), REFUSED)
def test_such_a_row_is_refused(session: Connection, constraint: str, statement: str) -> None:
    with pytest.raises(StatementFailed) as refused:
        session.simple(statement)
    assert refused.value.constraint == constraint


@pytest.mark.parametrize(
    "statement",
    [
        row("https://de1.example:8443", OLD),
        row("https://[2001:db8::1]", OLD, NEW, _LATER),
        row("http://127.0.0.1:8010"),
        row("http://127.255.0.9/node"),
        row("http://[::1]:8010"),
    ],
)
def test_such_a_row_is_taken(session: Connection, statement: str) -> None:
    session.simple(statement)


def test_a_node_from_before_there_were_pins_stops_the_migration_until_it_has_one(
    postgres: Postgres, tmp_path: Path
) -> None:
    for path in _FOLDER.glob("000[12]_*.sql"):
        (tmp_path / path.name).write_text(path.read_text())
    # before rights are granted, of which some are on later tables
    (tmp_path / "0003_pre_stop.sql").write_text("select 1 / 0;")
    postgres.create_database("before_pins")
    url = postgres.url("before_pins")
    try:
        with pytest.raises(MigrationFailed, match=r"0003_pre_stop\.sql"):
            migrate(url, "local", folder=tmp_path)
        with closing(Connection(url, application="test", timeouts=Timeouts())) as session:
            session.simple("insert into nodes (name, api_url, key_name) values ('de1', 'https://de1.example', 'K')")
            with pytest.raises(MigrationFailed, match=r"0003_pre_node_pins\.sql failed .*https_has_a_pin"):
                migrate(url, "local")
            session.execute("update nodes set pin = :pin", {"pin": OLD})
            assert "0003_pre_node_pins.sql" in migrate(url, "local")
    finally:
        postgres.drop_database("before_pins")
