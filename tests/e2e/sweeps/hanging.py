"""A node that takes calls and does not answer them: what a function does meanwhile can be looked at, without a race."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.stand_in.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from sandbox.system.system import System


class HangingNode:
    """Serves `POST /apply` on loopback; `called` is set by the first call, `let_go` refuses them all."""

    def __init__(self) -> None:
        self._server = Server(Starlette(routes=[Route("/apply", self._apply, methods=["POST"])]))
        self._go = asyncio.Event()
        self.called = asyncio.Event()
        self.calls = 0

    @property
    def url(self) -> str:
        return self._server.url

    async def _apply(self, _request: Request) -> Response:
        self.calls += 1
        self.called.set()
        await self._go.wait()
        return JSONResponse({"error": "no"}, 400)

    def let_go(self) -> None:
        """Refuse everything from now on, for good (400: no retry)."""
        self._go.set()

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.let_go()
        await self._server.stop()


@asynccontextmanager
async def in_place_of_the_node(system: System) -> AsyncIterator[HangingNode]:
    """The functions of the system call this one instead of the first of the two real nodes."""
    change = "update nodes set api_url = :url where name = 'first'"
    async with HangingNode() as node:
        await system.sql(change, url=node.url)
        try:
            yield node
        finally:
            await system.sql(change, url=system.nodes[0].url)
