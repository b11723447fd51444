"""A server for a whole session of tests, each of which puts an application of its own behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.stand_in.server import Server

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Endpoint:
    """A server that outlives its application: binding and stopping one per test would cost most of the time."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None
        self.server = Server(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.app is None:
            raise RuntimeError("no test is running")
        await self.app(scope, receive, send)
