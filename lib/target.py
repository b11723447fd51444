"""Which function this code answers as.

A service of its own has it in `FUNCTION_TARGET`. The service that serves every private function (functions/private/private.py) says it
for each request, and everything made for that request (tasks, threads, log lines) sees it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_served: ContextVar[str] = ContextVar("target", default="")


def name() -> str:
    """The target, or "" outside any."""
    return _served.get() or os.environ.get("FUNCTION_TARGET", "")


@contextmanager
def serving(target: str) -> Iterator[None]:
    """Answer as `target` within."""
    token = _served.set(target)
    try:
        yield
    finally:
        _served.reset(token)
