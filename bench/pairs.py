"""Two commits, measured in turn: the ratio of each pair, and what that says."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WORSE_BELOW = 0.97
"""Of the speed before: a loss that is smaller can't be told from noise on such a machine."""
_RESAMPLES = 4000
_SEED = 20261130
_LOW, _HIGH = 0.025, 0.975


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that a lap measures.

    Attributes:
        more_is_better: a rate; else it is a cost (time, CPU, memory).
    """

    id: str
    work: str
    unit: str
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of two commits, new over old.

    Attributes:
        new, old: medians.
        ratio: median of the pairs' ratios.
        low, high: its 95 % interval.
    """

    figure: Figure
    new: float
    old: float
    ratio: float
    low: float
    high: float

    @property
    def not_worse(self) -> bool:
        """Whether the interval of the speed (a rate, or one over a cost) reaches 0.97."""
        return self.high >= WORSE_BELOW if self.figure.more_is_better else self.low <= 1 / WORSE_BELOW

    def as_dict(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "id": self.figure.id,
            "work": self.figure.work,
            "unit": self.figure.unit,
            "new": self.new,
            "old": self.old,
            "ratio": self.ratio,
            "interval": [self.low, self.high],
            "not_worse": self.not_worse,
        }


def compare(new: Sequence[Mapping[Figure, float]], old: Sequence[Mapping[Figure, float]]) -> list[Compared]:
    """Each figure that both have, pair by pair: what disturbed a moment of the run disturbed both.

    Raises:
        ValueError: they were not measured equally often.
    """
    if len(new) != len(old):
        raise ValueError("pairs have two members")
    made = []
    for figure in new[0]:
        if all(figure in lap for lap in (*new, *old)):
            ours, theirs = [lap[figure] for lap in new], [lap[figure] for lap in old]
            ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
            low, high = interval(ratios)
            middle = statistics.median
            made.append(Compared(figure, middle(ours), middle(theirs), middle(ratios), low, high))
    return made


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """95 % of the medians of what these ratios could have been: drawn again from themselves, the same way each time (bootstrap)."""
    again = random.Random(_SEED)  # noqa: S311 -- a statistic that repeats, not a secret
    medians = sorted(statistics.median(again.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES))
    return medians[int(_LOW * _RESAMPLES)], medians[int(_HIGH * _RESAMPLES) - 1]


def table(compared: Sequence[Compared]) -> str:
    """As Markdown."""
    lines = [
        "| id | work | this | before | this / before | 95 % | none worse |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in compared:
        values = f"{_told(one.new)} {one.figure.unit} | {_told(one.old)} {one.figure.unit}"
        verdict = "yes" if one.not_worse else "**no**"
        lines.append(
            f"| {one.figure.id} | {one.figure.work} | {values} | {one.ratio:.2f}x | {one.low:.2f}..{one.high:.2f} | {verdict} |"
        )
    return "\n".join(lines)


def _told(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
