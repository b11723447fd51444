"""One clock for every stand-in, so that a person or a test can travel in time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


class Clock:
    """Wall time plus an offset that only moves forward.

    The database has the same offset (`atlas.now()`), so stand-ins and functions agree on what time it is.
    """

    def __init__(self, offset: timedelta = timedelta(0)) -> None:
        self.offset = offset
        self._moved = asyncio.Event()
        self._alarms: dict[object, datetime] = {}

    def now(self) -> datetime:
        """The sandbox's time, aware, UTC."""
        return datetime.now(UTC) + self.offset

    def travel(self, by: timedelta) -> None:
        """Jump forward and wake all who wait for a moment that is now past."""
        if by < timedelta(0):
            raise ValueError("time travel goes forward only")
        self.offset += by
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep_until(self, moment: datetime) -> None:
        """Return when the sandbox's time has reached `moment`, through waiting or through travel."""
        alarm = object()
        self._alarms[alarm] = moment
        try:
            while (left := (moment - self.now()).total_seconds()) > 0:
                try:
                    await asyncio.wait_for(self._moved.wait(), timeout=min(left, 3600))
                except TimeoutError:
                    continue
        finally:
            del self._alarms[alarm]

    def next_alarm(self) -> datetime | None:
        """The earliest moment still to come that a sleeper waits for; None without one."""
        now = self.now()
        return min((moment for moment in self._alarms.values() if moment > now), default=None)

    async def sleep(self, seconds: float) -> None:
        """Sleep so many seconds of sandbox time."""
        await self.sleep_until(self.now() + timedelta(seconds=seconds))
