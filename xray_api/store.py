"""The recorded state of a node: which client is wanted, at which version, in SQLite (WAL, synchronous FULL).

A row lives for ever: a removed client's row is the tombstone that keeps a late add from undoing the remove
(`architecture.md#five-rules`, rule 2). One process owns the file, held by a lock beside it; inside it, one thread writes.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from xray_api import json_reader
from xray_api.clock import Kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_SCHEMA: Final = """
create table if not exists clients (
  client text primary key,
  version integer not null check (version > 0),
  state text not null check (state in ('wanted', 'removed', 'dropped')),
  uuid text,             -- kept when removed, so that a repeated remove by UUID finds its client
  uuid_key text,         -- what Xray compares: the UUID without bytes 6 and 7
  born integer,          -- version at which this UUID became this client's: half of its name in Xray
  expiry_ms integer,
  told integer not null default 0 check (told in (0, 1)),  -- of a dropped one: Atlas knows
  check (state = 'removed' or (uuid is not null and uuid_key is not null and born is not null and expiry_ms is not null))
) strict, without rowid;
-- Two clients wanted with one UUID: in Xray the removal of either would lock out both.
create unique index if not exists one_client_a_uuid on clients (uuid_key) where state = 'wanted';
create index if not exists clients_by_uuid on clients (uuid) where uuid is not null;
create index if not exists wanted_by_expiry on clients (expiry_ms) where state = 'wanted';
create index if not exists dropped_untold on clients (client) where state = 'dropped' and told = 0;
create table if not exists facts (name text primary key, value text not null) strict, without rowid;
"""
# Another value each time, so that there is something to write.
_TRIED: Final = "insert into facts values ('tried', '1') on conflict (name) do update set value = 1 - facts.value"
_COLUMNS: Final = "client, version, state, uuid, born, expiry_ms"
_KEPT_TIME: Final = "atlas_time"
_VARIABLES: Final = 500  # bound parameters in one statement; SQLite's oldest limit is 999


class StateInUseError(RuntimeError):
    """Another process owns the state file."""


class StateDamagedError(RuntimeError):
    """The file is no database, or not one that holds together: what it says can't be relied on. `Store` deals with it."""


class Client(NamedTuple):
    """One row: `state` is wanted, removed (by a caller) or dropped (by the node itself, past expiry and grace)."""

    client: str
    version: int
    state: str
    uuid: str | None
    born: int | None
    expiry_ms: int | None

    @property
    def name(self) -> str | None:
        """Its user name in Xray; None when it is to have none."""
        return f"{self.client}.{self.born}" if self.state == "wanted" else None


@dataclass(frozen=True)
class Change:
    """What a caller wants of one client. `version` None is one newer than what is held, or the held one if nothing changes."""

    client: str
    version: int | None
    wanted: bool
    uuid: str | None = None
    expiry_ms: int | None = None


@dataclass(frozen=True)
class Recorded:
    """The answer to one change: `error` None says that `held` is committed and is what was asked for."""

    held: Client | None
    error: str | None = None


OLDER: Final = "older version"
OTHER_CONTENT: Final = "same version, other content"
EXPIRED: Final = "expired on this node"
UUID_IN_USE: Final = "uuid in use"


def uuid_key(uuid: str) -> str:
    """What Xray compares of a canonical UUID: all but bytes 6 and 7, its third group (seen; two that differ only there log in alike)."""
    return uuid[:14] + uuid[18:]


