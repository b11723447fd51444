"""The v2 REST API over the queues, in the wire form of the real service (proto3 JSON, `{"error": {...}}`)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from google.cloud.tasks_v2.types import cloudtasks as requests
from google.cloud.tasks_v2.types import queue as queue_types
from google.cloud.tasks_v2.types import task as task_types
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox.cloudtasks.errors import ApiError
from sandbox.cloudtasks.queues import Queue
from sandbox.loopback import LoopbackOnly

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from sandbox.cloudtasks.queues import StoredTask
    from sandbox.cloudtasks.service import CloudTasks

_PATH = re.compile(
    r"(?P<location>projects/[^/]+/locations/[^/]+)/queues"
    r"(?:/(?P<queue>[^/:]+)(?:(?P<tasks>/tasks)(?:/(?P<task>[^/:]+))?)?)?(?::(?P<verb>[A-Za-z]+))?"
)
_BODY_LIMIT = 4 * 1024 * 1024
_PAGE = 1000


def make_app(service: CloudTasks) -> Starlette:
    """The application: API, and the key set of the tokens."""
    api = _Api(service)

    async def keys(_request: Request) -> Response:
        return JSONResponse(service.signer.jwks())

    async def configuration(request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": "https://accounts.google.com",
                "jwks_uri": f"{request.base_url}oauth2/v3/certs",
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    methods = ["GET", "POST", "DELETE", "PATCH"]
    return Starlette(
        routes=[
            Route("/oauth2/v3/certs", keys),
            Route("/.well-known/openid-configuration", configuration),
            Route("/v2/{path:path}", api.answer, methods=methods),
        ],
        middleware=[Middleware(LoopbackOnly)],
    )


class _Call:
    """One request, taken apart."""

    def __init__(self, request: Request, body: bytes) -> None:
        match = _PATH.fullmatch(request.path_params["path"])
        if match is None:
            raise ApiError(404, "The requested URL was not found on this server.")
        self.location: str = match["location"]
        self.queue: str = match["queue"] or ""
        self.parent = f"{self.location}/queues/{self.queue}"
        self.name = f"{self.parent}/tasks/{match['task']}"
        self.query = request.query_params
        self.body = body
        kind = "task" if match["task"] else "tasks" if match["tasks"] else "queue" if match["queue"] else "queues"
        self.key = f"{request.method} {kind}{':' + match['verb'] if match['verb'] else ''}"

    def parse(self, message: Any) -> Any:
        """The body as that message; strict about names, types, times and enumerations."""
        try:
            json_format.Parse(self.body or b"{}", message)
        except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
            detail = str(error).splitlines()[0]
            raise ApiError(400, f"Invalid JSON payload received. {detail}") from error
        return message


class _Api:
    def __init__(self, service: CloudTasks) -> None:
        self._service = service
        self._methods: dict[str, Callable[[_Call], Any]] = {
            "GET queues": self._list_queues,
            "POST queues": self._create_queue,
            "GET queue": self._queue_message,
            "POST queue:pause": lambda call: self._change(call, service.pause),
            "POST queue:resume": lambda call: self._change(call, service.resume),
            "POST queue:purge": lambda call: self._change(call, service.purge),
            "POST tasks": self._create_task,
            "GET tasks": self._list_tasks,
            "GET task": lambda call: _shown(self._task(call).message, call.query.get("responseView")),
            "DELETE task": self._delete_task,
            "POST task:run": self._run_task,
        }

    async def answer(self, request: Request) -> Response:
        """Any call below /v2."""
        try:
            body = b""
            async for chunk in request.stream():
                body += chunk
                if len(body) > _BODY_LIMIT:
                    raise ApiError(400, "Request payload size exceeds the limit.")
            call = _Call(request, body)
            method = self._methods.get(call.key)
            if method is None:
                raise ApiError(501, f"the sandbox's Cloud Tasks has no {call.key}")
            return JSONResponse(method(call))
        except ApiError as error:
            return JSONResponse(error.body(), error.code)

    # -- queues --------------------------------------------------------------------------------------------------------

    def _known(self, call: _Call) -> str:
        if call.queue not in self._service.queues:
            raise ApiError(404, "Queue does not exist.")
        return call.queue

    def _queue_message(self, call: _Call) -> Any:
        name = self._known(call)
        service = self._service
        message = service.queues[name].message(
            call.parent, paused=service.is_paused(name), purged=service.purged.get(name)
        )
        return json_format.MessageToDict(message)

    def _change(self, call: _Call, change: Callable[[str], None]) -> Any:
        change(self._known(call))
        return self._queue_message(call)

    def _list_queues(self, call: _Call) -> Any:
        names = sorted(self._service.queues)
        page, token = _page(call, names)
        found = [
            json_format.MessageToDict(
                self._service.queues[name].message(
                    f"{call.location}/queues/{name}",
                    paused=self._service.is_paused(name),
                    purged=self._service.purged.get(name),
                )
            )
            for name in page
        ]
        return {"queues": found, **token}

    def _create_queue(self, call: _Call) -> Any:
        message = call.parse(queue_types.Queue.pb(queue_types.Queue()))
        location, _, name = message.name.rpartition("/queues/")
        if location != call.location:
            raise ApiError(400, f'Queue name must start with "{call.location}/queues/".')
        if name in self._service.queues:
            raise ApiError(409, "Queue already exists")
        try:
            self._service.add_queue(Queue.from_message(name, message))
        except ValueError as error:
            raise ApiError(400, "Queue ID can contain letters, numbers, or hyphens, at most 100.") from error
        self._service.dispatcher(name).start()
        call.queue, call.parent = name, message.name
        return self._queue_message(call)

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def _task(self, call: _Call) -> StoredTask:
        self._known(call)
        task = self._service.tasks.get(call.name)
        if task is None:
            raise ApiError(
                404, "The task no longer exists, either because it was deleted or completed, or it never existed."
            )
        return task

    def _create_task(self, call: _Call) -> Any:
        request = call.parse(requests.CreateTaskRequest.pb(requests.CreateTaskRequest()))
        if not request.HasField("task"):
            raise ApiError(400, "Task must be set.")
        _check_base64(call.body)
        return _shown(self._service.create(call.parent, request.task), request.response_view)

    def _list_tasks(self, call: _Call) -> Any:
        self._known(call)
        here = f"{call.parent}/tasks/"
        names = sorted(name for name in self._service.tasks if name.startswith(here))
        page, token = _page(call, names)
        view = call.query.get("responseView")
        return {"tasks": [_shown(self._service.tasks[name].message, view) for name in page], **token}

    def _delete_task(self, call: _Call) -> Any:
        self._service.forget(self._task(call))
        return {}

    def _run_task(self, call: _Call) -> Any:
        request = call.parse(requests.RunTaskRequest.pb(requests.RunTaskRequest()))
        self._task(call)
        return _shown(self._service.run_now(call.name).message, request.response_view)


def _shown(message: Any, view: int | str | None) -> Any:
    """The task as JSON; the body only in the FULL view."""
    full = task_types.Task.View.FULL
    copy = type(message)()
    copy.CopyFrom(message)
    if str(view) not in {"FULL", str(int(full))}:
        copy.http_request.ClearField("body")
        copy.view = task_types.Task.View.BASIC
    else:
        copy.view = full
    return json_format.MessageToDict(copy)


def _page(call: _Call, names: list[str]) -> tuple[list[str], dict[str, str]]:
    """One page of names, and the token of the next: the last name shown."""
    try:
        size = int(call.query.get("pageSize") or _PAGE)
        after = base64.urlsafe_b64decode(call.query.get("pageToken", "")).decode()
    except (ValueError, binascii.Error) as error:
        raise ApiError(400, "Invalid page size or token.") from error
    if size < 0:
        raise ApiError(400, "Invalid page size.")
    rest = [name for name in names if name > after]
    page = rest[: min(size, _PAGE)]
    if len(rest) == len(page):
        return page, {}
    return page, {"nextPageToken": base64.urlsafe_b64encode(page[-1].encode()).decode()}


def _check_base64(body: bytes) -> None:
    """The JSON parser of protobuf lets characters that are not base64 pass; the real service doesn't."""
    task = json.loads(body)["task"]
    request = task.get("httpRequest") or task.get("http_request") or {}
    text = request.get("body") or ""
    try:
        padded = text.replace("-", "+").replace("_", "/").rstrip("=")
        base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except (ValueError, binascii.Error) as error:
        raise ApiError(
            400, "Invalid value at 'task.http_request.body' (TYPE_BYTES), Base64 decoding failed."
        ) from error
