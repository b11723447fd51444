"""Who may use a connection of this instance now: first come, first served, some of them kept for what has a deadline."""

from __future__ import annotations

import asyncio
from collections import deque


class Permits:
    """A counter with a floor: ordinary work leaves `reserved` permits free, reserved work takes any that is.

    Args:
        count: permits in all.
        reserved: how many of them ordinary work can't take.
    """

    def __init__(self, count: int, *, reserved: int) -> None:
        self._free = count
        self._floor = reserved
        self._ordinary: deque[asyncio.Future[None]] = deque()
        self._urgent: deque[asyncio.Future[None]] = deque()

    def take(self, *, reserved: bool) -> bool:
        """A permit at once; False when none is free for this work."""
        if self._free <= (0 if reserved else self._floor):
            return False
        self._free -= 1
        return True

    async def wait(self, *, reserved: bool) -> None:
        """Wait for a permit that was not free; reserved work is served first."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._urgent if reserved else self._ordinary
        queue.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self.release()  # it was granted at the moment the wait ended
            elif waiting in queue:
                queue.remove(waiting)
            raise

    def release(self) -> None:
        """Give one back: to the first that waits and may have it."""
        self._free += 1
        self._grant(self._urgent, 0)
        self._grant(self._ordinary, self._floor)

    def _grant(self, queue: deque[asyncio.Future[None]], floor: int) -> None:
        while queue and self._free > floor:
            waiting = queue.popleft()
            if not waiting.done():
                self._free -= 1
                waiting.set_result(None)