class Store:
    """The state file. Methods block: call them from one thread at a time (see `reader` for another).

    A file that is damaged is never worked with: it is renamed to `<file>.damaged-<n>` and an empty one, with another `state_id`, takes its
    place. Atlas then sends every client again (docs/node.md).

    Attributes:
        state_id: names this state; another one says that what was recorded is lost.
        damaged: where a damaged file was moved to just now; None in the normal case.

    Raises:
        StateInUseError: another process owns it.
        OSError, sqlite3.OperationalError: it can't be opened or written (no right to, a folder in its place, a full disk).
    """

    def __init__(self, path: Path, grace_ms: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._grace_ms = grace_ms
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise StateInUseError(f"another process uses the state file {path}") from None
        try:
            self.damaged: Path | None = None
            try:
                self._db, self.state_id = _opened(path)
            except StateDamagedError:
                self.damaged = _set_aside(path)
                self._db, self.state_id = _opened(path)
        except BaseException:
            os.close(self._lock)
            raise

    def try_writing(self) -> None:
        """Write and commit something that changes nothing: what every recorded change needs.

        Raises:
            sqlite3.Error: it can't be done now.
        """
        with self._transaction():
            self._db.execute(_TRIED)

    def kept_time(self) -> Kept | None:
        """The time kept by `keep_time`, or None: never, or by a version that kept something else."""
        row = self._db.execute("select value from facts where name = ?", (_KEPT_TIME,)).fetchone()
        try:
            atlas_ms, steady_ms, boot, sure = json_reader.read(row[0].encode() if row else b"[]", most_depth=1)
            return Kept(int(atlas_ms), int(steady_ms), str(boot), sure is True)
        except (ValueError, TypeError, OverflowError):
            return None

    def keep_time(self, kept: Kept) -> None:
        """Keep Atlas's time for after a restart."""
        with self._transaction():
            self._db.execute(
                "insert into facts values (?, ?) on conflict (name) do update set value = excluded.value",
                (_KEPT_TIME, json.dumps(list(kept))),
            )

    def close(self) -> None:
        """Close the file and let another process have it."""
        self._db.close()
        os.close(self._lock)

    def reader(self) -> Reader:
        """A second, read-only connection, for the thread that calls this."""
        return Reader(self._path)

    def apply(self, changes: Sequence[Change], now_ms: int | None, uuids_elsewhere: frozenset[str]) -> list[Recorded]:
        """Record a batch in one transaction, durable when this returns; one answer a change, in order.

        Args:
            changes: at most one for a client.
            now_ms: Unix milliseconds, to refuse what expired longer ago than the grace; None when unknown: nothing has expired.
            uuids_elsewhere: keys of UUIDs that Xray runs for users which are not ours.
        """
        with self._transaction():
            return [self._record(change, now_ms, uuids_elsewhere) for change in changes]

    def drop_expired(self, now_ms: int, limit: int = 500) -> list[str]:
        """Drop clients whose expiry and grace are past, and name them. The version stays: a newer one revives."""
        with self._transaction():
            rows = self._db.execute(
                "select client from clients where state = 'wanted' and expiry_ms <= ? order by expiry_ms limit ?",
                (now_ms - self._grace_ms, limit),
            ).fetchall()
            self._db.executemany("update clients set state = 'dropped', told = 0 where client = ?", rows)
        return [client for (client,) in rows]

    def untold(self, limit: int) -> list[Client]:
        """Clients that the node dropped by itself, not acknowledged yet, in key order."""
        rows = self._db.execute(
            f"select {_COLUMNS} from clients where state = 'dropped' and told = 0 order by client limit ?",  # noqa: S608 - a constant
            (limit,),
        )
        return [Client(*row) for row in rows]

    def acknowledge(self, dropped: Sequence[tuple[str, int]]) -> None:
        """Tell no more of these (client, version); a client that is not dropped at just this version stays as it is."""
        with self._transaction():
            self._db.executemany(
                "update clients set told = 1 where client = ? and version = ? and state = 'dropped'", dropped
            )

    def find(self, client: str) -> Client | None:
        """One row, or None."""
        row = self._db.execute(f"select {_COLUMNS} from clients where client = ?", (client,)).fetchone()  # noqa: S608 - a constant
        return Client(*row) if row else None

    def holder(self, uuid: str) -> Client | None:
        """The client that has, or had last, this UUID."""
        row = self._db.execute(
            f"select {_COLUMNS} from clients where uuid = ? order by state = 'wanted' desc, version desc limit 1",  # noqa: S608 - a constant
            (uuid,),
        ).fetchone()
        return Client(*row) if row else None

    def page(self, after: str, limit: int) -> list[Client]:
        """Wanted clients in key order, those after a key."""
        rows = self._db.execute(
            f"select {_COLUMNS} from clients where client > ? and state = 'wanted' order by client limit ?",  # noqa: S608 - a constant
            (after, limit),
        )
        return [Client(*row) for row in rows]

    def count(self) -> int:
        """How many clients are wanted."""
        return int(self._db.execute("select count(*) from clients where state = 'wanted'").fetchone()[0])

    def _record(self, change: Change, now_ms: int | None, uuids_elsewhere: frozenset[str]) -> Recorded:
        held = self.find(change.client)
        same = held is not None and _same(change, held)
        version = change.version
        if version is None:
            version = (held.version + (0 if same else 1)) if held else 1
        if held is not None and version < held.version:
            return Recorded(held, OLDER)
        if held is not None and version == held.version:
            return Recorded(held, None if same else EXPIRED if _dropped_same(change, held) else OTHER_CONTENT)
        if not change.wanted:
            return self._write(
                Client(change.client, version, "removed", held and held.uuid, None, held and held.expiry_ms)
            )
        if change.uuid is None or change.expiry_ms is None:
            raise ValueError("a wanted client needs a UUID and an expiry")
        if self._in_use(change.client, change.uuid, uuids_elsewhere):
            return Recorded(held, UUID_IN_USE)
        keeps = held is not None and held.state == "wanted" and held.uuid == change.uuid
        born = held.born if held is not None and keeps else version
        if now_ms is not None and change.expiry_ms + self._grace_ms <= now_ms:
            # Recorded all the same: an older version that comes later is still refused.
            self._write(Client(change.client, version, "dropped", change.uuid, born, change.expiry_ms))
            return Recorded(self.find(change.client), EXPIRED)
        return self._write(Client(change.client, version, "wanted", change.uuid, born, change.expiry_ms))

    def _in_use(self, client: str, uuid: str, uuids_elsewhere: frozenset[str]) -> bool:
        key = uuid_key(uuid)
        if key in uuids_elsewhere:
            return True
        row = self._db.execute(
            "select 1 from clients where uuid_key = ? and state = 'wanted' and client <> ?", (key, client)
        ).fetchone()
        return row is not None

    def _write(self, row: Client) -> Recorded:
        self._db.execute(
            "insert into clients (client, version, state, uuid, uuid_key, born, expiry_ms) values (?, ?, ?, ?, ?, ?, ?)"
            " on conflict (client) do update set version = excluded.version, state = excluded.state, uuid = excluded.uuid,"
            " uuid_key = excluded.uuid_key, born = excluded.born, expiry_ms = excluded.expiry_ms, told = 0",
            (
                row.client,
                row.version,
                row.state,
                row.uuid,
                row.uuid and uuid_key(row.uuid),
                row.born,
                row.expiry_ms,
            ),
        )
        return Recorded(row)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # a full disk ends it by itself
                self._db.execute("rollback")
            raise
        self._db.execute("commit")


class Reader:
    """A read-only view of the state for the thread that made it."""

    def __init__(self, path: Path) -> None:
        self._db = _connect(path)
        self._db.execute("pragma query_only = on")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def clients(self, keys: Iterable[str]) -> dict[str, Client]:
        """The rows of these clients; one that never was is left out."""
        wanted = list(keys)
        rows: dict[str, Client] = {}
        for start in range(0, len(wanted), _VARIABLES):
            part = wanted[start : start + _VARIABLES]
            marks = ", ".join("?" * len(part))
            for row in self._db.execute(f"select {_COLUMNS} from clients where client in ({marks})", part):  # noqa: S608 - marks
                rows[row[0]] = Client(*row)
        return rows

    def wanted(self) -> dict[str, Client]:
        """Every wanted client."""
        rows = self._db.execute(f"select {_COLUMNS} from clients where state = 'wanted'")  # noqa: S608 - a constant
        return {row[0]: Client(*row) for row in rows}


def _same(change: Change, held: Client) -> bool:
    """Whether the held row says what the change asks, whatever its version."""
    if not change.wanted:
        return held.state == "removed"
    return held.state == "wanted" and (held.uuid, held.expiry_ms) == (change.uuid, change.expiry_ms)


def _dropped_same(change: Change, held: Client) -> bool:
    """Whether the change is what the node held until it dropped the client by itself."""
    return change.wanted and held.state == "dropped" and (held.uuid, held.expiry_ms) == (change.uuid, change.expiry_ms)


def _set_aside(path: Path) -> Path:
    """Move a damaged state file, and what SQLite keeps beside it, out of the way; the name it has now."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for ending in ("-wal", "-shm"):
        beside = path.with_name(path.name + ending)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + ending))
    path.rename(aside)
    return aside


def _opened(path: Path) -> tuple[sqlite3.Connection, str]:
    """A connection to a file that holds together (structure, constraints, each index against its table) and can be written; its id.

    Raises:
        StateDamagedError: what is there is not what this service wrote.
    """
    db = None
    try:
        db = _connect(path)
        path.chmod(0o600)
        (found,) = db.execute("pragma integrity_check(1)").fetchone()
        if found != "ok":
            raise StateDamagedError
        db.execute("pragma synchronous = full")
        db.executescript(_SCHEMA)
        db.execute("begin immediate")
        db.execute(_TRIED)
        db.execute("insert into facts values ('state_id', ?) on conflict do nothing", (secrets.token_hex(8),))
        db.execute("commit")
        (state_id,) = db.execute("select value from facts where name = 'state_id'").fetchone()
    except BaseException as error:
        if db is not None:
            db.close()
        if isinstance(error, sqlite3.DatabaseError) and _is_damage(error):
            raise StateDamagedError from None
        raise
    return db, str(state_id)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is wrong, rather than the disk or our rights. SQLITE_ERROR: tables that lack what we wrote."""
    return error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    try:
        db.execute("pragma journal_mode = wal")
    except BaseException:
        db.close()
        raise
    return db
