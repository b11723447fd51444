"""The one table of functions (`table.json`), as Python sees it. Terraform, the local runner and the tests read the same file.

A row comes with its function; nothing in it is listed anywhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from lib import json_reader

_ROOT = Path(__file__).resolve().parents[1]
_EVERY = re.compile(r"\*(?:/([1-9][0-9]?))?")

PERIODS = 3
"""So many periods of a sweep may pass without a success: one run may be long, one tick may be lost."""
_SILENT_S, _LONGEST_S = 300.0, 25 * 3600.0
PRIVATE = "private"
"""The target that serves every function which is not public, by path; a small shop's only private service."""
_SWEEPS = "sweeps"
_PRIVATE_MODULE = "functions.private.private"


def sweep_name(target: str) -> str:
    """What a sweep is called in rows, logs and commands: `sweep_expiry` is `expiry`, `export_ledger` itself."""
    return target.removeprefix("sweep_")


@dataclass(frozen=True, slots=True)
class Queue:
    """A Cloud Tasks queue: how fast it dispatches and for how long it retries. Times in seconds.

    Cloud Tasks gives a task up only when `max_attempts` *and* `max_retry_s` are used up. Here the time decides, always:
    `max_attempts` is no more than what fits into it even when each attempt takes its whole deadline.
    """

    name: str
    rate_per_second: float
    max_concurrent: int
    max_attempts: int
    min_backoff_s: float
    max_backoff_s: float
    max_doublings: int
    max_retry_s: int


@dataclass(frozen=True, slots=True)
class Function:
    """One deployable target.

    Attributes:
        trigger: who calls it: any caller, a task of `queue`, or the scheduler by `schedule` (unix-cron, UTC).
        deadline_s: what the caller waits; always more than `timeout_s`, the platform's limit of a request.
        connections: threads = Postgres connections of one instance (`DB_CONNECTIONS`).
        second_pass_s: the sweep runs once more so many seconds after each tick.
        flag: switches it at run time (table `flags`).
        secrets: settings that come from Secret Manager; it may read no others.
        enqueues: queues it may put tasks on.
    """

    name: str
    trigger: Literal["public", "task", "schedule"]
    timeout_s: int
    concurrency: int
    connections: int
    cpu: int
    memory_mib: int
    min_instances: int
    max_instances: int
    secrets: tuple[str, ...]
    enqueues: tuple[str, ...]
    queue: str | None = None
    schedule: str | None = None
    deadline_s: int | None = None
    second_pass_s: int | None = None
    flag: str | None = None

    @property
    def service(self) -> str:
        """Its name in URLs and on the platform: kebab-case."""
        return self.name.replace("_", "-")

    @property
    def period_s(self) -> int | None:
        """Seconds between two ticks of its schedule; None for what has none.

        Raises:
            ValueError: it is of another form than Terraform takes (locals.tf, `period_s`).
        """
        if self.schedule is None:
            return None
        minute, hour, *rest = self.schedule.split(" ")
        for field_, other, unit_s in ((minute, hour == "*", 60), (hour, minute.isdecimal(), 3600)):
            if rest == ["*"] * 3 and other and (every := _EVERY.fullmatch(field_)) is not None:
                return unit_s * int(every[1] or 1)
        if rest == ["*"] * 3 and minute.isdecimal() and hour.isdecimal():
            return 86_400
        raise ValueError(f"{self.name}: {self.schedule}")

    @property
    def module(self) -> str:
        """The module that holds its entry point."""
        folder = {"public": "public", "task": "tasks", "schedule": "sweeps"}[self.trigger]
        return f"functions.{folder}.{self.name}"


def _is_called_by(function: Function, queue: str) -> bool:
    """Whether a queue's tasks call it: its own, and `sweeps` every sweep (a run handed on, or one that an operator asked for)."""
    return function.queue == queue or (queue == _SWEEPS and function.trigger == "schedule")


