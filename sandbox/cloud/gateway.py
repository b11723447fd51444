"""What stands before the functions, as the platform does: `http://127.0.0.1:<port>/<name>/...` to the process of that name.

Status, headers and bytes pass unchanged and unbuffered in both directions. A process that is down is answered for with 503,
as Cloud Run does when an instance can't be had; one that takes longer than its own timeout, with 504 (and it goes on working).

It is also the way on which things go wrong when they are told to (`way`, sandbox/stand_in/faults.py): that concerns webhooks only, whose
senders come again by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx
from starlette.responses import JSONResponse

from sandbox.stand_in.faults import FaultInjector
from sandbox.stand_in.loopback import LoopbackOnly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sandbox.stand_in.faults import Injected

# Of one connection, not of the request (RFC 9110, 7.6.1); each side makes its own.
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"})
_OWN = _HOP_BY_HOP | {b"date", b"server"}  # every server on the way writes these itself, ours as well
_KEPT = 2_000


class _Gone(Exception):
    """The caller hung up while its request was being read."""


@dataclass(frozen=True, slots=True)
class Backend:
    """The instances of one function. `webhook`: called from outside, again until it is answered 2xx."""

    name: str
    ports: tuple[int, ...]
    timeout_s: float
    webhook: bool = False


@dataclass(frozen=True, slots=True)
class Passed:
    """One request that passed through: `status` as the caller saw it, `seconds` until its last byte.

    `fault` says what went wrong on the way on purpose: `lost`, `unanswered`, `copy` (a second one that no caller hears of), or
    nothing.
    """

    name: str
    method: str
    status: int
    seconds: float
    fault: str = ""


class Gateway:
    """The reverse proxy; `app` is to be served on loopback.

    Instances of one function take turns; one that refuses the connection is passed over for the next.
    """

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends: Mapping[str, Backend] = {backend.name: backend for backend in backends}
        self._turns: dict[str, Iterator[int]] = {
            backend.name: itertools.cycle(range(len(backend.ports))) for backend in backends
        }
        self.injector = FaultInjector()
        self.passed: deque[Passed] = deque(maxlen=_KEPT)
        self.count = 0  # of all that ever passed
        self._copies: set[asyncio.Task[None]] = set()
        self.app: ASGIApp = LoopbackOnly(self._serve)
        # One connection per request: an idle one that a worker closes, or dies with, would look like a failed request.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._transport = httpx.AsyncHTTPTransport(limits=limits)

    async def close(self) -> None:
        """Let go of connections."""
        for copy in self._copies:
            copy.cancel()
        await asyncio.gather(*self._copies, return_exceptions=True)
        await self._transport.aclose()

    async def idle(self) -> None:
        """Return when no second copy of a webhook is on its way any more."""
        while self._copies:
            await asyncio.wait(self._copies)

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
        injected = self.injector.draw() if backend.webhook and scope["method"] == "POST" else None
        if injected is None:
            await self._pass(backend, _Forward(scope, receive, send, target))
            return
        try:
            body = await _whole(receive)
        except _Gone:
            return
        if injected.copy_after_s is not None and not injected.lost:
            copy = _Forward(scope, _again(body), _unheard, target)
            self._copy(backend, copy, injected.copy_after_s)
        await asyncio.sleep(injected.late_s)
        if not injected.lost:
            heard = _unheard if injected.unanswered else send
            await self._pass(backend, _Forward(scope, _again(body), heard, target), _fault(injected))
        if injected.lost or injected.unanswered:
            await JSONResponse({"error": "lost on the way"}, HTTPStatus.BAD_GATEWAY)(scope, receive, send)
        if injected.lost:
            self._record(Passed(backend.name, scope["method"], HTTPStatus.BAD_GATEWAY, injected.late_s, "lost"))

    def _record(self, passed: Passed) -> None:
        self.passed.append(passed)
        self.count += 1

    def _copy(self, backend: Backend, forward: _Forward, after_s: float) -> None:
        async def follow() -> None:
            await asyncio.sleep(after_s)
            with contextlib.suppress(ConnectionResetError):  # broken off in the middle: no caller is left
                await self._pass(backend, forward, "copy")

        task = asyncio.create_task(follow())
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)

    async def _pass(self, backend: Backend, forward: _Forward, fault: str = "") -> None:
        began = time.monotonic()
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
            self._record(Passed(backend.name, forward.method, status, time.monotonic() - began, fault))

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


def _fault(injected: Injected) -> str:
    return "unanswered" if injected.unanswered else ""


async def _whole(receive: Receive) -> bytes:
    """The body of a request that is to be sent more than once, or later."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _again(body: bytes) -> Receive:
    """What receives that body."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _unheard(_message: Message) -> None:
    """Where an answer goes that has no reader."""


class _Forward:
    """One request on its way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, target: bytes) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._target = target
        self.method: str = scope["method"]
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
