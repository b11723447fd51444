"""The page's server: three static files, one JSON of everything it shows, and the actions behind its buttons."""

from __future__ import annotations

import asyncio
import json
import math
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

from sandbox.control.view import View
from sandbox.loopback import LoopbackOnly

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from sandbox.system import System

_PAGE: Final = Path(__file__).with_name("page")
_FILES: Final = {"": "index.html", "control.js": "control.js", "control.css": "control.css"}
_LONGEST_TRAVEL: Final = timedelta(days=366)
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


class _RefusedError(ValueError):
    """What was asked for makes no sense; the text says why."""


class Control:
    """Serves one running system; `app` is to be served on loopback."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._view = View(system)
        self._one_at_a_time = asyncio.Lock()
        act = self._action
        self.app = Starlette(
            routes=[
                Route("/", self._file, methods=["GET"]),
                Route("/state", self._state, methods=["GET"]),
                Route("/{name}", self._file, methods=["GET"]),
                Route("/sweep/{name}", act(self._sweep), methods=["POST"]),
                Route("/travel", act(self._travel), methods=["POST"]),
                Route("/node/{what}", act(self._node), methods=["POST"]),
                Route("/scheduler/{what}", act(self._scheduler), methods=["POST"]),
                Route("/task", act(self._task), methods=["POST"]),
            ],
            middleware=[Middleware(LoopbackOnly)],
        )

    async def _file(self, request: Request) -> Response:
        name = _FILES.get(request.path_params.get("name", ""))
        if name is None:
            return JSONResponse({"error": "not found"}, 404)
        headers = {
            "Content-Security-Policy": _POLICY,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return FileResponse(_PAGE / name, headers=headers)

    async def _state(self, _request: Request) -> Response:
        return JSONResponse(await self._view.state(), headers={"Cache-Control": "no-store"})

    def _action(self, act: Callable[[Request], Awaitable[dict[str, Any]]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            async with self._one_at_a_time:
                try:
                    return JSONResponse(await act(request))
                except _RefusedError as error:
                    return JSONResponse({"error": str(error)}, 400)
                except Exception as error:  # noqa: BLE001 - shown to the person who pressed the button, whatever it is
                    return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 500)

        return answer

    async def _sweep(self, request: Request) -> dict[str, Any]:
        name = request.path_params["name"]
        if name not in self._system.sweeps:
            raise _RefusedError(f"no sweep {name!r}; there are: {', '.join(self._system.sweeps)}")
        return await self._system.sweep(name)

    async def _travel(self, request: Request) -> dict[str, Any]:
        asked = await _body(request)
        seconds = asked.get("seconds")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not math.isfinite(seconds):
            raise _RefusedError("seconds: a number is needed")
        if not 0 < seconds <= _LONGEST_TRAVEL.total_seconds():
            raise _RefusedError("time goes forward only, and at most a year at once")
        await self._system.travel(timedelta(seconds=seconds))
        return {"now": self._system.clock.now().isoformat()}

    async def _node(self, request: Request) -> dict[str, Any]:
        node = self._system.node
        match request.path_params["what"]:
            case "down":
                await node.kill()
            case "up":
                await node.start()
            case other:
                raise _RefusedError(f"a node goes down or up, not {other!r}")
        return {"running": node.service.running}

    async def _scheduler(self, request: Request) -> dict[str, Any]:
        what = request.path_params["what"]
        if what not in {"on", "off"}:
            raise _RefusedError(f"the scheduler is on or off, not {what!r}")
        await self._system.switch_scheduler(on=what == "on")
        return {"on": self._system.scheduler_is_on}

    async def _task(self, request: Request) -> dict[str, Any]:
        name = (await _body(request)).get("name")
        if name not in self._system.tasks.tasks:
            raise _RefusedError("no such task waits any more")
        self._system.tasks.run_now(str(name))
        return {}


async def _body(request: Request) -> dict[str, Any]:
    try:
        content = json.loads(await request.body())
    except ValueError:
        raise _RefusedError("the body must be JSON") from None
    if not isinstance(content, dict):
        raise _RefusedError("the body must be an object")
    return content
