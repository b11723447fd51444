"""The methods of google.cloud.tasks.v2.CloudTasks, message in and message out; how they travel is `api`'s."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.cloud.tasks_v2.types import cloudtasks as requests
from google.cloud.tasks_v2.types import task as task_types
from google.longrunning import operations_pb2  # type: ignore[import-untyped]
from google.protobuf import empty_pb2

from sandbox.cloud.cloudtasks.errors import BAD_QUEUE_NAME, NO_QUEUE, ApiError, not_modelled, rpc_code

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sandbox.cloud.cloudtasks.queues import StoredTask
    from sandbox.cloud.cloudtasks.service import TaskService

_QUEUE = re.compile(r"(projects/[^/]+/locations/[^/]+)/queues/([^/]+)")
_PAGE = 1000
_CREATE_LIMIT, _DELETE_LIMIT = 100, 1000
_OPERATIONS_KEPT = 1000
_NO_ENTITY = "Requested entity was not found."
_NO_TASK_ANY_MORE = (
    "The task no longer exists, though a task with this name existed recently."
    " The task either successfully completed or was deleted."
)
_ALL_FAILED = "None of the requests succeeded, refer to {}.failed_requests for individual error details"


@dataclass(frozen=True, slots=True)
class Method:
    """One method: the class of its request message, and what answers it (with a message, or an ApiError)."""

    request: type[Any]
    answer: Callable[[Any], Any]


class Operations:
    """What the REST API calls."""

    def __init__(self, service: TaskService) -> None:
        self._service = service
        self._operations: dict[tuple[str, str], Any] = {}
        self.methods: dict[str, Method] = {
            name: Method(type(kind.pb(kind())), answer)
            for name, kind, answer in (
                ("ListQueues", requests.ListQueuesRequest, self._list_queues),
                ("GetQueue", requests.GetQueueRequest, lambda request: self._queue(request.name)),
                ("CreateQueue", requests.CreateQueueRequest, self._create_queue),
                ("UpdateQueue", requests.UpdateQueueRequest, self._update_queue),
                ("DeleteQueue", requests.DeleteQueueRequest, self._delete_queue),
                ("PurgeQueue", requests.PurgeQueueRequest, lambda request: self._change(request.name, service.purge)),
                ("PauseQueue", requests.PauseQueueRequest, lambda request: self._change(request.name, service.pause)),
                (
                    "ResumeQueue",
                    requests.ResumeQueueRequest,
                    lambda request: self._change(request.name, service.resume),
                ),
                ("ListTasks", requests.ListTasksRequest, self._list_tasks),
                ("GetTask", requests.GetTaskRequest, self._get_task),
                ("CreateTask", requests.CreateTaskRequest, self._create_task),
                ("DeleteTask", requests.DeleteTaskRequest, self._delete_task),
                ("RunTask", requests.RunTaskRequest, self._run_task),
                ("BatchCreateTasks", requests.BatchCreateTasksRequest, self._batch_create),
                ("BatchDeleteTasks", requests.BatchDeleteTasksRequest, self._batch_delete),
            )
        }

    # -- queues --------------------------------------------------------------------------------------------------------

    def _known(self, full_name: str) -> str:
        match = _QUEUE.fullmatch(full_name)
        if match is None:
            raise ApiError(400, f'Invalid resource field value in the request: "{full_name}" is no queue name.')
        if match[2] not in self._service.queues:
            raise ApiError(404, NO_QUEUE)
        return match[2]

    def _queue(self, full_name: str) -> Any:
        service, name = self._service, self._known(full_name)
        return service.queues[name].message(full_name, paused=service.is_paused(name), purged=service.purged.get(name))

    def _change(self, full_name: str, change: Callable[[str], None]) -> Any:
        change(self._known(full_name))
        return self._queue(full_name)

    def _list_queues(self, request: Any) -> Any:
        if request.filter:
            raise not_modelled("filter of queues")
        page, token = _page(request, sorted(self._service.queues))
        found = [self._queue(f"{request.parent}/queues/{name}") for name in page]
        answer = requests.ListQueuesResponse.pb(requests.ListQueuesResponse(next_page_token=token))
        answer.queues.extend(found)
        return answer

    def _create_queue(self, request: Any) -> Any:
        location, _, name = request.queue.name.rpartition("/queues/")
        if location != request.parent:
            raise ApiError(400, BAD_QUEUE_NAME)
        self._service.create_queue(name, request.queue)
        return self._queue(request.queue.name)

    def _update_queue(self, request: Any) -> Any:
        match = _QUEUE.fullmatch(request.queue.name)
        if match is None:
            raise ApiError(400, "Queue.name must be set.")
        self._service.update_queue(match[2], request.queue, list(request.update_mask.paths))
        return self._queue(request.queue.name)

    def _delete_queue(self, request: Any) -> Any:
        match = _QUEUE.fullmatch(request.name)
        if match is None or match[2] not in self._service.queues:
            raise ApiError(404, _NO_ENTITY)
        self._service.delete_queue(match[2])
        return empty_pb2.Empty()

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def _task(self, full_name: str) -> StoredTask:
        self._service.drop_expired(self._service.clock.now())
        self._known(full_name.rpartition("/tasks/")[0])
        task = self._service.tasks.get(full_name)
        if task is None:
            raise ApiError(404, _NO_TASK_ANY_MORE if self._service.is_used(full_name) else _NO_ENTITY)
        return task

    def _create_task(self, request: Any) -> Any:
        if not request.HasField("task"):
            raise ApiError(400, "Task must be set.")
        return _shown(self._service.create(request.parent, request.task), request.response_view)

    def _list_tasks(self, request: Any) -> Any:
        self._service.drop_expired(self._service.clock.now())
        self._known(request.parent)
        here = f"{request.parent}/tasks/"
        page, token = _page(request, sorted(name for name in self._service.tasks if name.startswith(here)))
        answer = requests.ListTasksResponse.pb(requests.ListTasksResponse(next_page_token=token))
        answer.tasks.extend(_shown(self._service.tasks[name].message, request.response_view) for name in page)
        return answer

    def _get_task(self, request: Any) -> Any:
        return _shown(self._task(request.name).message, request.response_view)

    def _delete_task(self, request: Any) -> Any:
        self._service.forget(self._task(request.name))
        return empty_pb2.Empty()

    def _run_task(self, request: Any) -> Any:
        self._task(request.name)
        return _shown(self._service.run_now(request.name).message, request.response_view)

    # -- many at once: long-running operations, here done at once --------------------------------------------------------

    def _batch_create(self, request: Any) -> Any:
        for one in request.requests:
            if one.parent not in {"", request.parent}:
                raise ApiError(400, "BatchCreateTasksRequest.parent must be the parent of every request.")
            one.parent = request.parent
        response = requests.BatchCreateTasksResponse.pb(requests.BatchCreateTasksResponse())

        def create(one: Any) -> None:
            response.tasks.append(self._create_task(one))

        kind = requests.BatchCreateTasksMetadata
        return self._batch(request, request.requests, create, limit=_CREATE_LIMIT, kind=kind, response=response)

    def _batch_delete(self, request: Any) -> Any:
        def delete(name: str) -> None:
            if not name.startswith(f"{request.parent}/tasks/"):
                raise ApiError(400, "BatchDeleteTasksRequest.parent must be the queue of every task.")
            self._service.forget(self._task(name))

        kind = requests.BatchDeleteTasksMetadata
        return self._batch(request, request.names, delete, limit=_DELETE_LIMIT, kind=kind, response=empty_pb2.Empty())

    def _batch(
        self, request: Any, items: Sequence[Any], act: Callable[[Any], None], *, limit: int, kind: Any, response: Any
    ) -> Any:
        """An operation that is done, a failed item noted by its number; a repeated `request_id` gets the first one's."""
        self._known(request.parent)
        if not 0 < len(items) <= limit:
            raise ApiError(400, f"A batch holds between 1 and {limit} requests.")
        key = (kind.__name__, request.request_id or str(uuid.uuid4()))
        if key in self._operations:
            return self._operations[key]
        metadata = kind.pb(kind())
        metadata.start_time.FromDatetime(self._service.clock.now())
        for number, item in enumerate(items):
            try:
                act(item)
            except ApiError as error:
                metadata.failed_requests[number].code = error.rpc_code
                metadata.failed_requests[number].message = error.message
        metadata.end_time.FromDatetime(self._service.clock.now())
        failed = len(metadata.failed_requests)
        metadata.state = kind.State.PARTIALLY_SUCCEEDED if failed else kind.State.SUCCEEDED
        location = request.parent.partition("/queues/")[0]
        operation = operations_pb2.Operation(name=f"{location}/operations/{key[1]}", done=True)
        operation.metadata.Pack(metadata)
        if failed == len(items):
            operation.error.code = rpc_code("ABORTED")
            operation.error.message = _ALL_FAILED.format(kind.__name__)
        else:
            operation.response.Pack(response)
        self._operations[key] = operation
        if len(self._operations) > _OPERATIONS_KEPT:
            del self._operations[next(iter(self._operations))]
        return operation


def _shown(message: Any, view: int) -> Any:
    """The task; its body only in the FULL view."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.view = task_types.Task.View.FULL
    if view != task_types.Task.View.FULL:
        copy.http_request.ClearField("body")
        copy.view = task_types.Task.View.BASIC
    return copy


def _page(request: Any, names: list[str]) -> tuple[list[str], str]:
    """One page of names, and the token of the next: the last name shown."""
    try:
        after = base64.urlsafe_b64decode(request.page_token).decode()
    except (ValueError, binascii.Error) as error:
        raise ApiError(400, "Invalid page token.") from error
    if request.page_size < 0:
        raise ApiError(400, "Invalid page size.")
    rest = [name for name in names if name > after]
    page = rest[: min(request.page_size or _PAGE, _PAGE)]
    if len(rest) == len(page):
        return page, ""
    return page, base64.urlsafe_b64encode(page[-1].encode()).decode()
