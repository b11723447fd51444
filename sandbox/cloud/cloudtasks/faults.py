"""What may go wrong between an application and its tasks, on demand or for a share of them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Doubling(Enum):
    """How a task is delivered once too often: both at the same moment, or again when the first was done."""

    NO = "no"
    AT_ONCE = "at once"
    LATER = "later"


@dataclass(slots=True)
class Faults:
    """All faults of one stand-in; nothing goes wrong unless asked for.

    Attributes:
        double_share: of new tasks, 0 to 1, that are delivered twice, half of them at once and half of them later.
        disorder_s: sandbox seconds that a delivery may be held back by, drawn evenly, so that tasks overtake each other.
        random: draws; seed it to see the same again.
    """

    double_share: float = 0.0
    disorder_s: float = 0.0
    random: random.Random = field(default_factory=random.Random)
    _lost: Counter[str] = field(default_factory=Counter)
    _failing: dict[str, tuple[int, int, bool]] = field(default_factory=dict)
    _doubling: dict[str, list[Doubling]] = field(default_factory=dict)

    def lose_next(self, queue: str, count: int) -> None:
        """The next creates are answered as good and forgotten."""
        self._lost[queue] += count

    def fail_next_create(self, queue: str, count: int, status: int, *, stored: bool) -> None:
        """The next creates are answered with an error; with `stored` the task is there all the same."""
        self._failing[queue] = (count, status, stored)

    def double_next(self, queue: str, count: int, how: Doubling) -> None:
        """The next tasks created are delivered twice."""
        self._doubling.setdefault(queue, []).extend([how] * count)

    def asked(self) -> Iterator[tuple[str, str, int]]:
        """What was asked for and has not happened: queue, `lost`, `refused`, `unclear` (refused though stored) or `twice`, how often."""
        yield from ((queue, "lost", count) for queue, count in self._lost.items() if count)
        for queue, (count, _, stored) in self._failing.items():
            yield queue, "unclear" if stored else "refused", count
        yield from ((queue, "twice", len(ways)) for queue, ways in self._doubling.items() if ways)

    def forget_asked(self) -> None:
        """Let nothing of that happen any more."""
        for asked in (self._lost, self._failing, self._doubling):
            asked.clear()

    def takes_loss(self, queue: str) -> bool:
        """Whether this create is to be lost."""
        if self._lost[queue] <= 0:
            return False
        self._lost[queue] -= 1
        return True

    def takes_failure(self, queue: str) -> tuple[int, bool] | None:
        """The HTTP status to fail this create with, and whether to store the task before."""
        if queue not in self._failing:
            return None
        count, status, stored = self._failing.pop(queue)
        if count > 1:
            self._failing[queue] = (count - 1, status, stored)
        return status, stored

    def takes_doubling(self, queue: str) -> Doubling:
        """How this new task is to be delivered twice, if at all."""
        if asked := self._doubling.get(queue):
            return asked.pop(0)
        if self.random.random() < self.double_share:
            return self.random.choice((Doubling.AT_ONCE, Doubling.LATER))
        return Doubling.NO

    def delay_s(self) -> float:
        """How long to hold this delivery back."""
        return self.random.uniform(0.0, self.disorder_s) if self.disorder_s > 0 else 0.0
