"""Every call of the run, without a socket: Atlas to Telegram and Crypto Pay, and both to Atlas's webhooks; with what goes wrong on the way."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
from aiogram.exceptions import TelegramNetworkError

from lib.bot.session import Session
from sandbox.telegram.protocol.arguments import Arguments, Upload, parse_arguments
from simulation import processes

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from aiogram import Bot
    from aiogram.methods import TelegramMethod
    from aiogram.methods.base import TelegramType
    from aiogram.types import InputFile

    from sandbox.telegram.calls.bot_api import BotApi
    from simulation.faults import Faults
    from simulation.functions import Functions

TELEGRAM = "http://127.0.0.1:1"
CRYPTO_PAY = "http://127.0.0.1:2"
_LATENCY_S = 0.15
_HANGS_S = 3600.0
_LATE_S = 20.0


class LostOnTheWay(Exception):
    """It never arrived."""


class AnswerLost(Exception):
    """It was taken, and the answer never arrived."""


class Network:
    """Carries calls of Atlas to others.

    Args:
        faults: the weather.
        dice: how long a call takes.
    """

    def __init__(self, faults: Faults, dice: random.Random) -> None:
        self.faults = faults
        self._dice = dice

    async def carry(self, deliver: Callable[[], Awaitable[Any]]) -> Any:
        """One call with its answer.

        Raises:
            LostOnTheWay, AnswerLost
        """
        processes.assert_alive()
        await asyncio.sleep(self._dice.uniform(0, _LATENCY_S))
        processes.assert_alive()
        if self.faults.happens("call_lost"):
            raise LostOnTheWay
        if self.faults.happens("call_hangs"):
            await asyncio.sleep(_HANGS_S)
        answer = await deliver()
        await asyncio.sleep(self._dice.uniform(0, _LATENCY_S))
        processes.assert_alive()
        if self.faults.happens("call_unanswered"):
            raise AnswerLost
        return answer


class Outgoing(httpx.AsyncBaseTransport):
    """httpx of the functions: to the Bot API and to Crypto Pay."""

    def __init__(self, network: Network, api: BotApi, app: Any) -> None:
        self._network = network
        self._api = api
        self._crypto_pay = httpx.ASGITransport(app=app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx; its time limits are the transport's to keep."""
        limit_s = (request.extensions.get("timeout") or {}).get("read")
        body = await request.aread()

        async def deliver() -> httpx.Response:
            if str(request.url).startswith(TELEGRAM):
                return await self._telegram(request, body)
            if self._network.faults.happens("call_refused"):
                return httpx.Response(429, json={"ok": False, "error": {"code": 429, "name": "TOO_MANY_REQUESTS"}})
            answer = await self._crypto_pay.handle_async_request(request)
            return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

        try:
            async with asyncio.timeout(limit_s):
                found: httpx.Response = await self._network.carry(deliver)
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time", request=request) from None
        except LostOnTheWay:
            raise httpx.ConnectError("unreachable", request=request) from None
        except AnswerLost:
            raise httpx.ReadError("cut off", request=request) from None
        return found

    async def _telegram(self, request: httpx.Request, body: bytes) -> httpx.Response:
        method = request.url.path.rpartition("/")[2]
        arguments = parse_arguments(request.headers.get("content-type", ""), body, request.url.query.decode())
        status, said = await self._api.call(method, arguments)
        return httpx.Response(status, json=said)


class BotSession(Session):
    """aiogram's session, whose calls reach the stand-in at once."""

    network: Network
    table: BotApi

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None = None,  # noqa: ASYNC109 -- aiogram's signature
    ) -> TelegramType:
        """See `Session`."""
        arguments = await self._arguments(bot, method)
        name = method.__api_method__

        async def deliver() -> tuple[int, dict[str, Any]]:
            return await self.table.call(name, arguments)

        try:
            async with asyncio.timeout(self.timeout if timeout is None else timeout):
                status, said = await self.network.carry(deliver)
        except TimeoutError as error:
            raise TelegramNetworkError(method=method, message="no answer in time") from error
        except (LostOnTheWay, AnswerLost) as error:
            raise TelegramNetworkError(method=method, message=type(error).__name__) from error
        answer = self.check_response(bot=bot, method=method, status_code=status, content=json.dumps(said))
        result: TelegramType = answer.result  # type: ignore[assignment] # as in Session
        return result

    async def _arguments(self, bot: Bot, method: TelegramMethod[Any]) -> Arguments:
        """As `build_form_data` has them."""
        files: dict[str, InputFile] = {}
        values = {
            name: value
            for name, given in method.model_dump(warnings=False).items()
            if (value := self.prepare_value(given, bot=bot, files=files))
        }
        uploads = {
            name: Upload(file.filename or name, b"".join([part async for part in file.read(bot)]))
            for name, file in files.items()
        }
        return Arguments(values, uploads)


class Incoming(httpx.AsyncBaseTransport):
    """httpx of the stand-ins: news on its way to the webhooks."""

    def __init__(self, targets: Functions, faults: Faults, dice: random.Random) -> None:
        self._targets = targets
        self._faults = faults
        self._dice = dice
        self._copies: set[asyncio.Task[Any]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        body = await request.aread()
        headers = dict(request.headers)
        if self._faults.happens("news_late"):
            await asyncio.sleep(self._dice.uniform(0, _LATE_S))
        if self._faults.happens("news_lost"):
            raise httpx.ConnectError("unreachable", request=request)
        if self._faults.happens("news_twice"):
            copy = asyncio.create_task(self._again(str(request.url), body, headers))
            self._copies.add(copy)
            copy.add_done_callback(self._copies.discard)
        answer = await self._targets.call_url(str(request.url), body, headers)
        if not answer.status or self._faults.happens("news_unanswered"):
            raise httpx.ReadError("cut off", request=request)
        return httpx.Response(answer.status, headers=list(answer.headers), content=answer.body)

    async def _again(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        await asyncio.sleep(self._dice.uniform(0, _LATE_S))
        await self._targets.call_url(url, body, headers)


__all__ = ["CRYPTO_PAY", "TELEGRAM", "BotSession", "Incoming", "Network", "Outgoing"]
