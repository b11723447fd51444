"""Who may call: a key in `X-API-Key`, compared in constant time against several, before anything else looks at a request."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

_HEADER: Final = b"x-api-key"


class KeyAuthentication:
    """ASGI middleware. No key: 404, as if nothing were here; a wrong one: 401; `GET /` is open (liveness).

    The body of a refused request is never read.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self._app = app
        self._digests = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request with a right key through."""
        if scope["type"] != "http" or (scope["path"] == "/" and scope["method"] in {"GET", "HEAD"}):
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == _HEADER]
        if not given:
            await JSONResponse({"error": "not found"}, 404)(scope, receive, send)
        elif len(given) > 1 or not self._right(given[0]):
            await JSONResponse({"error": "wrong key"}, 401)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _right(self, given: bytes) -> bool:
        """Compare with every key, whichever matches: digests are of one length, and bytes take any header."""
        digest = _digest(given)
        return any([hmac.compare_digest(digest, known) for known in self._digests])  # noqa: C419 - a generator would stop early


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
