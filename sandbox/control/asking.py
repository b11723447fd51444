"""What a request to the control page may ask for, and how it is turned down."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send


class RefusedError(ValueError):
    """What was asked for makes no sense; the text says why."""


class OwnPageOnly:
    """ASGI middleware: what changes something is asked by this very page or by a program, never by another page.

    `LoopbackOnly` keeps strangers out; a page that another program of this machine serves on another port is no stranger to
    it. A form can't send JSON, and a script of another origin would have to ask before it may, which nobody answers. So a POST
    must say that it is JSON, and its `Origin`, when a browser sent one, must be ours.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is ours."""
        if scope["type"] == "http" and scope["method"] not in {"GET", "HEAD"}:
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != headers.get("host"):
                refusal = JSONResponse({"error": "another page asks for this"}, HTTPStatus.FORBIDDEN)
                await refusal(scope, receive, send)
                return
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                refusal = JSONResponse({"error": "JSON only"}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request; an empty body is an empty object.

    Raises:
        RefusedError
    """
    try:
        content = json.loads(await request.body() or b"{}")
    except ValueError:
        raise RefusedError("the body must be JSON") from None
    if not isinstance(content, dict):
        raise RefusedError("the body must be an object")
    return content


def number(asked: dict[str, Any], name: str, *, least: float = 0.0, most: float = math.inf) -> float:
    """A finite number of the body, `least` and `most` included.

    Raises:
        RefusedError
    """
    value = asked.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise RefusedError(f"{name}: a number is needed")
    if not least <= value <= most:
        raise RefusedError(f"{name}: {value:g} is not between {least:g} and {most:g}")
    return float(value)


def text(asked: dict[str, Any], name: str) -> str:
    """A text of the body that is not empty.

    Raises:
        RefusedError
    """
    value = asked.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RefusedError(f"{name}: a text is needed")
    return value.strip()
