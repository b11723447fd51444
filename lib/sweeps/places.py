"""How many sweeps an instance works on at once: each holds a lock's connection, and the connection sum counts no more than these.

A service of its own runs one sweep, so it has one place. The private service of a small shop serves every sweep and has as many places
as the table gives it (functions/table.json, `sweeps_at_once`); what finds none waits, first come, first served. Several deliveries
of one sweep need one place: of them the first works, as the lock would say to all instances (docs/architecture.md, rule 5).
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from lib import function_table
from lib.db.permits import Permits
from lib.function_table import PRIVATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUNNING = "running"
NO_PLACE = "no place"


@dataclass(slots=True)
class Places:
    """Of one instance.

    Args:
        count: so many sweeps at once.
    """

    count: int
    _permits: Permits = field(init=False)
    _here: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._permits = Permits(self.count, reserved=0)

    @asynccontextmanager
    async def one(self, sweep: str, wait_s: float) -> AsyncIterator[str | None]:
        """A place for a run of a sweep while this is entered; else why there is none: `RUNNING` or `NO_PLACE`.

        Args:
            sweep: its name.
            wait_s: a place that is not free is waited for so long.
        """
        if sweep in self._here:
            yield RUNNING
            return
        self._here.add(sweep)
        try:
            if not await self._taken(wait_s):
                yield NO_PLACE
                return
            try:
                yield None
            finally:
                self._permits.release()
        finally:
            self._here.discard(sweep)

    async def _taken(self, wait_s: float) -> bool:
        if self._permits.take(reserved=False):
            return True
        try:
            async with asyncio.timeout(wait_s):
                await self._permits.wait(reserved=False)
        except TimeoutError:
            return False
        return True


@cache
def here() -> Places:
    """Those of this process: made on first use, since the framework imports in a master process and forks."""
    together = os.environ.get("FUNCTION_TARGET") == PRIVATE
    return Places(function_table.load().sweeps_at_once if together else 1)
