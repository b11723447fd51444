"""Only this machine's own pages and programs may talk to a stand-in.

Listening on 127.0.0.1 is not enough: a page of any web site can send requests there from the person's browser, and by DNS
rebinding even under a name of its own. So `Host` must be a loopback name, and `Origin`, where there is one, must be too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def _is_loopback(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.hostname in _NAMES and parts.username is None


class LoopbackOnly:
    """ASGI middleware: 403 for a foreign `Host` or `Origin`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is ours."""
        if scope["type"] in {"http", "websocket"}:
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            foreign_origin = origin is not None and not _is_loopback(origin)
            if foreign_origin or not _is_loopback(f"//{headers.get('host', '')}"):
                await PlainTextResponse("this address is for this machine only\n", 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)
