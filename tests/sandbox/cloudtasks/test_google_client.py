"""Google's own client against the stand-in, over REST, as functions use it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport
from google.protobuf import field_mask_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.sandbox.cloudtasks.conftest import Stand

    Make = Callable[..., Any]

LOCATION = "projects/p/locations/l"
PARENT = f"{LOCATION}/queues/q"
INVOKER = "i@p.iam.gserviceaccount.com"


@pytest.fixture
async def stand(make_stand: Make) -> Stand:
    made: Stand = await make_stand(served=True)
    return made


def rest_client(stand: Stand) -> tasks_v2.CloudTasksClient:
    anonymous: Callable[[], Any] = AnonymousCredentials
    transport = CloudTasksRestTransport(
        host=stand.url.removeprefix("http://"), url_scheme="http", credentials=anonymous()
    )
    return tasks_v2.CloudTasksClient(transport=transport)


@pytest.fixture
async def client(stand: Stand) -> AsyncIterator[Any]:
    made = await asyncio.to_thread(rest_client, stand)
    yield made
    await asyncio.to_thread(made.transport.close)


def task_of(stand: Stand, name: str, **more: Any) -> tasks_v2.Task:
    return tasks_v2.Task(name=f"{PARENT}/tasks/{name}", http_request={"url": stand.worker_url}, **more)


async def test_tasks_are_made_found_run_and_deleted(stand: Stand, client: tasks_v2.CloudTasksClient) -> None:
    stand.tasks.pause("q")
    when = stand.clock.now() + timedelta(minutes=5)
    task = tasks_v2.Task(
        name=f"{PARENT}/tasks/named",
        schedule_time=when,
        dispatch_deadline=timedelta(seconds=30),
        http_request=tasks_v2.HttpRequest(
            url=stand.worker_url,
            http_method=tasks_v2.HttpMethod.PUT,
            headers={"Content-Type": "application/json"},
            body=b'{"id": 1}',
            oidc_token=tasks_v2.OidcToken(service_account_email=INVOKER, audience="a"),
        ),
    )

    def work() -> None:
        made = client.create_task(parent=PARENT, task=task)
        assert made.name == task.name
        assert made.schedule_time.timestamp() == pytest.approx(when.timestamp())
        assert made.dispatch_deadline == timedelta(seconds=30)
        unnamed = client.create_task(parent=PARENT, task=tasks_v2.Task(http_request={"url": stand.worker_url}))
        assert client.get_task(name=unnamed.name).http_request.http_method == tasks_v2.HttpMethod.POST
        full = client.get_task(request={"name": made.name, "response_view": tasks_v2.Task.View.FULL})
        assert full.http_request.body == b'{"id": 1}'
        pages = client.list_tasks(request={"parent": PARENT, "page_size": 1})
        assert {found.name for found in pages} == {made.name, unnamed.name}
        client.delete_task(name=unnamed.name)
        assert client.run_task(name=made.name).dispatch_count == 1

    await asyncio.to_thread(work)
    await stand.tasks.idle()
    (got,) = stand.worker.requests
    assert (got.method, got.body) == ("PUT", b'{"id": 1}')
    assert got.headers["authorization"].startswith("Bearer ")


async def test_a_used_name_is_a_conflict(stand: Stand, client: tasks_v2.CloudTasksClient) -> None:
    stand.tasks.pause("q")

    def work() -> None:
        client.create_task(parent=PARENT, task=task_of(stand, "a"))
        with pytest.raises(exceptions.Conflict, match="already exists"):
            client.create_task(parent=PARENT, task=task_of(stand, "a"))

    await asyncio.to_thread(work)


async def test_errors_are_the_clients_own(stand: Stand, client: tasks_v2.CloudTasksClient) -> None:
    def work() -> None:
        with pytest.raises(exceptions.NotFound):
            client.get_task(name=f"{PARENT}/tasks/none")
        with pytest.raises(exceptions.NotFound):
            client.create_task(parent=f"{PARENT}x", task=tasks_v2.Task(http_request={"url": stand.worker_url}))
        with pytest.raises(exceptions.BadRequest):
            client.create_task(parent=PARENT, task=tasks_v2.Task(http_request={"url": "nowhere"}))
        with pytest.raises(exceptions.BadRequest, match="no more than 720h"):
            client.create_task(
                parent=PARENT, task=task_of(stand, "far", schedule_time=stand.clock.now() + timedelta(days=31))
            )
        with pytest.raises(exceptions.MethodNotImplemented):
            client.get_iam_policy(request={"resource": PARENT})
        stand.tasks.fail_next_create("q", 1, status=503)
        with pytest.raises(exceptions.ServiceUnavailable):
            client.create_task(parent=PARENT, task=task_of(stand, "b"))

    await asyncio.to_thread(work)


async def test_queues_are_made_changed_paused_purged_and_deleted(
    stand: Stand, client: tasks_v2.CloudTasksClient
) -> None:
    name = f"{LOCATION}/queues/new"

    def work() -> None:
        with pytest.raises(exceptions.Conflict):
            client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=PARENT))
        made = client.create_queue(
            parent=LOCATION, queue=tasks_v2.Queue(name=name, rate_limits={"max_concurrent_dispatches": 2})
        )
        assert (made.rate_limits.max_concurrent_dispatches, made.retry_config.max_attempts) == (2, 100)
        changed = client.update_queue(
            queue=tasks_v2.Queue(name=name, retry_config={"max_attempts": 5, "min_backoff": timedelta(seconds=3)}),
            update_mask=field_mask_pb2.FieldMask(paths=["retry_config.max_attempts"]),
        )
        assert (changed.rate_limits.max_concurrent_dispatches, changed.retry_config.max_attempts) == (2, 5)
        assert changed.retry_config.min_backoff == timedelta(seconds=0.1)
        assert client.pause_queue(name=name).state == tasks_v2.Queue.State.PAUSED
        client.create_task(parent=name, task=tasks_v2.Task(http_request={"url": stand.worker_url}))
        assert client.purge_queue(name=name).purge_time is not None
        assert list(client.list_tasks(parent=name)) == []
        assert client.resume_queue(name=name).state == tasks_v2.Queue.State.RUNNING
        assert [queue.name for queue in client.list_queues(parent=LOCATION)] == [name, PARENT]
        client.delete_queue(name=name)
        with pytest.raises(exceptions.NotFound):
            client.get_queue(name=name)
        with pytest.raises(exceptions.BadRequest, match="existed too recently"):
            client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=name))

    await asyncio.to_thread(work)
    assert not stand.worker.requests


async def test_batches_are_operations_that_are_done(stand: Stand, client: tasks_v2.CloudTasksClient) -> None:
    stand.tasks.pause("q")

    def work() -> None:
        wanted = [{"parent": PARENT, "task": task_of(stand, name)} for name in ("a", "b", "a")]
        operation: Any = client.batch_create_tasks(request={"parent": PARENT, "requests": wanted})
        assert [task.name for task in operation.result(timeout=5).tasks] == [f"{PARENT}/tasks/{n}" for n in "ab"]
        assert set(operation.metadata.failed_requests) == {2}
        names = [f"{PARENT}/tasks/a", f"{PARENT}/tasks/b"]
        deleting: Any = client.batch_delete_tasks(request={"parent": PARENT, "names": names})
        deleting.result(timeout=5)

    await asyncio.to_thread(work)
    assert not stand.tasks.tasks
