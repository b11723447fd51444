"""Time that passes only when nothing is left to do: a loop that jumps to its next alarm, and the clock of the stand-ins over it.

Everything runs on one thread. So what comes after what is decided by the alarms alone, these by the seed, and a run can be had again.
"""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sandbox.stand_in.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

BEGAN: Final = datetime(2027, 1, 4, 9, 0, tzinfo=UTC)
"""When every run begins."""
_RESOLUTION_S: Final = 1e-6


class Deadlock(RuntimeError):
    """Everything waits for something that can't come: there is no alarm."""


class _Jumping(selectors.DefaultSelector):
    """Never blocks: what the loop would have waited passes at once."""

    def __init__(self, passes: Callable[[float], None]) -> None:
        super().__init__()
        self._passes = passes

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("nothing is under way and no alarm is set")
        if timeout > 0:
            self._passes(timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Seconds since the run began; work for an executor is done at once, by this thread."""

    def __init__(self) -> None:
        self._passed_s = 0.0
        super().__init__(_Jumping(self._pass))
        self._clock_resolution = _RESOLUTION_S

    def _pass(self, seconds: float) -> None:
        self._passed_s += seconds

    def time(self) -> float:
        """As `loop.time`, of the run."""
        return self._passed_s

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override] # the base class has it as a coroutine's, callers await either
        """Now: a thread would come back at a moment of its own."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it is for the waiting caller
            done.set_exception(error)
        return done


class RunClock(Clock):
    """The stand-ins' clock: the loop's, from a fixed moment on."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def now(self) -> datetime:
        """See `Clock`."""
        return BEGAN + timedelta(seconds=round(self._loop.time(), 6))

    def travel(self, by: timedelta) -> None:
        """No: time passes here by itself alone."""
        raise NotImplementedError(by)
