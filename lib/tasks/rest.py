"""Cloud Tasks by its REST API: one POST, no client library (its import alone costs a public function 0.25 s).

By the standard library's HTTP client, on threads: the framework has imported it already, where httpx would take 40 ms of
the first answer (20 of them for certificates that no local or metadata server needs).
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lib import json_reader
from lib.tasks.queue import QueueUnavailable

if TYPE_CHECKING:
    from lib.settings.plain import TasksSettings
    from lib.tasks.queue import Task

SERVICE = "https://cloudtasks.googleapis.com"
_METADATA = "http://metadata.google.internal"
_TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 -- an address
_CONNECT_S, _ANSWER_S = 1.0, 2.0
_IDLE_S = 20.0
"""How long a connection is worth keeping: one that slept longer, a frozen instance's say, is rather made anew."""
_OK, _CONFLICT = 200, 409
_MOST_BYTES = 64 * 1024
"""A task as the service answers with it is a hundredth of it, a token a tenth."""
_LONGEST_LIFE_S = 86_400.0
_TOKEN = re.compile(r"[!-~]{1,16384}")


def function_url(settings: TasksSettings, service: str) -> str:
    """Where a function is called."""
    return settings.url_template.replace("{name}", service)


def invoker(settings: TasksSettings, queue: str) -> str:
    """As whom a queue's tasks call: an account of that queue's own where the setting has {queue}; empty for no token."""
    return settings.invoker.replace("{queue}", queue)


class _Server:
    """One server and its idle connections, for any number of threads."""

    def __init__(self, base: str) -> None:
        self._address = urlsplit(base)
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body. A kept connection that turns out to be dead is replaced once.

        Raises:
            OSError, http.client.HTTPException: no answer; the request may have been taken.
        """
        kept = self._kept()
        if kept is not None:
            try:
                return self._on(kept, method, path, body, headers)
            except (ConnectionError, http.client.BadStatusLine, ssl.SSLEOFError):
                pass  # closed by the other side while it was idle; a task made twice has the same name
        return self._on(self._fresh(), method, path, body, headers)

    def _on(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        try:
            connection.request(method, self._address.path + path, body, headers)
            response = connection.getresponse()
            status, answer = response.status, response.read(_MOST_BYTES + 1)
            if len(answer) > _MOST_BYTES:
                raise http.client.HTTPException("an answer of more than 64 KiB")
        except BaseException:
            connection.close()
            raise
        if response.will_close or not response.isclosed():
            connection.close()
        else:
            with self._lock:
                self._idle.append((time.monotonic(), connection))
        return status, answer

    def _kept(self) -> http.client.HTTPConnection | None:
        with self._lock:
            while self._idle:
                since, connection = self._idle.pop()
                if time.monotonic() - since < _IDLE_S:
                    return connection
                connection.close()
        return None

    def _fresh(self) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._address.scheme == "https":
            with self._lock:
                self._tls = self._tls or ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=_CONNECT_S, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_CONNECT_S)
        connection.connect()
        connection.sock.settimeout(_ANSWER_S)
        return connection


def _token(body: bytes) -> tuple[str, float]:
    """What the metadata server answered: a token as a header takes it, and for how many seconds it is good."""
    try:
        answer = json_reader.read_object(body)
    except json_reader.UnreadableJson:
        answer = {}
    token, lives_s = answer.get("access_token"), answer.get("expires_in")
    readable = isinstance(token, str) and _TOKEN.fullmatch(token) and type(lives_s) in {int, float}
    if not readable or not 0 <= lives_s <= _LONGEST_LIFE_S:  # type: ignore[operator] # a number, as looked at above
        raise QueueUnavailable("metadata server: unreadable answer")
    return str(token), float(lives_s)  # type: ignore[arg-type] # as above


class RestTaskQueue:
    """Fills `TaskQueue`."""

    def __init__(self, settings: TasksSettings) -> None:
        self._settings = settings
        self._service = _Server(settings.endpoint or SERVICE)
        self._metadata = _Server(_METADATA)
        self._token = ""
        self._token_until = 0.0

    async def create(self, task: Task) -> bool:
        """See `TaskQueue.create`."""
        return await asyncio.to_thread(self._create, task)

    def _create(self, task: Task) -> bool:
        queue = f"projects/{self._settings.project}/locations/{self._settings.location}/queues/{task.queue}"
        body = json.dumps({"task": self._resource(queue, task)}).encode()
        try:
            headers = {"Content-Type": "application/json"} | self._authorization()
            status, _ = self._service.ask("POST", f"/v2/{queue}/tasks", body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a chunk of less than nothing
            raise QueueUnavailable(type(error).__name__) from None
        if status == _CONFLICT:
            return False
        if status != _OK:
            raise QueueUnavailable(f"HTTP {status}")
        return True

    def _resource(self, queue: str, task: Task) -> dict[str, Any]:
        url = function_url(self._settings, task.service)
        request: dict[str, Any] = {
            "url": url,
            "httpMethod": "POST",
            "headers": {"Content-Type": "application/json"},
            "body": base64.b64encode(task.body).decode(),
        }
        if caller := invoker(self._settings, task.queue):
            request["oidcToken"] = {"serviceAccountEmail": caller, "audience": url}
        resource: dict[str, Any] = {
            "name": f"{queue}/tasks/{task.name}",
            "dispatchDeadline": f"{task.deadline_s}s",
            "httpRequest": request,
        }
        if task.at is not None:
            resource["scheduleTime"] = task.at.isoformat()
        return resource

    def _authorization(self) -> dict[str, str]:
        if self._settings.endpoint:
            return {}
        if time.monotonic() >= self._token_until:
            status, body = self._metadata.ask("GET", _TOKEN_PATH, None, {"Metadata-Flavor": "Google"})
            if status != _OK:
                raise QueueUnavailable(f"metadata server: HTTP {status}")
            token, lives_s = _token(body)
            self._token, self._token_until = token, time.monotonic() + lives_s - 60
        return {"Authorization": f"Bearer {self._token}"}
