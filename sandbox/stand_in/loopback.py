"""Only this machine's own pages and programs may talk to a stand-in, and only its own page may change anything.

Listening on 127.0.0.1 is not enough: a page of any web site can send requests there from the person's browser, and by DNS
rebinding even under a name of its own. So `Host` must be a loopback name, and `Origin`, where there is one, must be too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_LOOKS = frozenset({"GET", "HEAD"})


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


class OwnPageOnly:
    """ASGI middleware: what changes something is asked by this very page or by a program, never by another page.

    `LoopbackOnly` keeps strangers out; a page that another program of this machine serves on another port is no stranger to
    it. So the `Origin` of anything but a look, when a browser sent one, must be the address it goes to.

    Args:
        even_looks: so must a look's.
    """

    def __init__(self, app: ASGIApp, *, even_looks: bool = False) -> None:
        self._app = app
        self._free = frozenset() if even_looks else _LOOKS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is ours."""
        if scope["type"] == "http" and scope["method"] not in self._free:
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != headers.get("host"):
                await PlainTextResponse("another page asks for this\n", 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class JsonOnly:
    """ASGI middleware: what changes something says that it is JSON.

    A form can't send that, and a script of another origin would have to ask before it may, which is not answered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is ours."""
        if scope["type"] == "http" and scope["method"] not in _LOOKS:
            headers = Headers(scope=scope)
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                refusal = JSONResponse({"error": "JSON only"}, 415)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
