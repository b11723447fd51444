"""Waiting for what another task, thread or process does: for a condition, bounded, as long as a machine ten times slower would need.

Here stand the only pauses that tests of everything may take (`tests/lint/test_no_fixed_pauses.py`): one look after the other.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_BETWEEN_LOOKS_S = 0.01
_TURNS = 300  # a call between two servers of this process takes some thirty


async def until(
    condition: Callable[[], object | Awaitable[object]],
    what: str = "what was waited for",
    seconds: float = 30,
    every: float = _BETWEEN_LOOKS_S,
) -> Any:
    """What the condition gives once that is true; it may be a coroutine function, and is looked at every so many seconds.

    Raises:
        AssertionError: it was not within so many real seconds; `what` says what never came.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(every)


def wait_until(condition: Callable[[], object], what: str = "what was waited for", seconds: float = 30) -> Any:
    """The same for a test without an event loop."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(_BETWEEN_LOOKS_S)
    return found


async def all_that_can_happen() -> None:
    """Let every task of this loop run on until it waits for time or for a test: before one says that something did not happen.

    It counts turns of the loop and no seconds. Stand-ins and their servers run in the loop of the test, and the loopback device
    delivers within a turn, so what is not under way after so many needs another push. Not for what threads and processes do.
    """
    for _ in range(_TURNS):
        await asyncio.sleep(0)
