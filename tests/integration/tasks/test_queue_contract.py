"""Both adapters of the task queue fill one port the same way, against a server that speaks the Cloud Tasks API."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import google.auth
import pytest
from google.api_core.exceptions import RetryError
from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lib.settings.plain import TasksSettings
from lib.tasks import rest
from lib.tasks.google_client import GoogleTaskQueue
from lib.tasks.queue import QueueUnavailable, Task
from lib.tasks.rest import RestTaskQueue
from sandbox.cloud.cloudtasks import CloudTasks, Queue
from sandbox.stand_in.clock import Clock
from sandbox.stand_in.server import Server
from sandbox.state.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from lib.tasks.queue import TaskQueue

INVOKER = "invoker@project.iam.gserviceaccount.com"
QUEUE = "nodes"
PARENT = f"projects/project/locations/place/queues/{QUEUE}"
TASK = Task(QUEUE, "a" * 40, "task-provision", b'{"outbox_id": 1}', deadline_s=75)


@dataclass
class Stand:
    """A server with one paused queue, so that what was made can be looked at, and an adapter that speaks to it."""

    tasks: CloudTasks
    adapter: TaskQueue
    clock: Clock

    def made(self, name: str = TASK.name) -> Any:
        return self.tasks.tasks[f"{PARENT}/tasks/{name}"].message


def settings(endpoint: str, *, invoker: str = INVOKER) -> TasksSettings:
    return TasksSettings(endpoint, "project", "place", invoker, "https://f.test/{name}")


@asynccontextmanager
async def adapter_for(kind: str, chosen: TasksSettings) -> AsyncIterator[TaskQueue]:
    if kind == "google":
        yield GoogleTaskQueue(chosen)
        return
    adapter = RestTaskQueue(chosen)
    yield adapter
    for _, connection in (*adapter._service._idle, *adapter._metadata._idle):
        connection.close()  # a function never does: it just dies


@pytest.fixture(params=["rest", "google"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def server() -> AsyncIterator[tuple[CloudTasks, Server, Clock]]:
    clock = Clock()
    tasks = CloudTasks([Queue(QUEUE)], clock=clock)
    tasks.pause(QUEUE)
    served = Server(tasks.app)
    await tasks.start()
    await served.start()
    yield tasks, served, clock
    await served.stop()
    await tasks.stop()


@pytest.fixture
async def stand(kind: str, server: tuple[CloudTasks, Server, Clock]) -> AsyncIterator[Stand]:
    tasks, served, clock = server
    async with adapter_for(kind, settings(served.url)) as adapter:
        yield Stand(tasks, adapter, clock)


async def test_a_task_says_whom_to_call_with_what(stand: Stand) -> None:
    assert await stand.adapter.create(TASK) is True
    request = stand.made().http_request
    assert request.url == "https://f.test/task-provision"
    assert request.http_method == 1  # POST
    assert request.body == TASK.body
    assert request.headers["Content-Type"] == "application/json"


async def test_a_used_name_is_as_good_as_made(stand: Stand) -> None:
    assert await stand.adapter.create(TASK) is True
    assert await stand.adapter.create(replace(TASK, body=b"{}")) is False
    assert stand.made().http_request.body == TASK.body
    stand.tasks.purge(QUEUE)
    assert await stand.adapter.create(TASK) is False
    assert len(stand.tasks.tasks) == 0
    assert await stand.adapter.create(replace(TASK, name="b" * 40)) is True


async def test_one_of_many_at_once_makes_it(stand: Stand) -> None:
    answers = await asyncio.gather(*(stand.adapter.create(TASK) for _ in range(8)))
    assert sorted(answers) == [False] * 7 + [True]


async def test_a_task_waits_for_its_time(stand: Stand) -> None:
    at = (datetime.now(UTC) + timedelta(seconds=30)).replace(microsecond=250_000)
    await stand.adapter.create(replace(TASK, at=at))
    assert stand.made().schedule_time.ToDatetime(tzinfo=UTC) == at


async def test_without_a_time_it_is_due_now(stand: Stand) -> None:
    await stand.adapter.create(TASK)
    due = stand.made().schedule_time.ToDatetime(tzinfo=UTC)
    assert abs((due - stand.clock.now()).total_seconds()) < 5


async def test_the_answer_is_waited_for_as_long_as_the_function_may_take(stand: Stand) -> None:
    await stand.adapter.create(TASK)
    assert stand.made().dispatch_deadline.seconds == 75


async def test_the_call_will_carry_a_token_for_this_very_address(stand: Stand) -> None:
    await stand.adapter.create(TASK)
    token = stand.made().http_request.oidc_token
    assert (token.service_account_email, token.audience) == (INVOKER, "https://f.test/task-provision")


async def test_a_queue_s_tasks_call_as_the_account_of_that_queue(
    kind: str, server: tuple[CloudTasks, Server, Clock]
) -> None:
    tasks, served, clock = server
    async with adapter_for(
        kind, settings(served.url, invoker="tasks-{queue}@project.iam.gserviceaccount.com")
    ) as adapter:
        await adapter.create(TASK)
        token = Stand(tasks, adapter, clock).made().http_request.oidc_token
    assert token.service_account_email == f"tasks-{QUEUE}@project.iam.gserviceaccount.com"


async def test_without_an_invoker_there_is_no_token(kind: str, server: tuple[CloudTasks, Server, Clock]) -> None:
    tasks, served, clock = server
    async with adapter_for(kind, settings(served.url, invoker="")) as adapter:
        await adapter.create(TASK)
        made = Stand(tasks, adapter, clock).made()
    assert not made.http_request.HasField("oidc_token")


@pytest.mark.parametrize("status", [500, 503, 429, 403])
async def test_a_refusal_is_said_in_the_port_s_words(stand: Stand, status: int) -> None:
    stand.tasks.fail_next_create(QUEUE, 10, status=status)
    with pytest.raises(QueueUnavailable):
        await stand.adapter.create(TASK)
    assert stand.tasks.tasks == {}


async def test_an_unclear_outcome_is_resolved_by_the_name(stand: Stand) -> None:
    stand.tasks.fail_next_create(QUEUE, 1, status=503, stored=True)
    with pytest.raises(QueueUnavailable):
        await stand.adapter.create(TASK)
    assert await stand.adapter.create(TASK) is False
    assert stand.made().http_request.body == TASK.body


async def test_an_unknown_queue_is_no_queue(stand: Stand) -> None:
    with pytest.raises(QueueUnavailable):
        await stand.adapter.create(replace(TASK, queue="elsewhere"))


async def test_an_absent_queue_is_unavailable(kind: str) -> None:
    async with adapter_for(kind, settings(f"http://127.0.0.1:{free_port()}")) as adapter, asyncio.timeout(15):
        with pytest.raises(QueueUnavailable):
            await adapter.create(TASK)


class _Silent:
    """Takes every request, in whatever protocol, and answers none until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked = 0

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            self.asked += 1
            await self.go.wait()
        writer.close()


