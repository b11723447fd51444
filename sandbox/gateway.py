"""What stands before the functions, as the platform does: `http://127.0.0.1:<port>/<name>/...` to the process of that name.

Status, headers and bytes pass unchanged and unbuffered in both directions. A process that is down is answered for with 503,
as Cloud Run does when an instance can't be had; one that takes longer than its own timeout, with 504 (and it goes on working).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx
from starlette.responses import JSONResponse

from sandbox.loopback import LoopbackOnly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

# Of one connection, not of the request (RFC 9110, 7.6.1); each side makes its own.
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"})
_OWN = _HOP_BY_HOP | {b"date", b"server"}  # every server on the way writes these itself, ours as well
_KEPT = 2_000


class _Gone(Exception):
    """The caller hung up while its request was being read."""


@dataclass(frozen=True, slots=True)
class Backend:
    """The instances of one function."""

    name: str
    ports: tuple[int, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Passed:
    """One request that passed through: `status` as the caller saw it, `seconds` until its last byte."""

    name: str
    method: str
    status: int
    seconds: float


class Gateway:
    """The reverse proxy; `app` is to be served on loopback.

    Instances of one function take turns; one that refuses the connection is passed over for the next.
    """

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends: Mapping[str, Backend] = {backend.name: backend for backend in backends}
        self._turns: dict[str, Iterator[int]] = {
            backend.name: itertools.cycle(range(len(backend.ports))) for backend in backends
        }
        self.passed: deque[Passed] = deque(maxlen=_KEPT)
        self.app: ASGIApp = LoopbackOnly(self._serve)
        # One connection per request: an idle one that a worker closes, or dies with, would look like a failed request.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._transport = httpx.AsyncHTTPTransport(limits=limits)

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.aclose()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        name, _, rest = path.lstrip(b"/").partition(b"/")
        backend = self._backends.get(name.decode("latin-1"))
        if backend is None:
            await JSONResponse({"error": "no such function"}, HTTPStatus.NOT_FOUND)(scope, receive, send)
            return
        target = b"/" + rest + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        began = time.monotonic()
        forward = _Forward(scope, receive, send, target)
        status = 499  # the caller left, if nothing below says otherwise
        try:
            async with asyncio.timeout(backend.timeout_s):
                await self._forward(backend, forward)
            status = forward.status
        except TimeoutError:
            status = await forward.fail(HTTPStatus.GATEWAY_TIMEOUT, "upstream request timeout")
        except httpx.TransportError as error:
            status = await forward.fail(
                HTTPStatus.SERVICE_UNAVAILABLE, f"instance not available: {type(error).__name__}"
            )
        except _Gone:
            return
        finally:
            self.passed.append(Passed(backend.name, scope["method"], status, time.monotonic() - began))

    async def _forward(self, backend: Backend, forward: _Forward) -> None:
        first = next(self._turns[backend.name])
        for attempt in range(len(backend.ports)):
            port = backend.ports[(first + attempt) % len(backend.ports)]
            try:
                await forward.to(self._transport, port)
            except httpx.ConnectError:
                if attempt == len(backend.ports) - 1:
                    raise
            else:
                return


class _Forward:
    """One request on its way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, target: bytes) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._target = target
        self.status = 0

    async def to(self, transport: httpx.AsyncHTTPTransport, port: int) -> None:
        """Send it to the instance at `port` and the answer back.

        Raises:
            httpx.TransportError: no connection, or it broke.
        """
        headers = [(name, value) for name, value in self._scope["headers"] if name.lower() not in _HOP_BY_HOP]
        has_body = any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in self._scope["headers"])
        request = httpx.Request(
            self._scope["method"],
            f"http://127.0.0.1:{port}/",
            headers=headers,
            content=self._body() if has_body else None,
            extensions={"target": self._target},
        )
        response = await transport.handle_async_request(request)
        try:
            self.status = response.status_code
            back = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _OWN]
            await self._send({"type": "http.response.start", "status": response.status_code, "headers": back})
            async for chunk in response.aiter_raw():
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    async def fail(self, status: HTTPStatus, reason: str) -> int:
        """Answer for the instance; when its own answer had begun, break that off instead. Returns the status."""
        if self.status:
            raise ConnectionResetError(reason)  # the server closes the connection in the middle of the body
        await JSONResponse({"error": reason}, status)(self._scope, self._receive, self._send)
        return int(status)

    async def _body(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            more = message.get("more_body", False)
            if chunk := message.get("body", b""):
                yield chunk
