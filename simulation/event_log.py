"""What happened, line by line: two runs of one seed write the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from simulation.virtual_time import RunClock


class EventLog:
    """Each line has the moment, who, and what; no UUIDs, tokens or texts.

    Args:
        clock: the run's.
        copy: where the lines are written to as well.
    """

    def __init__(self, clock: RunClock, copy: TextIO | None = None) -> None:
        self._clock = clock
        self._copy = copy
        self._digest = hashlib.sha256()
        self.count = 0
        self.last: list[str] = []

    def write(self, who: str, what: str) -> None:
        """One line."""
        line = f"{self._clock.now().isoformat(timespec='milliseconds')[:-6]} {who}: {what}"
        self._digest.update(line.encode() + b"\n")
        self.count += 1
        self.last.append(line)
        if len(self.last) > 2000:  # noqa: PLR2004 -- twice what a failure shows
            del self.last[:1000]
        if self._copy is not None:
            self._copy.write(line + "\n")

    @property
    def digest(self) -> str:
        """Of all lines so far."""
        return self._digest.hexdigest()
