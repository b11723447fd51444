"""The part of PromQL that the alerts use, evaluated over counted lines and figures; anything else is an error.

Selectors with `=` and `=~`, a range in seconds, `increase`, `absent_over_time`, `sum by` and `max by`, `label_replace` that sets a
label to a fixed text, `/`, `<`, `>` with a number or another vector, `and`, `or`, parentheses. `increase` counts what lies in the
range and does not extrapolate: its series are counts of events (Cloud Monitoring's DELTA).
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TOKEN = re.compile(
    r'\s*(?:(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<number>\d+(?:\.\d+)?(?:s\b)?)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>=~|[=(){}\[\],<>/]))'
)
_LATEST_S = 300
"""How far back an instant selector looks for the last value of a series."""

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]


class UnknownQueryError(ValueError):
    """The query uses what this evaluator does not know."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one series, at a second."""

    name: str
    labels: Labels
    at: float
    value: float = 1.0


def compiled(text: str) -> Callable[[Sequence[Sample], float], Vector]:
    """A query as a function of samples and a moment.

    Raises:
        UnknownQueryError: it is not in the part known here.
    """
    parser = _Parser(_tokens(text))
    query = parser.alternatives()
    if parser.rest:
        raise UnknownQueryError(f"what is {parser.rest[0]!r}?")
    return query


def fires_at(
    text: str, for_s: float, samples: Sequence[Sample], until: float, step_s: float = 60
) -> dict[Labels, float]:
    """When each series of a query's answer has been there for `for_s` seconds, looked at every `step_s`."""
    query = compiled(text)
    since: dict[Labels, float] = {}
    fired: dict[Labels, float] = {}
    now = 0.0
    while now <= until:
        there = query(samples, now)
        since = {labels: since.get(labels, now) for labels in there}
        for labels, began in since.items():
            if now - began >= for_s:
                fired.setdefault(labels, now)
        now += step_s
    return fired


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise UnknownQueryError(f"{text[at : at + 30]!r}")
        found.append(match[0].strip())
        at = match.end()
    return found


