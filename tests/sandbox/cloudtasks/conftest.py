"""A worker that records what it is sent and answers as told, and a stand-in of its own for each test."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.responses import Response

from sandbox.cloud.cloudtasks import CloudTasks, Queue
from sandbox.stand_in.clock import Clock
from sandbox.stand_in.server import Server
from tests.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import Receive, Scope, Send


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Worker:
    """An ASGI application: `answers` are used up first, then `default`; `gate` holds answers back while it is closed."""

    requests: list[Received] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    default: int = 200
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    most_at_once: int = 0
    _now: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append(Received(scope["method"], scope["path"], headers, body))
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await self.gate.wait()
        self._now -= 1
        status, extra = self.answers.pop(0) if self.answers else (self.default, {})
        await Response(b"{}", status, extra)(scope, receive, send)


@dataclass
class Stand:
    tasks: CloudTasks
    clock: Clock
    url: str
    worker: Worker
    worker_url: str
    http: httpx.AsyncClient

    async def create(self, queue: str = "q", task: dict[str, Any] | None = None, **request: Any) -> httpx.Response:
        body = {"httpRequest": {"url": self.worker_url, **request}, **(task or {})}
        return await self.http.post(f"{self.parent(queue)}/tasks", json={"task": body})

    def parent(self, queue: str = "q") -> str:
        return f"{self.url}/v2/projects/p/locations/l/queues/{queue}"

    def name(self, task: str, queue: str = "q") -> str:
        return f"projects/p/locations/l/queues/{queue}/tasks/{task}"


@pytest.fixture(scope="session")
async def address() -> AsyncIterator[tuple[Endpoint, str]]:
    endpoint = Endpoint()
    await endpoint.server.start()
    yield endpoint, f"{endpoint.server.url}/work"
    await endpoint.server.stop()


@pytest.fixture
async def make_stand(address: tuple[Endpoint, str]) -> AsyncIterator[Callable[..., Any]]:
    endpoint, worker_url = address
    worker = endpoint.app = Worker()
    async with contextlib.AsyncExitStack() as running:
        running.callback(worker.gate.set)

        async def make(
            *queues: Queue, clock: Clock | None = None, served: bool = False, worker: Worker = worker, **options: Any
        ) -> Stand:
            clock = clock or Clock()
            tasks = CloudTasks(queues or [Queue("q")], clock=clock, **options)
            await tasks.start()
            running.push_async_callback(tasks.stop)
            url, transport = "http://127.0.0.1", httpx.ASGITransport(tasks.app)
            http = await running.enter_async_context(httpx.AsyncClient(transport=transport, trust_env=False))
            if served:
                server = Server(tasks.app)
                await server.start()
                running.push_async_callback(server.stop)
                url = server.url
            return Stand(tasks, clock, url, worker, worker_url, http)

        yield make


@pytest.fixture
async def stand(make_stand: Callable[..., Any]) -> Stand:
    made: Stand = await make_stand()
    return made
