"""The page's server: its files, one JSON of everything it shows, and the actions behind its buttons."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lib import log
from sandbox.control.actions import Actions
from sandbox.control.asking import RefusedError
from sandbox.control.money import Money
from sandbox.control.time_travel import TimeTravel
from sandbox.control.view import View
from sandbox.stand_in.loopback import JsonOnly, LoopbackOnly, OwnPageOnly

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from sandbox.system.system import System

_PAGE: Final = Path(__file__).with_name("page")
_FILES: Final = frozenset(path.name for path in _PAGE.iterdir())
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Control:
    """Serves one running system; `app` is to be served on loopback. `close` before the system stops."""

    def __init__(self, system: System) -> None:
        self._time_travel = TimeTravel(system)
        self._actions = Actions(system, self._time_travel)
        self._money = Money(system)
        self._view = View(system, self._time_travel, self._money)
        self._busy: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.app = Starlette(
            routes=[
                Route("/", self._file, methods=["GET"]),
                Route("/state", self._state, methods=["GET"]),
                Route("/card-statement.csv", self._card_statement, methods=["GET"]),
                Route("/log/{name}/{instance:int}", self._log, methods=["GET"]),
                Route("/{name}", self._file, methods=["GET"]),
                *(Route(path, self._answering(act), methods=["POST"]) for path, act in self._table().items()),
            ],
            middleware=[Middleware(LoopbackOnly), Middleware(OwnPageOnly), Middleware(JsonOnly)],
        )

    def _table(self) -> dict[str, Callable[[Request], Awaitable[dict[str, Any]]]]:
        act = self._actions
        return {
            "/travel": act.travel,
            "/pass": act.let_pass,
            "/pass/stop": act.stop_travel,
            "/sweep/{name}": act.sweep,
            "/scheduler/{what}": act.scheduler,
            "/tick/{job}/{what}": act.tick,
            "/queue/{name}/{what}": act.queue,
            "/next-task/{name}/{what}": act.next_task,
            "/task/{what}": act.task,
            "/function/{name}/{instance:int}/{what}": act.function,
            "/node/{name}/{what}": act.node,
            "/database/{what}": act.database,
            "/faults": act.faults,
            "/faults/{name}": act.preset,
            "/well": act.all_well,
            "/failpoint/arm": act.arm,
            "/failpoint/disarm": act.disarm,
            "/flag": act.flag,
            "/invoice/{what}": self._money.invoice,
            "/charge/{what}": self._money.charge,
            "/balance/{provider}": self._money.balance,
        }

    async def close(self) -> None:
        """Let no more time pass and end the session with the database."""
        await self._time_travel.close()
        await asyncio.to_thread(self._view.close)

    async def _file(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in _FILES:
            return JSONResponse({"error": "not found"}, 404)
        return FileResponse(_PAGE / name, headers=_HEADERS)

    async def _state(self, _request: Request) -> Response:
        return JSONResponse(await self._view.state(), headers=_HEADERS)

    async def _card_statement(self, _request: Request) -> Response:
        headers = _HEADERS | {"Content-Disposition": "attachment"}
        return Response(self._money.card_statement(), headers=headers, media_type="text/csv")

    async def _log(self, request: Request) -> Response:
        try:
            said = await asyncio.to_thread(self._actions.log, request)
        except RefusedError as error:
            return JSONResponse({"error": str(error)}, 404)
        return PlainTextResponse(said, headers=_HEADERS)

    def _answering(
        self, act: Callable[[Request], Awaitable[dict[str, Any]]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            # One at a time of the same thing: a sweep that waits for a dead database must not keep a user from healing it.
            async with self._busy[request.url.path]:
                try:
                    return JSONResponse(await act(request))
                except RefusedError as error:
                    return JSONResponse({"error": str(error)}, 400)
                except Exception as error:  # noqa: BLE001 - shown to the person who pressed the button, whatever it is
                    return JSONResponse({"error": log.redact(f"{type(error).__name__}: {error}")}, 500)
                finally:
                    self._view.check_again()

        return answer
