"""What survives a restart of the sandbox: tasks, the names that may not be used again, and what was done to queues."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.cloud.tasks_v2.types import queue as queue_types
from google.cloud.tasks_v2.types import task as task_types

from sandbox.cloud.cloudtasks.queues import Queue, StoredTask

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    name TEXT PRIMARY KEY, queue TEXT NOT NULL, message BLOB NOT NULL, execution_count INTEGER NOT NULL,
    previous_response INTEGER NOT NULL, retry_reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS tombstones (name TEXT PRIMARY KEY, until REAL NOT NULL);
CREATE INDEX IF NOT EXISTS tombstones_until ON tombstones (until);
CREATE TABLE IF NOT EXISTS queues (name TEXT PRIMARY KEY, paused INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS made_queues (name TEXT PRIMARY KEY, message BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS deleted_queues (name TEXT PRIMARY KEY, until REAL NOT NULL);
"""


class Store:
    """SQLite, written through. A commit survives a kill of this process; only a crash of the machine may lose the last ones.

    Args:
        path: the file, or None for a store that keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._db: sqlite3.Connection | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def tasks(self) -> list[StoredTask]:
        """Everything that was not finished, oldest first. What was being attempted counts as due."""
        found = []
        for queue, blob, executions, response, reason in self._rows(
            "SELECT queue, message, execution_count, previous_response, retry_reason FROM tasks ORDER BY rowid"
        ):
            message = task_types.Task.pb(task_types.Task())
            message.ParseFromString(blob)
            found.append(StoredTask(str(queue), message, int(executions), int(response), str(reason)))
        return found

    def tombstones(self) -> dict[str, datetime]:
        """Used names, each with the moment from which it is free again, in the order of these moments."""
        return self._moments("SELECT name, until FROM tombstones ORDER BY until")

    def paused(self) -> set[str]:
        """Short names of the paused queues."""
        return {str(name) for (name,) in self._rows("SELECT name FROM queues WHERE paused")}

    def made_queues(self) -> list[Queue]:
        """Queues that were made through the API."""
        found = []
        for name, blob in self._rows("SELECT name, message FROM made_queues ORDER BY rowid"):
            message = queue_types.Queue.pb(queue_types.Queue())
            message.ParseFromString(blob)
            found.append(Queue.from_message(str(name), message))
        return found

    def deleted_queues(self) -> dict[str, datetime]:
        """Queue names that may not be used again, each with the moment from which it is free."""
        return self._moments("SELECT name, until FROM deleted_queues")

    def save(self, task: StoredTask) -> None:
        """Insert or replace a task."""
        self._run(
            "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET message = excluded.message,"
            " execution_count = excluded.execution_count, previous_response = excluded.previous_response,"
            " retry_reason = excluded.retry_reason",
            (
                *(task.name, task.queue, task.message.SerializeToString()),
                *(task.execution_count, task.previous_response, task.retry_reason),
            ),
        )

    def remove(self, name: str, until: datetime) -> None:
        """Forget a task and keep its name used until then."""
        self._run("DELETE FROM tasks WHERE name = ?", (name,))
        self._run("INSERT OR REPLACE INTO tombstones VALUES (?, ?)", (name, until.timestamp()))

    def forget_tombstones(self, before: datetime) -> None:
        """Drop names that are free again."""
        self._run("DELETE FROM tombstones WHERE until <= ?", (before.timestamp(),))

    def set_paused(self, queue: str, *, paused: bool) -> None:
        """Remember a queue's state."""
        self._run("INSERT OR REPLACE INTO queues VALUES (?, ?)", (queue, paused))

    def save_queue(self, queue: Queue) -> None:
        """Keep a queue that was made, or changed, through the API."""
        message = queue.message(queue.name, paused=False, purged=None)
        self._run("INSERT OR REPLACE INTO made_queues VALUES (?, ?)", (queue.name, message.SerializeToString()))
        self._run("DELETE FROM deleted_queues WHERE name = ?", (queue.name,))

    def remove_queue(self, name: str, until: datetime) -> None:
        """Forget a queue and keep its name used until then."""
        self._run("DELETE FROM made_queues WHERE name = ?", (name,))
        self._run("DELETE FROM queues WHERE name = ?", (name,))
        self._run("INSERT OR REPLACE INTO deleted_queues VALUES (?, ?)", (name, until.timestamp()))

    def _moments(self, sql: str) -> dict[str, datetime]:
        return {str(name): datetime.fromtimestamp(until, UTC) for name, until in self._rows(sql)}

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [] if self._db is None else self._db.execute(sql).fetchall()

    def _run(self, sql: str, values: tuple[object, ...]) -> None:
        if self._db is not None:
            self._db.execute(sql, values)
