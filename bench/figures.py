"""Series of measurements and what is said of them."""

from __future__ import annotations

import operator
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

_HUNDREDTHS = 100
_RELATIONS = {"≤": operator.le, "≥": operator.ge, ">": operator.gt}


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one quantity in the order they were taken."""

    samples: tuple[float, ...]

    @classmethod
    def of(cls, samples: Sequence[float]) -> Series:
        """Raises: ValueError: there are none."""
        if not samples:
            raise ValueError("a series needs a sample")
        return cls(tuple(samples))

    @property
    def median(self) -> float:
        """The middle."""
        return statistics.median(self.samples)

    def percentile(self, percent: int) -> float:
        """Interpolated; of few samples the high ones are little more than the largest."""
        if len(self.samples) == 1:
            return self.samples[0]
        return statistics.quantiles(self.samples, n=_HUNDREDTHS, method="inclusive")[percent - 1]

    def as_dict(self, digits: int = 5) -> dict[str, Any]:
        """For the results file; every sample, so that they can be read again."""
        return {
            "n": len(self.samples),
            "median": round(self.median, digits),
            "p99": round(self.percentile(99), digits),
            "min": round(min(self.samples), digits),
            "max": round(max(self.samples), digits),
            "samples": [round(sample, digits) for sample in self.samples],
        }


def paired_ratio(ours: Series, theirs: Series) -> Series:
    """Ours over theirs, pair by pair: what disturbed a moment of the run disturbed both."""
    return Series.of([one / other for one, other in zip(ours.samples, theirs.samples, strict=True)])


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        id: of docs/performance.md; empty for a figure that has no target there.
        compared: what with, and the figure of it.
        ratio: ours over theirs.
        limit: the target as a number; None when there is none.
        quantity: what `limit` is about: the ratio, or the value itself.
        relation: of the measured to the limit.
    """

    id: str
    work: str
    value: float
    unit: str
    compared: str = ""
    ratio: float | None = None
    limit: float | None = None
    quantity: Literal["ratio", "value"] = "ratio"
    relation: Literal["≤", "≥", ">"] = "≤"

    @property
    def met(self) -> bool | None:
        """Whether the target was reached; None without one."""
        if self.limit is None:
            return None
        measured = self.ratio if self.quantity == "ratio" else self.value
        if measured is None:
            raise ValueError(f"{self.work}: a target for a ratio that was not measured")
        return bool(_RELATIONS[self.relation](measured, self.limit))

    @property
    def target(self) -> str:
        """The target in words; empty without one."""
        if self.limit is None:
            return ""
        unit = "x" if self.quantity == "ratio" else f" {self.unit}"
        return f"{self.relation} {self.limit:g}{unit}"

    def as_dict(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "id": self.id,
            "work": self.work,
            "value": self.value,
            "unit": self.unit,
            "compared": self.compared,
            "ratio": self.ratio,
            "target": self.target,
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a plot, in the plot's unit."""

    name: str
    value: float
    ours: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars from zero."""

    name: str
    title: str
    unit: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one benchmark found: table rows, everything measured, a plot if one says more than the table."""

    key: str
    rows: tuple[Row, ...]
    measured: dict[str, Any]
    plot: Plot | None = None
