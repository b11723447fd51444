"""A running stand-in, a webhook that answers as a test says, and plain HTTP calls."""

from __future__ import annotations

import contextlib
import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.stand_in.clock import Clock
from sandbox.telegram import Telegram, Timing
from tests.endpoint import Endpoint
from tests.still_clock import StillClock

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

TOKEN = "42:TEST"
PROVIDER = "381764678:TEST:1"
SECRET = "s3cret_-"
# Pauses of 2, 4, 8 s become 20, 40, 80 ms. An answer is awaited for the whole minute: who gives up sooner sends again.
QUICK = Timing(backoff=0.01)


def png(width: int = 64, height: int = 64) -> bytes:
    """A grey picture that any reader of PNG takes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = zlib.compress(b"".join(b"\x00" + b"\x80" * width for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@dataclass
class Hook:
    """The bot's side: an HTTP server that records updates and answers what `answer` says."""

    updates: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    answer: Callable[[dict[str, Any]], Awaitable[Response]] | None = None

    async def endpoint(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        update = json.loads(self.bodies[-1])
        self.updates.append(update)
        self.headers.append(dict(request.headers))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.answer(update) if self.answer else JSONResponse({})
        finally:
            self.running -= 1


@dataclass
class Bench:
    """Everything a test of the stand-in holds in its hands."""

    telegram: Telegram
    clock: Clock
    url: str
    hook: Hook
    hook_url: str
    client: httpx.AsyncClient

    async def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """One Bot API call as JSON; the answer's body."""
        response = await self.client.post(f"{self.url}/bot{TOKEN}/{method}", json=parameters)
        body: dict[str, Any] = response.json()
        assert response.status_code == (200 if body["ok"] else body["error_code"])
        return body

    async def refusal(self, method: str, /, **parameters: Any) -> str:
        """The description of a call that must be refused."""
        body = await self.call(method, **parameters)
        assert not body["ok"], body
        return str(body["description"])

    async def set_webhook(self, **parameters: Any) -> None:
        given = {"url": self.hook_url, "secret_token": SECRET} | parameters
        body = await self.call("setWebhook", **given)
        assert body["ok"], body

    async def send_photo(self, body: bytes, **parameters: str) -> dict[str, Any]:
        files = {"photo": ("p.png", body, "image/png")}
        response = await self.client.post(f"{self.url}/bot{TOKEN}/sendPhoto", data=parameters, files=files)
        answer: dict[str, Any] = response.json()
        return answer


@pytest.fixture(scope="session")
async def endpoints() -> AsyncIterator[tuple[Endpoint, Endpoint]]:
    pair = Endpoint(), Endpoint()
    for endpoint in pair:
        await endpoint.server.start()
    yield pair
    for endpoint in pair:
        await endpoint.server.stop()


@contextlib.asynccontextmanager
async def open_bench(
    endpoints: tuple[Endpoint, Endpoint],
    store: pathlib.Path | None = None,
    clock: Clock | None = None,
    timing: Timing = QUICK,
) -> AsyncIterator[Bench]:
    """A stand-in that is started, and its webhook's server; the webhook is not set yet."""
    clock = clock or Clock()
    telegram = Telegram(
        token=TOKEN, bot_username="atlas_local_bot", clock=clock, store=store, timing=timing, provider_tokens=[PROVIDER]
    )
    hook = Hook()
    endpoints[0].app = telegram.app
    endpoints[1].app = Starlette(routes=[Route("/{path:path}", hook.endpoint, methods=["POST"])])
    await telegram.start()
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            hook_url = f"{endpoints[1].server.url}/webhook/telegram"
            yield Bench(telegram, clock, endpoints[0].server.url, hook, hook_url, client)
    finally:
        await telegram.stop()
        telegram.close()


@pytest.fixture
async def bench(endpoints: tuple[Endpoint, Endpoint]) -> AsyncIterator[Bench]:
    async with open_bench(endpoints) as one:
        yield one


@pytest.fixture
async def still_bench(endpoints: tuple[Endpoint, Endpoint]) -> AsyncIterator[Bench]:
    """Its time passes by travel alone: for limits of few seconds, which a busy machine takes for anything."""
    async with open_bench(endpoints, clock=StillClock()) as one:
        yield one
