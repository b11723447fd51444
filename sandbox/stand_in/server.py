"""Serve an ASGI application on loopback inside the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import uvicorn
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send


class _QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers: the runner owns Ctrl-C."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers alone."""
        yield


def _unmoved(app: ASGIApp) -> ASGIApp:
    """A caller that dies in the middle of its request (kill -9 of a function) is no defect to be told at the terminal."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(ClientDisconnect):
            await app(scope, receive, send)

    return served


class Server:
    """One listening socket on 127.0.0.1, bound at construction, so the port is known before anything starts."""

    def __init__(self, app: ASGIApp, port: int = 0) -> None:
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        # asyncio sets this only on sockets made with an explicit protocol; without it an answer in two writes waits 40 ms.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            _unmoved(app), log_level="warning", lifespan="off", access_log=False, timeout_graceful_shutdown=1
        )
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Base URL without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Begin to accept."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Stop accepting, drop what is open after a second."""
        if self._task is None:
            self._socket.close()
            return
        self._server.should_exit = True
        await self._task
