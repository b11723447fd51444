"""Names of tasks that are gone: used up for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class Tombstones:
    """Used names with the moment from which each is free, kept in the order of these moments, so that pruning looks at no other."""

    def __init__(self, kept: dict[str, datetime]) -> None:
        self._until = kept

    def bury(self, name: str, until: datetime) -> None:
        """Use the name up until then."""
        self._until.pop(name, None)
        self._until[name] = until

    def holds(self, name: str, now: datetime) -> bool:
        """Whether the name is used up."""
        until = self._until.get(name)
        return until is not None and until > now

    def prune(self, now: datetime) -> bool:
        """Let go of the names that are free; whether there were any."""
        free = 0
        while self._until and (oldest := next(iter(self._until.items())))[1] <= now:
            del self._until[oldest[0]]
            free += 1
        return free > 0

    def __len__(self) -> int:
        return len(self._until)