@dataclass(frozen=True, slots=True)
class _Selector:
    name: str
    wanted: tuple[tuple[str, str, str], ...]
    range_s: float | None

    def matches(self, sample: Sample) -> bool:
        labels = dict(sample.labels)
        return sample.name == self.name and all(
            labels.get(label, "") == value if sign == "=" else re.fullmatch(value, labels.get(label, "")) is not None
            for label, sign, value in self.wanted
        )

    def within(self, samples: Sequence[Sample], now: float) -> list[Sample]:
        if self.range_s is None:
            raise UnknownQueryError(f"{self.name} without a range")
        return [one for one in samples if now - self.range_s < one.at <= now and self.matches(one)]

    def latest(self, samples: Sequence[Sample], now: float) -> Vector:
        found: dict[Labels, Sample] = {}
        for one in samples:
            if now - _LATEST_S < one.at <= now and self.matches(one):
                found[one.labels] = max(found.get(one.labels, one), one, key=lambda sample: sample.at)
        return {labels: one.value for labels, one in found.items()}


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.rest = tokens

    def _take(self, token: str) -> bool:
        if self.rest and self.rest[0] == token:
            self.rest.pop(0)
            return True
        return False

    def _must(self, token: str) -> None:
        if not self._take(token):
            raise UnknownQueryError(f"{token!r} should be where {self.rest[:1]} is")

    def _next(self) -> str:
        if not self.rest:
            raise UnknownQueryError("the query ends too early")
        return self.rest.pop(0)

    def alternatives(self) -> Callable[[Sequence[Sample], float], Vector]:
        parts = [self._together()]
        while self._take("or"):
            parts.append(self._together())

        def union(samples: Sequence[Sample], now: float) -> Vector:
            found: Vector = {}
            for part in parts:
                found = part(samples, now) | found
            return found

        return union

    def _together(self) -> Callable[[Sequence[Sample], float], Vector]:
        parts = [self._compared()]
        while self._take("and"):
            parts.append(self._compared())

        def common(samples: Sequence[Sample], now: float) -> Vector:
            first, *others = (part(samples, now) for part in parts)
            return {labels: value for labels, value in first.items() if all(labels in other for other in others)}

        return common

    def _compared(self) -> Callable[[Sequence[Sample], float], Vector]:
        left = self._ratio()
        for sign, holds in (("<", operator.lt), (">", operator.gt)):
            if self._take(sign):
                limit = float(self._next())
                return lambda samples, now: {
                    labels: value for labels, value in left(samples, now).items() if holds(value, limit)
                }
        return left

    def _ratio(self) -> Callable[[Sequence[Sample], float], Vector]:
        above = self._one()
        if not self._take("/"):
            return above
        below = self._one()

        def ratio(samples: Sequence[Sample], now: float) -> Vector:
            under = below(samples, now)
            return {labels: value / under[labels] for labels, value in above(samples, now).items() if under.get(labels)}

        return ratio

    def _one(self) -> Callable[[Sequence[Sample], float], Vector]:
        if self._take("("):
            inner = self.alternatives()
            self._must(")")
            return inner
        word = self._next()
        if word in {"sum", "max"}:
            return self._grouped(sum if word == "sum" else max)
        if word in {"increase", "absent_over_time"}:
            self._must("(")
            selector = self._selector(self._next())
            self._must(")")
            return _increase(selector) if word == "increase" else _absent(selector)
        if word == "label_replace":
            return self._labelled()
        return self._selector(word).latest

    def _grouped(self, reduce: Callable[[list[float]], float]) -> Callable[[Sequence[Sample], float], Vector]:
        self._must("by")
        self._must("(")
        label = self._next()
        self._must(")")
        inner = self._one()

        def grouped(samples: Sequence[Sample], now: float) -> Vector:
            groups: dict[Labels, list[float]] = {}
            for labels, value in inner(samples, now).items():
                kept = frozenset(one for one in labels if one[0] == label)
                groups.setdefault(kept, []).append(value)
            return {labels: reduce(values) for labels, values in groups.items()}

        return grouped

    def _labelled(self) -> Callable[[Sequence[Sample], float], Vector]:
        self._must("(")
        inner = self.alternatives()
        told = []
        while self._take(","):
            told.append(self._next().strip('"'))
        self._must(")")
        label, text, source, pattern = told
        if source or pattern:
            raise UnknownQueryError("label_replace from another label")
        return lambda samples, now: {labels | {(label, text)}: value for labels, value in inner(samples, now).items()}

    def _selector(self, name: str) -> _Selector:
        wanted, range_s = [], None
        if self._take("{"):
            while not self._take("}"):
                label, sign, text = self._next(), self._next(), self._next()
                if sign not in {"=", "=~"} or not text.startswith('"'):
                    raise UnknownQueryError(f"{label}{sign}{text}")
                wanted.append((label, sign, text[1:-1]))
                self._take(",")
        if self._take("["):
            seconds = self._next()
            if not seconds.endswith("s"):
                raise UnknownQueryError(f"[{seconds}]")
            range_s = float(seconds[:-1])
            self._must("]")
        return _Selector(name, tuple(wanted), range_s)


def _increase(selector: _Selector) -> Callable[[Sequence[Sample], float], Vector]:
    def increase(samples: Sequence[Sample], now: float) -> Vector:
        found: Vector = {}
        for one in selector.within(samples, now):
            found[one.labels] = found.get(one.labels, 0.0) + one.value
        return found

    return increase


def _absent(selector: _Selector) -> Callable[[Sequence[Sample], float], Vector]:
    told = frozenset((label, value) for label, sign, value in selector.wanted if sign == "=")

    def absent(samples: Sequence[Sample], now: float) -> Vector:
        return {} if selector.within(samples, now) else {told: 1.0}

    return absent
