"""What outlives a run: accounts, messages, files, money, undelivered updates and the webhook, in one SQLite file.

Everything is read once at start; after that the stand-in writes through. With no path the same tables live in memory.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

_SCHEMA = """
create table if not exists settings (name text primary key, value text not null) strict;
create table if not exists accounts (id integer primary key, body text not null) strict;
create table if not exists messages (message_id integer primary key, chat_id integer not null, body text not null) strict;
create table if not exists pictures (file_id text primary key, facts text not null, body blob not null) strict;
create table if not exists files (file_id text primary key, facts text not null, body blob not null) strict;
create table if not exists records (
    position integer primary key, kind text not null, name text not null, body text not null, unique (kind, name)
) strict;
create table if not exists updates (
    position integer primary key, update_id integer not null, queue text not null, expires_at real not null,
    body text not null
) strict;
"""


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Store:
    """Rows in, rows out; knows nothing of what they mean. Used from the event loop's thread alone."""

    def __init__(self, path: str | os.PathLike[str] | None, *, durable: bool = False) -> None:
        self._connection = sqlite3.connect(":memory:" if path is None else path, isolation_level=None)
        # A power cut may cost the last moments of a sandbox's chat; waiting for the disk at each message would cost more.
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute(f"pragma synchronous = {'full' if durable else 'normal'}")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; nothing is written after."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside, or nothing."""
        self._connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")

    def setting(self, name: str) -> Any:
        """One kept value, None when it was never set."""
        row = self._connection.execute("select value from settings where name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def save_setting(self, name: str, value: Any) -> None:
        """Keep one value."""
        self._connection.execute(
            "insert into settings values (?, ?) on conflict do update set value = excluded.value", (name, _dumps(value))
        )

    def accounts(self) -> Iterator[dict[str, Any]]:
        """Every account."""
        for (body,) in self._connection.execute("select body from accounts order by id"):
            yield json.loads(body)

    def save_account(self, account_id: int, body: dict[str, Any]) -> None:
        """Write one account."""
        self._connection.execute(
            "insert into accounts values (?, ?) on conflict do update set body = excluded.body",
            (account_id, _dumps(body)),
        )

    def messages(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Every message with its chat, oldest first."""
        for chat_id, body in self._connection.execute("select chat_id, body from messages order by message_id"):
            yield chat_id, json.loads(body)

    def save_message(self, chat_id: int, message_id: int, body: dict[str, Any]) -> None:
        """Write one message as it now is."""
        self._connection.execute(
            "insert into messages values (?, ?, ?) on conflict do update set body = excluded.body",
            (message_id, chat_id, _dumps(body)),
        )

    def delete_message(self, message_id: int) -> None:
        """Forget one message."""
        self._connection.execute("delete from messages where message_id = ?", (message_id,))

    def pictures(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Every picture: its facts and its bytes."""
        for facts, body in self._connection.execute("select facts, body from pictures order by rowid"):
            yield json.loads(facts), body

    def save_picture(self, file_id: str, facts: dict[str, Any], body: bytes) -> None:
        """Keep one picture; pictures never change."""
        self._connection.execute("insert into pictures values (?, ?, ?)", (file_id, _dumps(facts), body))

    def files(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Every other file: its facts and its bytes."""
        for facts, body in self._connection.execute("select facts, body from files order by rowid"):
            yield json.loads(facts), body

    def save_file(self, file_id: str, facts: dict[str, Any], body: bytes) -> None:
        """Keep one file; files never change."""
        self._connection.execute("insert into files values (?, ?, ?)", (file_id, _dumps(facts), body))

    def records(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Everything of one kind by its name, in the order it was first written."""
        rows = self._connection.execute("select name, body from records where kind = ? order by position", (kind,))
        for name, body in rows:
            yield name, json.loads(body)

    def save_record(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """Write one record as it now is; it keeps its place."""
        self._connection.execute(
            "insert into records (kind, name, body) values (?, ?, ?) on conflict do update set body = excluded.body",
            (kind, name, _dumps(body)),
        )

    def updates(self) -> Iterator[tuple[int, int, str, float, dict[str, Any]]]:
        """Undelivered updates in order: position, update_id, queue, end (POSIX time), body."""
        rows = self._connection.execute("select position, update_id, queue, expires_at, body from updates order by 1")
        for position, update_id, queue, expires_at, body in rows:
            yield position, update_id, queue, expires_at, json.loads(body)

    def save_update(self, position: int, update_id: int, queue: str, expires_at: float, body: dict[str, Any]) -> None:
        """Keep one update until it is delivered or expires."""
        row = (position, update_id, queue, expires_at, _dumps(body))
        self._connection.execute("insert into updates values (?, ?, ?, ?, ?)", row)

    def delete_update(self, position: int) -> None:
        """Forget one update."""
        self._connection.execute("delete from updates where position = ?", (position,))
