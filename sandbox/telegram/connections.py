"""How fast Telegram comes back to a webhook that failed for a while: one connection, then all of them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.clock import Clock

STARVED_AFTER: Final = timedelta(seconds=10)
NEW_EVERY_S: Final = 2.0


class Connections:
    """At most so many at once. While nothing succeeded for 10 s, one at a time and a new one every 2 s at most.

    A bot that merely had nothing to do is not starved: something must have failed since the last success. `stretch`
    multiplies the 2 s as it does the pauses between attempts.
    """

    def __init__(self, limit: int, clock: Clock, stretch: float) -> None:
        self._all = asyncio.Semaphore(limit)
        self._one = asyncio.Lock()
        self._clock = clock
        self._pause = timedelta(seconds=NEW_EVERY_S * stretch)
        self._succeeded_at = clock.now()
        self._opened_at = clock.now() - self._pause
        self._failed = False

    @property
    def starved(self) -> bool:
        """Whether it is time to go slowly."""
        return self._failed and self._clock.now() - self._succeeded_at >= STARVED_AFTER

    def tell(self, *, delivered: bool) -> None:
        """What came of an attempt."""
        self._failed = not delivered
        if delivered:
            self._succeeded_at = self._clock.now()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for one's turn and keep it."""
        async with self._all:
            if self.starved:
                async with self._one:
                    if self.starved:  # still, now that those before had their turn
                        await self._clock.sleep_until(self._opened_at + self._pause)
                        self._opened_at = self._clock.now()
                        yield
                        return
            yield
