"""What may go wrong with a tick, on demand or for a share of them: it never comes, comes twice, or comes late."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one tick: how many executions (0, 1 or 2, these at once), after how many seconds of sandbox time."""

    executions: int = 1
    late_s: float = 0.0


@dataclass(slots=True)
class TickFaults:
    """All faults of one scheduler; nothing goes wrong unless asked for.

    Attributes:
        missed_share, doubled_share, late_share: of all ticks, each 0 to 1 and drawn by itself.
        late_s: how late a tick of `late_share` is, sandbox seconds.
        random: draws; seed it to see the same again.
    """

    missed_share: float = 0.0
    doubled_share: float = 0.0
    late_share: float = 0.0
    late_s: float = 45.0
    random: random.Random = field(default_factory=random.Random)
    _missed: Counter[str] = field(default_factory=Counter)
    _doubled: Counter[str] = field(default_factory=Counter)
    _late: dict[str, list[float]] = field(default_factory=dict)

    def miss_next(self, job: str, count: int) -> None:
        """Let the next ticks of the job never come."""
        self._missed[job] += count

    def double_next(self, job: str, count: int) -> None:
        """Let the next ticks of the job come twice."""
        self._doubled[job] += count

    def delay_next(self, job: str, seconds: float, count: int) -> None:
        """Let the next ticks of the job come late."""
        self._late.setdefault(job, []).extend([seconds] * count)

    def asked(self) -> Iterator[tuple[str, str, int]]:
        """What was asked for and has not happened: job, `missed`, `twice` or `late`, how often."""
        yield from ((job, "missed", count) for job, count in self._missed.items() if count)
        yield from ((job, "twice", count) for job, count in self._doubled.items() if count)
        yield from ((job, "late", len(delays)) for job, delays in self._late.items() if delays)

    def fate(self, job: str) -> Fate:
        """What becomes of the tick that is due now. A missed one uses up no other fault."""
        if _takes(self._missed, job) or self._draws(self.missed_share):
            return Fate(executions=0)
        late_s = 0.0
        if asked := self._late.get(job):
            late_s = asked.pop(0)
        elif self._draws(self.late_share):
            late_s = self.late_s
        twice = _takes(self._doubled, job) or self._draws(self.doubled_share)
        return Fate(2 if twice else 1, late_s)

    def _draws(self, share: float) -> bool:
        return share > 0 and self.random.random() < share


def _takes(counter: Counter[str], job: str) -> bool:
    if counter[job] <= 0:
        return False
    counter[job] -= 1
    return True
