"""The tasks there are, the names that are used up, and the attempts that were made: what the API and the dispatchers share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sandbox.cloud.cloudtasks.faults import Faults
from sandbox.cloud.cloudtasks.names import Tombstones
from sandbox.cloud.cloudtasks.oidc import test_key_signer
from sandbox.cloud.cloudtasks.store import Store
from sandbox.stand_in.outgoing import outgoing_client

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    import httpx

    from sandbox.cloud.cloudtasks.queues import Attempt, StoredTask
    from sandbox.stand_in.clock import Clock

_ATTEMPTS_KEPT = 20_000


class Tasks:
    """Every task by its full name, in order of creation. `faults` is what goes wrong on purpose."""

    def __init__(self, *, clock: Clock, store: Path | None, tombstone: timedelta, deadline_limit: float | None) -> None:
        self.clock = clock
        self.attempts: list[Attempt] = []
        self.signer = test_key_signer()
        self.tombstone = tombstone
        self.deadline_limit = deadline_limit
        self.tasks: dict[str, StoredTask] = {}
        self.faults = Faults()
        self._store = Store(store)
        self._tombstones = Tombstones(self._store.tombstones())
        self._client: httpx.AsyncClient | None = None
        self._changed = asyncio.Event()

    @property
    def client(self) -> httpx.AsyncClient:
        """What attempts are made with."""
        if self._client is None:
            self._client = outgoing_client(kept_alive=100)
        return self._client

    async def close(self) -> None:
        """Let go of connections and of the store."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        self._store.close()

    def changed(self) -> None:
        """Wake all who wait in `idle`."""
        self._changed.set()
        self._changed = asyncio.Event()

    def is_used(self, name: str) -> bool:
        """Whether a task of that name is no more, and its name not free yet."""
        return self._tombstones.holds(name, self.clock.now())

    def keep(self, task: StoredTask) -> None:
        """Write a changed task through, unless it was deleted meanwhile."""
        if task.name in self.tasks:
            self._store.save(task)

    def forget(self, task: StoredTask) -> None:
        """The task is done, given up, deleted or purged: only its name stays."""
        if self.tasks.pop(task.name, None) is not None:
            self._bury(task.name, self.clock.now())
        self.changed()

    def record(self, attempt: Attempt) -> None:
        """Add to `attempts`, dropping the oldest of very many."""
        self.attempts.append(attempt)
        if len(self.attempts) > _ATTEMPTS_KEPT:
            del self.attempts[: _ATTEMPTS_KEPT // 4]

    def deadline(self, task: StoredTask) -> float:
        """Real seconds that an attempt of the task may take."""
        own: float = task.message.dispatch_deadline.ToTimedelta().total_seconds()
        return own if self.deadline_limit is None else min(own, self.deadline_limit)

    def drop_expired(self, now: datetime) -> None:
        """Delete what was kept longer than any task is. `tasks` is in order of creation, so the first ones are the oldest."""
        while (oldest := self._oldest()) is not None and oldest.expires <= now:
            self.forget(oldest)

    def next_expiry(self) -> datetime | None:
        """When the next task will have been kept too long."""
        oldest = self._oldest()
        return None if oldest is None else oldest.expires

    def _oldest(self) -> StoredTask | None:
        return next(iter(self.tasks.values()), None)

    def _bury(self, name: str, now: datetime) -> None:
        if self._tombstones.prune(now):
            self._store.forget_tombstones(now)
        self._tombstones.bury(name, now + self.tombstone)
        self._store.remove(name, now + self.tombstone)
