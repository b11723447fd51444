"""What the platform's probes are answered, in front of every function: `GET /alive` (functions/probes.json).

It is answered by the worker's own loop and before the function's code, without settings, secrets or Postgres: a worker that is
stopped, that loops or that hangs in a lock does not answer and is replaced; a database that is away replaces no worker, and
keeps none from starting. What it tells is that a process runs, and nothing else.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from lib import bootstrap, failpoints, function_table
from lib.web import answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

STUCK_S = 60.0
"""Beyond the longest request, a transaction that is under way for so much longer will not end: each of its steps is bounded."""


def answering(function: Callable[[Request], Awaitable[Any]], target: str) -> Callable[[Request], Awaitable[Any]]:
    """The function with the answer to probes in front of it.

    Args:
        function: an entry point.
        target: its name in the table.
    """
    path = function_table.probes().path
    longest_s = function_table.load().longest_s(target) + STUCK_S

    @wraps(function)
    async def entry(request: Request) -> Any:
        if request.method == "GET" and request.url.path == path:
            return _answer(longest_s)
        failpoints.reach(f"{target}.request")
        return await function(request)

    return entry


def _answer(longest_s: float) -> Response:
    """200; 503 once a thread of the worker hangs in a transaction: it holds one of few connections, and nothing else frees it."""
    if bootstrap.transaction_age_s() > longest_s:
        return answers.unavailable("a transaction hangs")
    return answers.ok()
