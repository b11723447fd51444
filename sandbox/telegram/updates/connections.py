"""How many connections to the webhook Telegram holds, and how fast it opens more.

After ten seconds without a success, be it that everything failed or that there was nothing to do, no connection is opened
beside one that is open, and one every 2 s at most. With the first success all connections are back, ten in half a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sandbox.telegram.state.changes import Changes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.stand_in.clock import Clock

STARVED_AFTER: Final = timedelta(seconds=10)
IDLE_FOR: Final = timedelta(seconds=60)
PAUSE: Final = timedelta(seconds=2)
BURST: Final = 10
BURST_IN: Final = timedelta(seconds=0.5)


class Connections:
    """At most `limit` at once. `stretch` multiplies the times between two openings as it does the pauses between attempts.

    A connection that was answered stays open for a minute and is used again. One that was not is gone.
    """

    def __init__(self, limit: int, clock: Clock, stretch: float) -> None:
        self._limit = limit
        self._clock = clock
        self._stretch = stretch
        self._busy = 0
        # Since when each is free, the longest first.
        self._free: list[datetime] = []
        self._opened: deque[datetime] = deque(maxlen=BURST)
        self._waiting: deque[object] = deque()
        self._changes = Changes()
        # A webhook that was just set has yet to show that it works.
        self._succeeded_at = clock.now() - timedelta(hours=1)

    @property
    def starved(self) -> bool:
        """Whether it is time to go slowly."""
        return self._clock.now() - self._succeeded_at > STARVED_AFTER

    def tell(self, *, delivered: bool, answered: bool) -> None:
        """What came of an attempt, while its slot is still held."""
        if delivered:
            self._succeeded_at = self._clock.now()
        if answered:
            self._free.append(self._clock.now())

    def _next(self) -> datetime | None:
        """When there is a connection to use; None when only another attempt's end can tell."""
        now = self._clock.now()
        self._free = [since for since in self._free if now - since < IDLE_FOR]
        if self._free:
            return now
        if self._busy >= (1 if self.starved else self._limit):
            return None
        if self.starved:
            return self._opened[-1] + PAUSE * self._stretch if self._opened else now
        return self._opened[0] + BURST_IN * self._stretch if len(self._opened) == BURST else now

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for one's turn and keep it."""
        await self._turn()
        if self._free:
            self._free.pop()
        else:
            self._opened.append(self._clock.now())
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._changes.tell()

    async def _turn(self) -> None:
        ticket = object()
        self._waiting.append(ticket)
        try:
            while True:
                seen = self._changes.count
                moment = self._next() if self._waiting[0] is ticket else None
                if moment is not None and moment <= self._clock.now():
                    return
                await self._wait(seen, moment)
        finally:
            self._waiting.remove(ticket)
            self._changes.tell()

    async def _wait(self, seen: int, moment: datetime | None) -> None:
        """Until something changed, or that moment."""
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._changes.after(seen))]
        if moment is not None:
            waits.append(asyncio.create_task(self._clock.sleep_until(moment)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
