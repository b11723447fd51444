"""Waiting for what another task or process does: bounded, and as long as a machine ten times slower would need."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Return once the condition is true.

    Raises:
        TimeoutError: it was not within so many real seconds. Who waits for what must not happen says how long.
    """
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
