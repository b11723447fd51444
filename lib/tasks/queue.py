"""The port to the task queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class QueueUnavailable(Exception):
    """The task was not made, or the outcome is unknown. The outbox row stays, so `sweep_outbox` makes it."""


@dataclass(frozen=True, slots=True)
class Task:
    """One call to be made later.

    Attributes:
        queue, name: short ids; the name is used once for ever.
        service: kebab-case name of the function to call.
        body: JSON bytes, ids only.
        deadline_s: how long the queue waits for the answer.
        at: not before; None is now.
    """

    queue: str
    name: str
    service: str
    body: bytes
    deadline_s: int
    at: datetime | None = None


class TaskQueue(Protocol):
    """What makes tasks."""

    async def create(self, task: Task) -> bool:
        """Make the task; False when its name was used before, which is as good.

        Raises:
            QueueUnavailable: refused, unreachable or too slow.
        """
        ...