async def test_a_server_that_hangs_is_not_waited_for(kind: str) -> None:
    silent = _Silent()
    server = await asyncio.start_server(silent.hear, "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with adapter_for(kind, settings(url)) as adapter, asyncio.timeout(12):
            with pytest.raises(QueueUnavailable):
                await adapter.create(TASK)
        assert silent.asked >= 1
    finally:
        silent.go.set()
        server.close()
        await server.wait_closed()


async def test_errors_name_neither_the_body_nor_the_address(stand: Stand) -> None:
    stand.tasks.fail_next_create(QUEUE, 10, status=503)
    with pytest.raises(QueueUnavailable) as failure:
        await stand.adapter.create(replace(TASK, body=b'{"secret": "value"}'))
    assert "value" not in str(failure.value)
    assert "127.0.0.1" not in str(failure.value)


class Google:
    """In the places of the metadata server and of the real service: answers by path and remembers what it was asked."""

    def __init__(self, token_answer: Response) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self._token_answer = token_answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.asked.append((request.url.path, dict(request.headers), await request.body()))
        answer = self._token_answer if request.url.path.endswith("/token") else JSONResponse({})
        await answer(scope, receive, send)


@asynccontextmanager
async def real_service(monkeypatch: pytest.MonkeyPatch, token_answer: Response) -> AsyncIterator[Google]:
    answering = Google(token_answer)
    served = Server(answering)
    await served.start()
    monkeypatch.setattr(rest, "_METADATA", served.url)
    monkeypatch.setattr(rest, "SERVICE", served.url)
    yield answering
    await served.stop()


async def test_the_real_service_is_asked_with_the_instance_s_own_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """REST alone: without TASKS_ENDPOINT it asks the metadata server for a token, once, and keeps it while it is good."""
    good = JSONResponse({"access_token": "t-1", "expires_in": 3600, "token_type": "Bearer"})
    async with real_service(monkeypatch, good) as answering, adapter_for("rest", settings("")) as adapter:
        assert await adapter.create(TASK) is True
        assert await adapter.create(replace(TASK, name="b" * 40)) is True
    token, *creates = answering.asked
    assert token[0] == "/computeMetadata/v1/instance/service-accounts/default/token"
    assert token[1]["metadata-flavor"] == "Google"
    assert len(creates) == 2
    for path, headers, _ in creates:
        assert path == f"/v2/{PARENT}/tasks"
        assert headers["authorization"] == "Bearer t-1"
    made = json.loads(creates[0][2])["task"]
    assert base64.b64decode(made["httpRequest"]["body"]) == TASK.body


async def test_google_s_client_speaks_rest_to_the_real_service_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deployed is what is tested: the same transport as with TASKS_ENDPOINT, with the function's own account."""
    good = JSONResponse({"access_token": "t-1", "expires_in": 3600, "token_type": "Bearer"})
    monkeypatch.setattr(google.auth, "default", lambda *_, **__: (Credentials("t-2"), "project"))  # type: ignore[no-untyped-call] # no types
    async with real_service(monkeypatch, good) as answering, adapter_for("google", settings("")) as adapter:
        assert await adapter.create(TASK) is True
    [(path, headers, _)] = answering.asked
    assert path == f"/v2/{PARENT}/tasks"
    assert headers["authorization"] == "Bearer t-2"


async def test_a_token_about_to_end_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    short = JSONResponse({"access_token": "t", "expires_in": 59})
    async with real_service(monkeypatch, short) as answering, adapter_for("rest", settings("")) as adapter:
        await adapter.create(TASK)
        await adapter.create(TASK)
    assert [path.rpartition("/")[2] for path, _, _ in answering.asked] == ["token", "tasks"] * 2


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=503),
        Response("not JSON"),
        JSONResponse({"error": "no account"}),
        JSONResponse({"access_token": "t", "expires_in": "soon"}),
        JSONResponse([]),
    ],
    ids=["503", "not JSON", "no token", "no time", "a list"],
)
async def test_without_a_token_the_queue_is_unavailable(monkeypatch: pytest.MonkeyPatch, answer: Response) -> None:
    async with real_service(monkeypatch, answer) as answering, adapter_for("rest", settings("")) as adapter:
        with pytest.raises(QueueUnavailable):
            await adapter.create(TASK)
    assert len(answering.asked) == 1


