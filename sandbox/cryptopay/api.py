"""The HTTP API: `/api/<method>`, parameters in any of the forms the real one takes."""

from __future__ import annotations

import hmac
import json
import time
from decimal import Decimal
from email.message import Message
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox.cryptopay.arguments import ApiError
from sandbox.stand_in.pauses import Pauses

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from sandbox.cryptopay.service import CryptoPayService

_BODY_LIMIT = 1024 * 1024


def api_routes(service: CryptoPayService) -> list[Route]:
    """The API's routes."""

    async def answer(request: Request) -> Response:
        began = time.monotonic()
        method = request.path_params["method"]
        record = service.begin(method, {})
        status, body = 500, {}
        try:
            _authenticate(request.headers.get("crypto-pay-api-token", ""), service.tokens)
            record.params = await read_parameters(request)
            status, body = 200, {"ok": True, "result": await service.call(method, record.params)}
        except ApiError as error:
            record.error = error.name
            status, body = error.code, {"ok": False, "error": {"code": error.code, "name": error.name}}
        finally:
            record.status, record.duration = status, time.monotonic() - began
        return JSONResponse(body, status)

    faults = service.faults
    pauses = Middleware(Pauses, longest_s=lambda: faults.standing.slow_s, dice=lambda: faults.dice)
    return [Route("/api/{method}", answer, methods=["GET", "POST"], middleware=[pauses])]


def _authenticate(said: str, tokens: tuple[str, ...]) -> None:
    if not any(hmac.compare_digest(said.encode(), token.encode()) for token in tokens):
        raise ApiError(401, "UNAUTHORIZED")


async def read_parameters(request: Request) -> dict[str, Any]:
    """Query string and body together, the body winning. JSON numbers keep their digits.

    Raises:
        ApiError: too large, not UTF-8, or not what the content type says.
    """
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _BODY_LIMIT:
            raise ApiError(413, "REQUEST_TOO_LARGE")
    found: dict[str, Any] = dict(request.query_params)
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if not raw:
        return found
    try:
        if kind == "application/json":
            found |= _json(raw)
        elif kind == "multipart/form-data":
            found |= _multipart(raw, content_type)
        else:
            found |= dict(parse_qsl(raw.decode(), keep_blank_values=True))
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "BAD_REQUEST") from error
    return found


def _json(raw: bytes) -> dict[str, Any]:
    found = json.loads(raw.decode(), parse_float=Decimal)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - bad input, not a defect of the caller
    return {name: value for name, value in found.items() if value is not None}


def _multipart(raw: bytes, content_type: str) -> dict[str, Any]:
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + raw)
    found: dict[str, Any] = {}
    parts = message.get_payload()
    if not isinstance(parts, list):
        raise ValueError("no parts")  # noqa: TRY004 - bad input, not a defect of the caller
    for part in parts:
        found |= _part(part)
    return found


def _part(part: object) -> dict[str, str]:
    if isinstance(part, Message):
        name, payload = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            return {name: payload.decode()}
    raise ValueError("a part without a name or a value")
