"""The Bot API over HTTP: `/bot<token>/<method>` and `/file/bot<token>/<path>`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.stand_in.pauses import Pauses
from sandbox.telegram.protocol.arguments import parse_arguments
from sandbox.telegram.protocol.errors import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request

    from sandbox.telegram.calls.bot_api import BotApi
    from sandbox.telegram.chats.chats import Chats

_TOKEN = re.compile(r"\d+:[A-Za-z0-9_-]+")


def _failure(error: ApiError) -> JSONResponse:
    body = {"ok": False, "error_code": error.code, "description": error.description}
    return JSONResponse(body, error.code)


class BotApiServer:
    """Routes of one bot. Any other token is refused as the real server refuses it."""

    def __init__(self, token: str, api: BotApi, chats: Chats) -> None:
        self._token = token
        self._api = api
        self._chats = chats

    def routes(self) -> list[Route]:
        """For the application; everything else is `Not Found` in the API's own shape."""
        return [
            Route("/bot{token}/{method}", self._call, methods=["GET", "POST"], middleware=[self._pauses()]),
            Route("/file/bot{token}/{path:path}", self._file, methods=["GET"]),
            Route("/{path:path}", self._not_found, methods=["GET", "POST", "PUT", "DELETE"]),
        ]

    def _pauses(self) -> Middleware:
        faults = self._api.faults
        return Middleware(Pauses, longest_s=lambda: faults.slow_s, dice=lambda: faults.dice)

    def _authorise(self, request: Request) -> None:
        token = request.path_params["token"]
        if not _TOKEN.fullmatch(token):
            raise ApiError(401, "Unauthorized: invalid token specified")
        if token != self._token:
            raise ApiError(401, "Unauthorized")

    async def _call(self, request: Request) -> Response:
        try:
            self._authorise(request)
            content_type = request.headers.get("content-type", "")
            arguments = parse_arguments(content_type, await request.body(), request.url.query)
        except ApiError as error:
            return _failure(error)
        status, body = await self._api.call(request.path_params["method"], arguments)
        retry_after = body.get("parameters", {}).get("retry_after")
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return JSONResponse(body, status, headers=headers)

    async def _file(self, request: Request) -> Response:
        try:
            self._authorise(request)
        except ApiError as error:
            return _failure(error)
        body = self._chats.files.body_at(request.path_params["path"])
        if body is None:
            return _failure(ApiError(404, "Not Found"))
        return Response(body, media_type="application/octet-stream")

    async def _not_found(self, _request: Request) -> Response:
        return _failure(ApiError(404, "Not Found"))
