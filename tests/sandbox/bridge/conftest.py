"""The stand-in is api.telegram.org here: what the bridge asks goes there over HTTP, and a bare server plays the function."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.bridge import Bot, Bridge
from sandbox.bridge.polling import Pace
from sandbox.stand_in.clock import Clock
from sandbox.state.home import Home
from sandbox.telegram import Telegram, Timing, Webhook
from tests.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from starlette.requests import Request

TOKEN = "4242424242:AAF-real_looking_secret_0123456789x"
SECRET = "webhook-secret"


@pytest.fixture(scope="session")
async def endpoints() -> AsyncIterator[tuple[Endpoint, Endpoint]]:
    pair = Endpoint(), Endpoint()
    for endpoint in pair:
        await endpoint.server.start()
    yield pair
    for endpoint in pair:
        await endpoint.server.stop()


class ApiTelegramOrg:
    """The stand-in as the server far away."""

    def __init__(self, url: str) -> None:
        self.telegram = Telegram(TOKEN, "atlas_try_bot", Clock())
        self.url = url

    async def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """What another program does with the same token."""
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            response = await client.post(f"{self.url}/bot{TOKEN}/{method}", json=parameters)
        answer: dict[str, Any] = response.json()
        return answer

    def methods(self) -> list[str]:
        return [call.method for call in self.telegram.calls if call.method != "getUpdates"]


@dataclass
class Function:
    """The local webhook: records updates, answers what `answer` says."""

    url: str
    updates: list[dict[str, Any]] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], Awaitable[Response]] | None = None

    async def endpoint(self, request: Request) -> Response:
        if request.headers.get("content-type") != "application/json":
            return JSONResponse({"hello": "from no Bot API server"})
        update = json.loads(await request.body())
        self.updates.append(update)
        self.secrets.append(request.headers.get("x-telegram-bot-api-secret-token", ""))
        return await self.answer(update) if self.answer else JSONResponse({})

    def texts(self) -> list[str]:
        return [update["message"]["text"] for update in self.updates if "message" in update]


@pytest.fixture
async def far(endpoints: tuple[Endpoint, Endpoint]) -> AsyncIterator[ApiTelegramOrg]:
    one = ApiTelegramOrg(endpoints[0].server.url)
    endpoints[0].app = one.telegram.app
    await one.telegram.start()
    yield one
    await one.telegram.stop()
    one.telegram.close()


@pytest.fixture
def function(endpoints: tuple[Endpoint, Endpoint]) -> Function:
    one = Function(f"{endpoints[1].server.url}/telegram-webhook")
    endpoints[1].app = Starlette(routes=[Route("/{path:path}", one.endpoint, methods=["POST"])])
    return one


@dataclass
class Near:
    """This machine: makes bridges on one folder and hears what they say."""

    far: ApiTelegramOrg
    function: Function
    folder: Path
    said: list[str] = field(default_factory=list)

    def make(self) -> Bridge:
        bot = Bot(int(TOKEN.partition(":")[0]), "atlas_try_bot", TOKEN, self.far.url)
        timing = Timing(backoff=0.01)
        pace = Pace(poll_s=1, backoff=0.02, conflicts=4)
        return Bridge(Home(self.folder), Clock(), bot=bot, say=self.said.append, timing=timing, pace=pace)

    @contextlib.asynccontextmanager
    async def bridge(self) -> AsyncIterator[Bridge]:
        bridge = self.make()
        await bridge.open()
        await bridge.deliver_to(Webhook(self.function.url, SECRET, 10))
        try:
            yield bridge
        finally:
            await bridge.stop()


@pytest.fixture
def near(far: ApiTelegramOrg, function: Function, tmp_path: Path) -> Near:
    return Near(far, function, tmp_path)