@dataclass(frozen=True, slots=True)
class Table:
    """All functions and queues by name.

    Attributes:
        sweeps_at_once: so many the service works on that serves every private function; a sweep's own service works on one.
    """

    functions: dict[str, Function] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    sweeps_at_once: int = 1

    def private(self) -> dict[str, Function]:
        """Functions that only the queue and the scheduler call, by the name in their URL."""
        return {one.service: one for one in self.functions.values() if one.trigger != "public"}

    def sweep(self, name: str) -> Function:
        """The function that runs a sweep.

        Raises:
            KeyError: there is no such sweep.
        """
        row = self.functions.get(f"sweep_{name}") or self.functions[name]
        if row.trigger != "schedule":
            raise KeyError(name)
        return row

    def is_sweep(self, target: str) -> bool:
        """Whether the scheduler calls it."""
        return target in self.functions and self.functions[target].trigger == "schedule"

    def longest_s(self, target: str) -> int:
        """The longest that a request of a target may take."""
        served = self.private().values() if target == PRIVATE else [self.functions[target]]
        return max(one.timeout_s for one in served)

    def targets(self) -> list[str]:
        """Every value that `FUNCTION_TARGET` may have."""
        return [*self.functions, PRIVATE]

    def module(self, target: str) -> str | None:
        """The module that holds a target's entry point; None when there is no such target."""
        if target == PRIVATE:
            return _PRIVATE_MODULE
        row = self.functions.get(target)
        return None if row is None else row.module

    def window_s(self, queue: str) -> float:
        """For so long after a task's first attempt its queue may still be at it, the last attempt included.

        The last one begins a pause after the time is used up, at the latest. Work that is not done by then has no task any more.
        """
        row = self.queues[queue]
        return row.max_retry_s + row.max_backoff_s + self.deadline_s(queue)

    def silent_after_s(self) -> dict[str, float]:
        """For how long a sweep may not have ended well, by its name: three periods, and as long as its alert waits (alerts.tf)."""
        return {
            sweep_name(one.name): max(_SILENT_S, min(PERIODS * float(one.period_s), _LONGEST_S))
            for one in self.functions.values()
            if one.period_s is not None
        }

    @property
    def connection_sum(self) -> int:
        """Connections to Postgres that all instances may hold together: their threads' and each sweep's lock."""
        threads = sum(one.max_instances * one.connections for one in self.functions.values())
        return threads + sum(one.trigger == "schedule" for one in self.functions.values())

    def deadline_s(self, queue: str) -> int:
        """The longest that an attempt of this queue may take."""
        return max(one.deadline_s or one.timeout_s for one in self.functions.values() if _is_called_by(one, queue))

    def worked_queues(self) -> list[Queue]:
        """Queues that carry outbox rows: those that call a function."""
        called = self.functions.values()
        return [queue for queue in self.queues.values() if any(_is_called_by(one, queue.name) for one in called)]


@dataclass(frozen=True, slots=True)
class Probe:
    """How the platform asks an instance, and when it gives it up: after so many failures in a row. Times in seconds."""

    period_s: int
    timeout_s: int
    failure_threshold: int


@dataclass(frozen=True, slots=True)
class Probes:
    """What every instance is asked by `GET`: until it has started, and from then on."""

    path: str
    startup: Probe
    liveness: Probe


@cache
def probes(root: Path = _ROOT) -> Probes:
    """Read `functions/probes.json` once, which Terraform and the local runner read as well."""
    raw = json_reader.read_object((root / "functions" / "probes.json").read_bytes())
    return Probes(raw["path"], Probe(**raw["startup"]), Probe(**raw["liveness"]))


@cache
def load(root: Path = _ROOT) -> Table:
    """Read the table once; another checkout's, when its folder is given.

    Raises:
        TypeError: a row has a field that does not exist, or lacks one.
    """
    raw = json_reader.read_object((root / "functions" / "table.json").read_bytes())
    functions = {
        name: Function(name=name, **(row | {"secrets": tuple(row["secrets"]), "enqueues": tuple(row["enqueues"])}))
        for name, row in raw["functions"].items()
    }
    queues = {name: Queue(name=name, **row) for name, row in raw["queues"].items()}
    at_once = [
        size["private"].get("sweeps_at_once", 1) for size in raw.get("sizes", {}).values() if size.get("private")
    ]
    return Table(functions, queues, min(at_once, default=1))
