"""Cloud Tasks by Google's own client, for functions whose cold start no customer waits for.

Over REST, deployed and locally: one transport, so what runs is what was tested.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport
from google.protobuf import duration_pb2, timestamp_pb2

from lib.tasks import rest
from lib.tasks.queue import QueueUnavailable

if TYPE_CHECKING:
    from lib.settings.plain import TasksSettings
    from lib.tasks.queue import Task

_TIMEOUT_S = 5.0


class GoogleTaskQueue:
    """Fills `TaskQueue`. The client blocks, so each call runs on a thread."""

    def __init__(self, settings: TasksSettings) -> None:
        self._settings = settings
        server = urlsplit(settings.endpoint or rest.SERVICE)
        # None: those of the function's own service account. A local server gets none.
        credentials = AnonymousCredentials() if settings.endpoint else None  # type: ignore[no-untyped-call] # google-auth has no types here
        transport = CloudTasksRestTransport(host=server.netloc, url_scheme=server.scheme, credentials=credentials)
        self._client = tasks_v2.CloudTasksClient(transport=transport)

    async def create(self, task: Task) -> bool:
        """See `TaskQueue.create`."""
        return await asyncio.to_thread(self._create, task)

    def _create(self, task: Task) -> bool:
        settings = self._settings
        queue = self._client.queue_path(settings.project, settings.location, task.queue)
        url = rest.function_url(settings, task.service)
        request = tasks_v2.HttpRequest(
            url=url,
            http_method=tasks_v2.HttpMethod.POST,
            headers={"Content-Type": "application/json"},
            body=task.body,
        )
        if caller := rest.invoker(settings, task.queue):
            request.oidc_token = tasks_v2.OidcToken(service_account_email=caller, audience=url)
        resource = tasks_v2.Task(
            name=f"{queue}/tasks/{task.name}",
            http_request=request,
            dispatch_deadline=duration_pb2.Duration(seconds=task.deadline_s),
        )
        if task.at is not None:
            moment = timestamp_pb2.Timestamp()
            moment.FromDatetime(task.at)
            resource.schedule_time = moment
        try:
            self._client.create_task(parent=queue, task=resource, timeout=_TIMEOUT_S)
        except exceptions.Conflict:
            return False
        except Exception as error:  # noqa: BLE001 -- the library reads the answer itself, and fails in its own ways on one that is none: outcome unknown, the outbox row stays
            raise QueueUnavailable(type(error).__name__) from None
        return True
