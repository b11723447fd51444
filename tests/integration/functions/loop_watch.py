"""Sees a call that would hold up the event loop, and work that goes on after an answer. It hears of calls from the interpreter itself."""

from __future__ import annotations

import asyncio
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCKING = frozenset(
    {
        "time.sleep",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "subprocess.Popen",
        "os.system",
        "urllib.Request",
    }
)


class _Watch:
    """Of this process; an audit hook can't be taken away, so it is told when to listen."""

    def __init__(self) -> None:
        self.found: list[str] | None = None
        self.installed = False

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.found is None or event not in _BLOCKING or asyncio._get_running_loop() is None:
            return
        if event == "socket.connect" and arguments[0].gettimeout() == 0:
            return  # it does not wait
        self.found.append(f"{event}\n{''.join(traceback.format_stack(limit=6))}")


_WATCH = _Watch()


@contextmanager
def watched() -> Iterator[list[str]]:
    """What blocked a running event loop meanwhile, with where."""
    if not _WATCH.installed:
        sys.addaudithook(_WATCH.hear)
        _WATCH.installed = True
    found: list[str] = []
    before, _WATCH.found = _WATCH.found, found
    try:
        yield found
    finally:
        _WATCH.found = before
