"""What a request to the control page may ask for, and how it is turned down."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from sandbox.json_object import json_object

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send


class RefusedError(ValueError):
    """What was asked for makes no sense; the text says why."""


class JsonOnly:
    """ASGI middleware: what changes something says that it is JSON.

    A form can't send that, and a script of another origin would have to ask before it may, which nobody answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is ours."""
        if scope["type"] == "http" and scope["method"] not in {"GET", "HEAD"}:
            headers = Headers(scope=scope)
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
        return json_object(await request.body() or b"{}")
    except ValueError as error:
        raise RefusedError(str(error)) from None


def number(asked: dict[str, Any], name: str, *, least: float = 0.0, most: float = math.inf) -> float:
    """A finite number of the body, `least` and `most` included.

    Raises:
        RefusedError
    """
    value = asked.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not _is_finite(value):
        raise RefusedError(f"{name}: a number is needed")
    if not least <= value <= most:
        raise RefusedError(f"{name}: {value:g} is not between {least:g} and {most:g}")
    return float(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number with hundreds of digits
        return False


def text(asked: dict[str, Any], name: str) -> str:
    """A text of the body that is not empty.

    Raises:
        RefusedError
    """
    value = asked.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RefusedError(f"{name}: a text is needed")
    return value.strip()
