"""The v2 REST API: requests taken apart into the messages of `operations`, in proto3 JSON, errors as `{"error": {...}}`."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox.cloud.cloudtasks.errors import ApiError, not_modelled
from sandbox.stand_in.loopback import LoopbackOnly, OwnPageOnly

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from sandbox.cloud.cloudtasks.operations import Operations
    from sandbox.cloud.cloudtasks.service import TaskService

_PATH = re.compile(
    r"(?P<location>projects/[^/]+/locations/[^/]+)/queues"
    r"(?:/(?P<queue>[^/:]+)(?:(?P<tasks>/tasks)(?:/(?P<task>[^/:]+))?)?)?(?::(?P<verb>[A-Za-z]+))?"
)
_BODY_LIMIT = 4 * 1024 * 1024
CALLERS = "/callers/"
"""Below it, and its name, a function has an API of its own: it stands for the service account that a deployed one calls with."""
_SYSTEM_PARAMETERS = frozenset({"alt", "prettyPrint", "key", "fields", "quotaUser", "access_token"})


@dataclass(frozen=True, slots=True)
class _Rule:
    """Of google.api.http: which method, where the path goes, what the body is ("*": the request, else a field, None: nothing)."""

    method: str
    path: str
    body: str | None = None


_RULES = {
    "GET queues": _Rule("ListQueues", "parent"),
    "POST queues": _Rule("CreateQueue", "parent", "queue"),
    "GET queue": _Rule("GetQueue", "name"),
    "PATCH queue": _Rule("UpdateQueue", "queue.name", "queue"),
    "DELETE queue": _Rule("DeleteQueue", "name"),
    "POST queue:pause": _Rule("PauseQueue", "name", "*"),
    "POST queue:resume": _Rule("ResumeQueue", "name", "*"),
    "POST queue:purge": _Rule("PurgeQueue", "name", "*"),
    "GET tasks": _Rule("ListTasks", "parent"),
    "POST tasks": _Rule("CreateTask", "parent", "*"),
    "POST tasks:batchCreate": _Rule("BatchCreateTasks", "parent", "*"),
    "POST tasks:batchDelete": _Rule("BatchDeleteTasks", "parent", "*"),
    "GET task": _Rule("GetTask", "name"),
    "DELETE task": _Rule("DeleteTask", "name"),
    "POST task:run": _Rule("RunTask", "name", "*"),
}


def make_app(service: TaskService, operations: Operations) -> Starlette:
    """The application: API, and the keys of the tokens."""

    async def keys(_request: Request) -> Response:
        return JSONResponse(service.signer.jwks())

    async def certificates(_request: Request) -> Response:
        return JSONResponse(service.signer.certificates)

    async def configuration(request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": "https://accounts.google.com",
                "jwks_uri": f"{request.base_url}oauth2/v3/certs",
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(await _answer(service, operations, request))
        except ApiError as error:
            return JSONResponse(error.body(), error.code)

    methods = ["GET", "POST", "DELETE", "PATCH"]
    return Starlette(
        routes=[
            Route("/oauth2/v1/certs", certificates),
            Route("/oauth2/v3/certs", keys),
            Route("/.well-known/openid-configuration", configuration),
            Route("/v2/{path:path}", answer, methods=methods),
            Route(f"{CALLERS}{{caller}}/v2/{{path:path}}", answer, methods=methods),
        ],
        middleware=[Middleware(LoopbackOnly), Middleware(OwnPageOnly)],
    )


async def _answer(service: TaskService, operations: Operations, request: Request) -> Any:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_LIMIT:
            raise ApiError(400, "Request payload size exceeds the limit.")
    match = _PATH.fullmatch(request.path_params["path"])
    if match is None:
        raise ApiError(404, "The requested URL was not found on this server.")
    caller, queue = request.path_params.get("caller"), match["queue"]
    if caller is not None and queue not in service.grants.get(caller, ()):
        raise ApiError(
            403, f'The principal lacks IAM permission "cloudtasks.tasks.create" for the resource "{match[0]}".'
        )
    kind = "task" if match["task"] else "tasks" if match["tasks"] else "queue" if match["queue"] else "queues"
    key = f"{request.method} {kind}{':' + match['verb'] if match['verb'] else ''}"
    if (rule := _RULES.get(key)) is None:
        raise not_modelled(key)
    method = operations.methods[rule.method]
    message = method.request()
    _read_query(request, message)
    if rule.body is not None:
        _read_body(body, message if rule.body == "*" else getattr(message, rule.body))
    if caller is not None:
        _may_act(service, caller, message)
    *parents, field = rule.path.split(".")
    place = match["location"]
    if kind != "queues":
        place += f"/queues/{match['queue']}"
    if kind == "task":
        place += f"/tasks/{match['task']}"
    setattr(getattr(message, parents[0]) if parents else message, field, place)
    return json_format.MessageToDict(method.answer(message))


def _may_act(service: TaskService, caller: str, message: Any) -> None:
    """The maker of a task needs the right to act as the account that the task calls as."""
    for one in getattr(message, "requests", [message]):
        account = one.task.http_request.oidc_token.service_account_email if hasattr(one, "task") else ""
        if account and account not in service.acts_as.get(caller, ()):
            raise ApiError(403, f'The principal lacks IAM permission "iam.serviceAccounts.actAs" for "{account}".')


def _read_query(request: Request, message: Any) -> None:
    given = {
        name: value
        for name, value in request.query_params.items()
        if not name.startswith("$") and name not in _SYSTEM_PARAMETERS
    }
    try:
        json_format.ParseDict(given, message)
    except json_format.ParseError as error:
        raise ApiError(400, f"Invalid query parameter received. {str(error).splitlines()[0]}") from error


def _read_body(body: bytes, message: Any) -> None:
    """The body as that message; strict about names, types, times, enumerations and base64."""
    try:
        json_format.Parse(body or b"{}", message)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"Invalid JSON payload received. {str(error).splitlines()[0]}") from error
    if isinstance(given := json.loads(body or b"{}"), dict):
        for one in (given, *(given.get("requests") or ())):
            _check_base64(one.get("task") or {})


def _check_base64(task: Any) -> None:
    """The JSON parser of protobuf lets characters that are not base64 pass; the real service doesn't."""
    request = task.get("httpRequest") or task.get("http_request") or {}
    text = request.get("body") or ""
    try:
        padded = text.replace("-", "+").replace("_", "/").rstrip("=")
        base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except (ValueError, binascii.Error) as error:
        raise ApiError(
            400, "Invalid value at 'task.http_request.body' (TYPE_BYTES), Base64 decoding failed."
        ) from error
