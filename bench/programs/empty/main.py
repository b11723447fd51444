"""P2 (a): the least that functions-framework can serve. Its cold start is the framework's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework.aio
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request


@functions_framework.aio.http
async def empty(_request: Request) -> Response:
    """200 with `{"ok": true}`."""
    return JSONResponse({"ok": True})
