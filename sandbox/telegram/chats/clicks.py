"""Clicks as the app sends them: again, with new ids, while no answer comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.stand_in.clock import Clock
    from sandbox.telegram.state.queries import Queries
    from sandbox.telegram.updates.delivery import Timing
    from sandbox.telegram.updates.updates import Updates


class Clicks:
    """What people pressed. A click is known by the id of its first query; the bot may answer any of them."""

    def __init__(self, queries: Queries, updates: Updates, clock: Clock, timing: Timing) -> None:
        self._queries = queries
        self._updates = updates
        self._clock = clock
        self._timing = timing
        # By the id of a query sent again: the id of the first one.
        self._first: dict[str, str] = {}
        self._waiting: dict[str, asyncio.Task[None]] = {}

    def send(self, user_id: int, query: Callable[[], dict[str, Any]]) -> str:
        """Send a click, with what `query` gives at each sending (its message as it then is); the answer is its id."""
        query_id = self._ask(user_id, query)
        if self._timing.click_resends:
            waiting = asyncio.create_task(self._send_again(query_id, user_id, query))
            self._waiting[query_id] = waiting
            waiting.add_done_callback(lambda _task: self._waiting.pop(query_id, None))
        return query_id

    def _ask(self, user_id: int, query: Callable[[], dict[str, Any]]) -> str:
        query_id = self._queries.ask(user_id)
        self._updates.emit("callback_query", {"id": query_id, **query()})
        return query_id

    async def _send_again(self, first: str, user_id: int, query: Callable[[], dict[str, Any]]) -> None:
        for _ in range(self._timing.click_resends):
            await self._clock.sleep(self._timing.click_resend)
            self._first[self._ask(user_id, query)] = first

    def answer(self, query_id: str) -> tuple[int, str]:
        """Who pressed, and the click's id; it is not sent again.

        Raises:
            ApiError: unknown, answered before, or too old.
        """
        user_id = self._queries.answer(query_id)
        first = self._first.get(query_id, query_id)
        waiting = self._waiting.pop(first, None)
        if waiting is not None:
            waiting.cancel()
        return user_id, first

    def stop(self) -> None:
        """Send nothing again any more."""
        for waiting in list(self._waiting.values()):
            waiting.cancel()
        self._waiting.clear()
