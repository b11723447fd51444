"""What the control page is sent is understood or refused in words, never a failure of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.control.asking import RefusedError, body_of, number, text
from sandbox.stand_in.loopback import JsonOnly, LoopbackOnly, OwnPageOnly

if TYPE_CHECKING:
    from starlette.requests import Request

JSON = {"Content-Type": "application/json"}


async def _answer(request: Request) -> Response:
    try:
        asked = await body_of(request)
        return JSONResponse([number(asked, "seconds"), text(asked, "place")])
    except RefusedError as error:
        return JSONResponse({"error": str(error)}, 400)


async def _post(raw: str, **headers: str) -> int:
    guards = [Middleware(LoopbackOnly), Middleware(OwnPageOnly), Middleware(JsonOnly)]
    app = Starlette(routes=[Route("/", _answer, methods=["POST"])], middleware=guards)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8") as client:
        return (await client.post("/", content=raw, headers=JSON | headers)).status_code


async def test_sense_is_answered() -> None:
    assert await _post('{"seconds": 1.5, "place": "here"}') == 200


@pytest.mark.parametrize(
    "raw",
    [
        '{"place": "here", "seconds": 1' + 400 * "0" + "}",
        '{"place": "here", "seconds": 1' + 5000 * "0" + "}",
        '{"place": "here", "seconds": NaN}',
        '{"place": "\\ud800", "seconds": 1}',
        "[" * 100_000,
        "[]",
        "{",
    ],
)
async def test_nonsense_is_refused(raw: str) -> None:
    assert await _post(raw) == 400


async def test_only_the_page_itself_and_programs_change_anything_and_they_say_json() -> None:
    sense = '{"seconds": 1, "place": "here"}'
    assert await _post(sense, Origin="http://127.0.0.1:8") == 200
    assert await _post(sense, Origin="http://127.0.0.1:9") == 403
    assert await _post(sense, Origin="http://localhost:8") == 403
    assert await _post(sense, **{"Content-Type": "text/plain"}) == 415