async def test_a_connection_that_died_while_it_was_idle_is_replaced(server: tuple[CloudTasks, Server, Clock]) -> None:
    """REST alone: an instance that was frozen finds its kept connections dead; the next task is made all the same."""
    tasks, first, _ = server
    async with adapter_for("rest", settings(first.url)) as adapter:
        assert await adapter.create(TASK) is True
        await first.stop()
        second = Server(tasks.app, first.port)
        await second.start()
        try:
            assert await adapter.create(replace(TASK, name="b" * 40)) is True
        finally:
            await second.stop()
    assert len(tasks.tasks) == 2


_RAISED = [
    RefreshError("no account"),  # type: ignore[no-untyped-call] # google-auth has no types here
    RetryError("tried for long", cause=None),  # type: ignore[no-untyped-call] # nor has api-core
    ConnectionResetError(),
]


@pytest.mark.parametrize("failure", _RAISED, ids=lambda failure: type(failure).__name__)
async def test_whatever_google_s_client_raises_is_said_in_the_port_s_words(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    adapter = GoogleTaskQueue(settings("http://127.0.0.1:9"))

    def fail(**_arguments: Any) -> None:
        raise failure

    monkeypatch.setattr(adapter._client, "create_task", fail)
    with pytest.raises(QueueUnavailable):
        await adapter.create(TASK)
