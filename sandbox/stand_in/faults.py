"""What goes wrong between the outside world and the functions, in shares that a person or a test chooses."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

_COPY_WITHIN_S = 0.2  # of the first one: near enough to meet it inside the function, far enough to come before or after


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what happens. Shares are of 1.

    Attributes:
        twice: of the webhooks, how many arrive a second time, about when the first one does.
        lost: of the webhooks, how many never arrive; the sender is told of a failure and comes again by its own schedule.
        unanswered: of the webhooks, how many are handled while the answer gets lost; the sender comes again too.
        late_s: every webhook is held up by 0 to so many real seconds. A sender that has one under way in a queue waits, so
            it is webhooks of different queues that overtake each other.
        flooded: of the Bot API's calls, how many are answered 429 with a second to wait.
        refused: of the Bot API's calls that say something to a customer, how many are refused, in known and unknown words.
        slow_s: answers of the Bot API pause up to so many real seconds before they begin, and as long in their middle.
    """

    twice: float = 0.0
    lost: float = 0.0
    unanswered: float = 0.0
    late_s: float = 0.0
    flooded: float = 0.0
    refused: float = 0.0
    slow_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no share or no time."""
        for field in fields(self):
            value = getattr(self, field.name)
            highest = float("inf") if field.name.endswith("_s") else 1.0
            if not 0 <= value <= highest:
                raise ValueError(f"{field.name}: {value} is not between 0 and {highest:g}")


NONE = Faults()
BAD_DAY = Faults(twice=1.0, lost=0.1, late_s=0.3, flooded=0.05)
"""Every webhook twice, one in ten lost on the way, those of different queues reordered, 5 % of the calls answered 429."""


@dataclass(frozen=True, slots=True)
class Injected:
    """What one webhook meets. `copy_after_s` is None when it comes once."""

    lost: bool
    unanswered: bool
    late_s: float
    copy_after_s: float | None


class FaultInjector:
    """Draws what each webhook meets; the same seed draws the same."""

    def __init__(self, seed: int | None = None) -> None:
        self.faults = NONE
        self._random = random.Random(seed)  # noqa: S311 - chance, not secrecy

    def draw(self) -> Injected | None:
        """What the next webhook meets; None while nothing is wrong on the way."""
        wrong = self.faults
        if not (wrong.twice or wrong.lost or wrong.unanswered or wrong.late_s):
            return None
        draw = self._random.random
        return Injected(
            lost=draw() < wrong.lost,
            unanswered=draw() < wrong.unanswered,
            late_s=draw() * wrong.late_s,
            copy_after_s=draw() * max(_COPY_WITHIN_S, wrong.late_s) if draw() < wrong.twice else None,
        )
