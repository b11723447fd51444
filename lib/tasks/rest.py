"""Cloud Tasks by its REST API: one POST, no client library (its import alone costs a public function 0.25 s)."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import httpx

from lib.tasks.queue import QueueUnavailable

if TYPE_CHECKING:
    from lib.settings.plain import TasksSettings
    from lib.tasks.queue import Task

_SERVICE = "https://cloudtasks.googleapis.com"
_TOKEN_URL = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 -- an address
_TIMEOUT = httpx.Timeout(2.0, connect=1.0)
_CONFLICT = 409


def function_url(settings: TasksSettings, service: str) -> str:
    """Where a function is called."""
    return settings.url_template.replace("{name}", service)


class RestTaskQueue:
    """Fills `TaskQueue`."""

    def __init__(self, client: httpx.AsyncClient, settings: TasksSettings) -> None:
        self._client = client
        self._settings = settings
        self._token = ""
        self._token_until = 0.0

    async def create(self, task: Task) -> bool:
        """See `TaskQueue.create`."""
        base = self._settings.endpoint or _SERVICE
        queue = f"projects/{self._settings.project}/locations/{self._settings.location}/queues/{task.queue}"
        try:
            response = await self._client.post(
                f"{base}/v2/{queue}/tasks",
                json={"task": self._resource(queue, task)},
                headers=await self._authorization(),
                timeout=_TIMEOUT,
            )
        except httpx.HTTPError as error:
            raise QueueUnavailable(type(error).__name__) from None
        if response.status_code == _CONFLICT:
            return False
        if not response.is_success:
            raise QueueUnavailable(f"HTTP {response.status_code}")
        return True

    def _resource(self, queue: str, task: Task) -> dict[str, Any]:
        url = function_url(self._settings, task.service)
        request: dict[str, Any] = {
            "url": url,
            "httpMethod": "POST",
            "headers": {"Content-Type": "application/json"},
            "body": base64.b64encode(task.body).decode(),
        }
        if self._settings.invoker:
            request["oidcToken"] = {"serviceAccountEmail": self._settings.invoker, "audience": url}
        resource: dict[str, Any] = {
            "name": f"{queue}/tasks/{task.name}",
            "dispatchDeadline": f"{task.deadline_s}s",
            "httpRequest": request,
        }
        if task.at is not None:
            resource["scheduleTime"] = task.at.isoformat()
        return resource

    async def _authorization(self) -> dict[str, str]:
        if self._settings.endpoint:
            return {}
        if time.monotonic() >= self._token_until:
            response = await self._client.get(_TOKEN_URL, headers={"Metadata-Flavor": "Google"}, timeout=_TIMEOUT)
            response.raise_for_status()
            answer = response.json()
            self._token = str(answer["access_token"])
            self._token_until = time.monotonic() + float(answer["expires_in"]) - 60
        return {"Authorization": f"Bearer {self._token}"}
