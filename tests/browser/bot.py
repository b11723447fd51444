"""A tiny bot on loopback, for a chat page to talk to: a webhook of its own, calls through HTTP, nothing of Atlas."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.stand_in.clock import Clock
from sandbox.telegram import Telegram, Timing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Locator, Page
    from starlette.requests import Request

    from sandbox.stand_in.server import Server
    from tests.endpoint import Endpoint

TOKEN = "42:TEST"
COMMANDS = [
    {"command": "start", "description": "From the beginning"},
    {"command": "buy", "description": "What it costs"},
    {"command": "help", "description": "Answers"},
]
MENU = {
    "inline_keyboard": [
        [{"text": "Count", "callback_data": "count:1"}, {"text": "Warn", "callback_data": "warn"}],
        [{"text": "Copy key", "copy_text": {"text": "vless://key"}}, {"text": "Slow", "callback_data": "slow"}],
    ]
}


@dataclass
class Bot:
    """Answers /start with a menu, counts in place, warns by an alert, leaves "slow" unanswered, echoes the rest."""

    telegram: Telegram
    server: Server
    url: str = ""
    checkout: str = ""
    """Why a payment is refused; empty lets it go on."""
    status: int = 200
    """What the webhook answers."""
    updates: list[dict[str, Any]] = field(default_factory=list)
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(trust_env=False, timeout=10))

    @property
    def chat_url(self) -> str:
        return f"{self.server.url}/chat/"

    async def call(self, method: str, **parameters: Any) -> Any:
        response = await self.client.post(f"{self.server.url}/bot{TOKEN}/{method}", json=parameters)
        body = response.json()
        assert body["ok"], body
        return body["result"]

    async def endpoint(self, request: Request) -> Response:
        update = await request.json()
        self.updates.append(update)
        if self.status != 200:
            return Response(status_code=self.status)
        if "callback_query" in update:
            await self._clicked(update["callback_query"])
        elif "pre_checkout_query" in update:
            answer = {"ok": False, "error_message": self.checkout} if self.checkout else {"ok": True}
            await self.call(
                "answerPreCheckoutQuery", pre_checkout_query_id=update["pre_checkout_query"]["id"], **answer
            )
        elif "text" in update.get("message", {}):
            return self._written(update["message"])
        return JSONResponse({})

    def _written(self, message: dict[str, Any]) -> Response:
        text = message["text"]
        method = {"method": "sendMessage", "chat_id": message["chat"]["id"]}
        if text.startswith("/start"):
            return JSONResponse(method | {"text": f"Menu of {message['from']['first_name']}", "reply_markup": MENU})
        if text == "/buy":
            keyboard = {"inline_keyboard": [[{"text": "Pay", "url": "https://example.org/"}]]}
            return JSONResponse(method | {"text": "Prices", "reply_markup": keyboard})
        return JSONResponse(method | {"text": f"You wrote: {text}"})

    async def _clicked(self, query: dict[str, Any]) -> None:
        message, data = query["message"], query["data"]
        if data == "slow":
            return
        if data == "warn":
            await self.call("answerCallbackQuery", callback_query_id=query["id"], text="Mind the gap", show_alert=True)
            return
        count = int(data.partition(":")[2])
        keyboard = {"inline_keyboard": [[{"text": "Count", "callback_data": f"count:{count + 1}"}]]}
        place = {"chat_id": message["chat"]["id"], "message_id": message["message_id"]}
        await self.call("editMessageText", text=f"Counted {count}", reply_markup=keyboard, **place)
        await self.call("answerCallbackQuery", callback_query_id=query["id"], text=f"That is {count}")


@asynccontextmanager
async def running(front: Endpoint, back: Endpoint) -> AsyncIterator[Bot]:
    """The bot behind one endpoint and its Telegram behind the other, with Anna and Boris, who have not started it."""
    telegram = Telegram(
        TOKEN, "atlas_local_bot", Clock(), timing=Timing(backoff=0.05), provider_tokens=["381764678:TEST:1"]
    )
    telegram.user(1001, "Anna", language_code="en")
    telegram.user(1002, "Boris", language_code="en")
    bot = Bot(telegram, front.server)
    front.app = telegram.app
    back.app = Starlette(routes=[Route("/", bot.endpoint, methods=["POST"])])
    await telegram.start()
    try:
        await bot.call("setWebhook", url=f"{back.server.url}/")
        await bot.call("setMyCommands", commands=COMMANDS)
        yield bot
    finally:
        await telegram.stop()
        await bot.client.aclose()
        telegram.close()


@dataclass
class Chat:
    """The chat page in a browser, and the bot behind it."""

    bot: Bot
    page: Page

    async def open(self, *people: int, inspector: bool = False) -> None:
        """Open the page with these chats side by side."""
        shown = ",".join(map(str, people))
        await self.page.goto(f"{self.bot.chat_url}#user={shown}{'&inspector=1' if inspector else ''}")
        for person in people:
            await self.pane(person).wait_for()

    def pane(self, person: int = 1001) -> Locator:
        """One person's chat."""
        return self.page.locator(f"[data-pane='{person}']")

    def messages(self, person: int = 1001) -> Locator:
        """The bubbles of a chat."""
        return self.pane(person).locator(".bubble")

    async def started(self, person: int = 1001) -> dict[str, Any]:
        """They have started the bot; its menu."""
        user = self.bot.telegram.user(person)
        await user.send("/start")
        return (await user.wait_for(lambda messages: [one for one in messages if one["from"]["is_bot"]]))[-1]
