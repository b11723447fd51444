"""A stand-in of its own for each test, and the application that its webhooks go to."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.responses import Response

from sandbox.cryptopay import CryptoPay
from tests.endpoint import Endpoint
from tests.still_clock import StillClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import Receive, Scope, Send

    from sandbox.stand_in.clock import Clock

TOKEN = "12345:AAtest-token"


@dataclass
class Application:
    """Records webhooks as (headers, raw body); `answers` are used up first, then `default`; `gate` holds answers back."""

    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    default: int = 200
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.got.append(({name.decode(): value.decode() for name, value in scope["headers"]}, body))
        await self.gate.wait()
        await Response(b"", self.answers.pop(0) if self.answers else self.default)(scope, receive, send)


@dataclass
class Shop:
    pay: CryptoPay
    clock: Clock
    application: Application
    http: httpx.AsyncClient

    async def call(self, method: str, **params: Any) -> Any:
        """Result of a call that must succeed."""
        answer = await self.http.post(f"/api/{method}", json=params)
        assert answer.status_code == 200, answer.text
        assert answer.json()["ok"] is True
        return answer.json()["result"]

    async def refused(self, method: str, **params: Any) -> tuple[int, str]:
        """Code and name of the error of a call that must fail."""
        answer = await self.http.post(f"/api/{method}", json=params)
        body = answer.json()
        assert body["ok"] is False
        assert body["error"]["code"] == answer.status_code
        return body["error"]["code"], body["error"]["name"]

    async def invoice(self, **params: Any) -> dict[str, Any]:
        asked = {"currency_type": "fiat", "fiat": "RUB", "amount": "299.00", "payload": "order-1"} | params
        made: dict[str, Any] = await self.call("createInvoice", **asked)
        return made


@pytest.fixture(scope="session")
async def address() -> AsyncIterator[tuple[Endpoint, str]]:
    endpoint = Endpoint()
    await endpoint.server.start()
    yield endpoint, f"{endpoint.server.url}/webhook/payment"
    await endpoint.server.stop()


@pytest.fixture
async def make_shop(address: tuple[Endpoint, str]) -> AsyncIterator[Callable[..., Any]]:
    endpoint, url = address
    application = endpoint.app = Application()
    async with contextlib.AsyncExitStack() as running:
        running.callback(application.gate.set)

        async def make(clock: Clock | None = None, **options: Any) -> Shop:
            clock = clock or StillClock()
            pay = CryptoPay(**({"tokens": [TOKEN, "12345:old"]} | options), clock=clock)
            pay.webhook_url = url
            await pay.start()
            running.push_async_callback(pay.stop)
            http = await running.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(pay.app),
                    base_url="http://127.0.0.1",
                    headers={"Crypto-Pay-API-Token": TOKEN},
                )
            )
            return Shop(pay, clock, application, http)

        yield make


@pytest.fixture
async def shop(make_shop: Callable[..., Any]) -> Shop:
    made: Shop = await make_shop()
    return made
