"""A clock for tests of what happens at a moment, and not before: nothing is early or late because the machine is busy."""

from __future__ import annotations

from datetime import UTC, datetime

from sandbox.stand_in.clock import Clock

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


class StillClock(Clock):
    """Time passes by travel alone; it begins at noon unless said."""

    def __init__(self, began: datetime = NOON) -> None:
        super().__init__()
        self._began = began

    def now(self) -> datetime:
        return self._began + self.offset
