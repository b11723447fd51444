"""What several checks look at is asked once, by the first of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")


class Once:
    """Answers that are awaited by several; a check that runs out of time leaves the others waiting for theirs."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` answers; asked at the first call with this key. Its error is every caller's."""
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(_awaited(ask))
        return cast("T", await asyncio.shield(self._tasks[key]))

    async def close(self) -> None:
        """Ask no further."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()


async def _awaited(ask: Callable[[], Awaitable[T]]) -> T:
    return await ask()
