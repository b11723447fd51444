"""Time that the page lets pass: one stretch at a time, in the background, with what became of it."""

from __future__ import annotations

import asyncio
from math import ceil
from typing import TYPE_CHECKING, Any

from sandbox.control.asking import RefusedError
from sandbox.system.time_travel import Progress, pass_time

if TYPE_CHECKING:
    from datetime import timedelta

    from sandbox.system.system import System


class TimeTravel:
    """The stretch that passes now, or the last one."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._progress: Progress | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._outcome = ""
        self._broke = False
        self._number = 0

    @property
    def running(self) -> bool:
        """Whether time passes by itself right now."""
        return self._task is not None and not self._task.done()

    def begin(self, duration: timedelta, step: timedelta) -> None:
        """Start; RefusedError while another stretch passes."""
        if self.running:
            raise RefusedError("time is passing already")
        self._stop.clear()
        self._outcome, self._broke = "", False
        self._number += 1
        self._progress = Progress(duration, step)
        self._task = asyncio.create_task(self._pass(duration, step))

    async def _pass(self, duration: timedelta, step: timedelta) -> None:
        def told(progress: Progress) -> None:
            self._progress = progress

        try:
            progress = await pass_time(self._system, duration, step, told=told, stop=self._stop)
        except Exception as error:  # noqa: BLE001 - shown on the page, whatever it was
            self._broke = True
            self._outcome = f"It broke off: {type(error).__name__}: {error}"
            return
        failed = f"; failed: {', '.join(sorted(progress.failures))}" if progress.failures else ""
        began = "Stopped" if progress.stopped else "All of it passed"
        self._outcome = f"{began}: {progress.steps} steps, {progress.sweeps} sweeps{failed}."

    def stop(self) -> None:
        """End after the step that it is in; RefusedError when nothing passes."""
        if not self.running:
            raise RefusedError("no time is passing")
        self._stop.set()

    async def close(self) -> None:
        """Break off; what has passed stays passed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def state(self) -> dict[str, Any] | None:
        """For the page; None before the first one."""
        if self._progress is None:
            return None
        return {
            "number": self._number,
            "running": self.running,
            "stopping": self.running and self._stop.is_set(),
            "duration_s": self._progress.duration.total_seconds(),
            "passed_s": round(self._progress.passed.total_seconds()),
            "steps": self._progress.steps,
            "steps_in_all": ceil(self._progress.duration / self._progress.step),
            "sweeps": self._progress.sweeps,
            "failures": self._progress.failures,
            "outcome": self._outcome,
            "broke": self._broke,
        }
