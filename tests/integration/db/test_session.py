"""A session is what the code says, whatever the database, the role or the server say."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from lib.db import Database, StatementFailed, Unavailable
from lib.db.address import DatabaseAddress
from lib.db.connection import Connection, Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.db import Transaction

_HOSTILE = {
    "client_encoding": "SQL_ASCII",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Pacific/Kiritimati",
    "search_path": "public",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "exit_on_error": "on",
    "statement_timeout": "1",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
    "idle_session_timeout": "1",
    "transaction_timeout": "400",
}


@dataclass(frozen=True)
class Typed:
    name: str
    at: datetime
    span: timedelta
    raw: bytes
    ratio: float
    exact: Decimal
    several: list[str | None]
    backslash: str
    nothing: bool | None


_VALUES = Typed(
    name="Ёжик 🦔",
    at=datetime(2026, 11, 30, 23, 59, 59, 123456, tzinfo=UTC),
    span=timedelta(days=400, hours=5, microseconds=7),
    raw=bytes(range(256)),
    ratio=0.1 + 0.2,
    exact=Decimal("12345678901234567890.000000000000000001"),
    several=["a", None, "NULL"],
    backslash=r"a\n",
    nothing=None,
)


def round_trip(tx: Transaction) -> Typed:
    return tx.one(
        Typed,
        r"select cast(:name as text) as name, cast(:at as timestamptz) as at, cast(:span as interval) as span,"
        r" cast(:raw as bytea) as raw, cast(:ratio as double precision) as ratio, cast(:exact as numeric) as exact,"
        r" cast(:several as text[]) as several, 'a\n' as backslash, cast(null as int) = null as nothing",
        name=_VALUES.name,
        at=_VALUES.at,
        span=_VALUES.span,
        raw=_VALUES.raw,
        ratio=_VALUES.ratio,
        exact=_VALUES.exact,
        several=_VALUES.several,
    )


@contextmanager
def administered(url: str, *statements: str) -> Iterator[None]:
    """Run as the owner, on a session of its own."""
    connection = Connection(url, application="administrator", timeouts=Timeouts())
    try:
        for statement in statements:
            connection.simple(statement)
        yield
    finally:
        connection.close()


@pytest.fixture
def hostile(database_url: str) -> str:
    """A database where all that can be set otherwise is."""
    name = DatabaseAddress.parse(database_url).database
    with administered(
        database_url, *(f"alter database {name} set {key} = '{value}'" for key, value in _HOSTILE.items())
    ):
        return database_url


@pytest.mark.proves("G-18")
async def test_values_come_back_as_they_were_sent_whatever_the_database_says(hostile: str) -> None:
    db = Database(hostile, connections=1, application="test", guards=False)
    assert await db.run(round_trip) == _VALUES
    await db.run(
        lambda tx: tx.value("select 1 from pg_sleep(0.5)")
    )  # longer than the transaction may be, says the database
    assert await db.run(round_trip) == _VALUES
    await db.close()


@pytest.mark.proves("G-18")
async def test_no_setting_of_the_database_reaches_a_session(hostile: str) -> None:
    db = Database(hostile, connections=1, application="test", guards=False)
    inherited = await db.run(
        lambda tx: tx.values(
            "select name from pg_catalog.pg_settings where source in ('database', 'user', 'database user') order by name"
        )
    )
    await db.close()
    assert inherited == []


@pytest.mark.proves("G-18")
async def test_a_read_only_time_is_unavailable_and_heals_by_itself(database_url: str) -> None:
    """As a host does when a disk fills: sessions opened meanwhile are read-only, and stay so."""
    name = DatabaseAddress.parse(database_url).database
    put = "insert into flags (name, enabled) values ('written', true) on conflict do nothing"
    db = Database(database_url, connections=1, application="test", guards=False)
    with administered(database_url, f"alter database {name} set default_transaction_read_only = on"):
        for _ in range(3):
            with pytest.raises(Unavailable):
                await db.run(lambda tx: tx.execute(put))
    with administered(
        database_url,
        "set default_transaction_read_only = off",
        f"alter database {name} reset default_transaction_read_only",
    ):
        assert await db.run(lambda tx: tx.execute(put)) == 1
    await db.close()


@pytest.mark.proves("G-18")
@pytest.mark.parametrize(
    "code", ["25006", "53100", "53200", "53400", "57P04", "58000", "58030", "XX000", "XX001", "72000", "F0000", "QZ123"]
)
async def test_a_code_that_says_nothing_good_of_the_session_replaces_it(database_url: str, code: str) -> None:
    db = Database(database_url, connections=1, application="test", guards=False)
    pid = await db.run(lambda tx: tx.value("select pg_backend_pid()"))
    with pytest.raises(Unavailable):
        await db.run(lambda tx: tx.execute(f"do $$ begin raise exception 'no' using errcode = '{code}'; end $$"))
    assert await db.run(lambda tx: tx.value("select pg_backend_pid()")) != pid
    await db.close()


@pytest.mark.parametrize("code", ["22012", "23505", "42501", "42P01", "P0001", "55000", "54001", "21000"])
async def test_a_code_that_speaks_of_the_statement_keeps_the_session(database_url: str, code: str) -> None:
    db = Database(database_url, connections=1, application="test", guards=False)
    pid = await db.run(lambda tx: tx.value("select pg_backend_pid()"))
    with pytest.raises(StatementFailed, match=code):
        await db.run(lambda tx: tx.execute(f"do $$ begin raise exception 'no' using errcode = '{code}'; end $$"))
    assert await db.run(lambda tx: tx.value("select pg_backend_pid()")) == pid
    await db.close()


@pytest.mark.proves("G-18")
async def test_what_the_server_does_not_have_is_a_bad_statement_after_one_new_session(database_url: str) -> None:
    attempts = 0

    def ask(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        tx.execute("do $$ begin raise exception 'no such feature' using errcode = '0A000'; end $$")

    db = Database(database_url, connections=1, application="test", guards=False)
    with pytest.raises(StatementFailed, match="0A000"):
        await db.run(ask)
    assert attempts == 2
    await db.close()


@pytest.mark.proves("G-18")
async def test_a_server_that_offers_tls_is_not_asked_for_it() -> None:
    """A server that says yes to an SSLRequest would be given the password over TLS with whatever certificate it shows."""
    first: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                first.append(client.recv(8))
                client.sendall(b"S")

        listening = threading.Thread(target=answer, daemon=True)
        listening.start()
        db = Database(
            f"postgresql://u:p@127.0.0.1:{server.getsockname()[1]}/x", connections=1, application="test", guards=False
        )
        with pytest.raises(Unavailable):
            await db.run(lambda tx: tx.value("select 1"))
        listening.join(10)
    assert first
    assert first[0][4:] == (196608).to_bytes(4, "big"), "the protocol version, not an SSLRequest"
    await db.close()
