"""One run of a sweep's work in this process, and the queue that its tasks go to."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lib.sweeps.runner import Run

if TYPE_CHECKING:
    from lib.db import Database
    from lib.db.lock import SweepLock
    from lib.tasks.queue import Task


class Queue:
    """Takes every task, once by name."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}

    async def create(self, task: Task) -> bool:
        fresh = task.name not in self.tasks
        self.tasks[task.name] = task
        return fresh


class _NoLock:
    async def renew(self) -> None:
        """It is always there."""


def sweep_run(db: Database, sweep: str) -> Run:
    """A run that holds the lock for good."""
    return Run(db, sweep, "t", {}, cast("SweepLock", _NoLock()))
