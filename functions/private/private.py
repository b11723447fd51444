"""Every task and every sweep from one service, by path: `/task-settle` is what the service `task-settle` would be (size `small`).

One service wakes up once where eight would eight times, and holds one set of connections. What is per function stays so: its module is
imported at its first request, its time ends by its own row, its log lines, flag, lock and queue are its own, and statements of
tasks and of sweeps have connections of their own (lib/bootstrap.py).
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

import functions_framework.aio

from lib import function_table, log, target
from lib.web import answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response


@functions_framework.aio.http
async def private(request: Request) -> Response:
    """What the function of the path answers; 404 for no private function, 504 when it takes longer than its row allows."""
    row = function_table.load().private().get(request.url.path.removeprefix("/"))
    if row is None:
        return answers.refused(404, "no such function")
    with target.serving(row.name):
        serve = await _entry_point(row)
        limit = asyncio.timeout(row.timeout_s)
        try:
            async with limit:
                return await serve(request)
        except TimeoutError:
            if not limit.expired():
                raise
            log.error("request_timed_out", seconds=row.timeout_s)
            return answers.refused(504, f"took longer than {row.timeout_s} s")


async def _entry_point(row: function_table.Function) -> Callable[[Request], Awaitable[Response]]:
    """Imported on a thread: another function's request goes on meanwhile."""
    module = await asyncio.to_thread(importlib.import_module, row.module)
    serve: Callable[[Request], Awaitable[Response]] = getattr(module, row.name)
    return serve
