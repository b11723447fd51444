"""Works that wait for different things (nodes, providers), at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable


async def all_of(works: Iterable[Awaitable[None]]) -> None:
    """Let every one end before the first failure is raised."""
    ends = await asyncio.gather(*works, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
