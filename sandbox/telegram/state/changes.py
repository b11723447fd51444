"""Waiting for something to have changed, without polling and without missing a change."""

from __future__ import annotations

import asyncio


class Changes:
    """A counter that can be waited for. Read `count`, look, then wait for it to move past what was read."""

    def __init__(self) -> None:
        self.count = 0
        self._moved = asyncio.Event()

    def tell(self) -> None:
        """Something changed: all who wait wake up."""
        self.count += 1
        self._moved.set()
        self._moved = asyncio.Event()

    async def after(self, count: int) -> int:
        """Return the new count as soon as it is past `count`."""
        while self.count <= count:
            await self._moved.wait()
        return self.count
