"""The chat page: people, their chats side by side, and the inspector, live. Loopback only.

The page is static files and a small JSON API under `/chat/api`. State is pushed (server-sent events): each event holds
all the page shows, so a lost connection loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from starlette.middleware import Middleware
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from sandbox.stand_in.json_object import json_object
from sandbox.stand_in.loopback import JsonOnly, LoopbackOnly, OwnPageOnly
from sandbox.telegram.inspection import mark, trace
from sandbox.telegram.protocol.arguments import whole_number
from sandbox.telegram.user_actions import USER_ACTIONS, BadInputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from sandbox.telegram.chats.accounts import Account
    from sandbox.telegram.chats.chats import Message
    from sandbox.telegram.service import TelegramService
    from sandbox.telegram.user import User

PAGE: Final = pathlib.Path(__file__).with_name("page")
STYLES: Final = ("page.css", "chat.css", "inspector.css")
MODULES: Final = (
    "main.js",
    "composer.js",
    "connection.js",
    "elements.js",
    "entities.js",
    "inspector.js",
    "links.js",
    "menu.js",
    "messages.js",
    "moments.js",
    "money.js",
    "pane.js",
    "payment.js",
    "people.js",
    "route.js",
    "sheets.js",
)
SHOWN_PANES: Final = 3
SHOWN_MESSAGES: Final = 300
PREVIEW_LIMIT: Final = 80
PING_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.25  # how late the inspector may learn of what moves no chat
RETRY_MS: Final = 500  # how soon the browser comes back after a lost connection
GATHER_SECONDS: Final = 0.02  # changes that come together are sent together
NAME_LIMIT: Final = 64
NOTHING_FRAMED: Final = "'none'"
# What the list says of a message without words.
KINDS: Final = {
    "photo": "Photo",
    "video": "Video",
    "animation": "GIF",
    "audio": "Audio",
    "voice": "Voice message",
    "video_note": "Video message",
    "document": "File",
    "sticker": "Sticker",
    "invoice": "Invoice",
    "successful_payment": "Payment",
    "refunded_payment": "Refund",
}


class ChatPage:
    """Pages and API over one stand-in."""

    def __init__(self, telegram: TelegramService) -> None:
        self._telegram = telegram
        self._open = True

    def open(self) -> None:
        """Serve events."""
        self._open = True

    def close(self) -> None:
        """End every open event stream."""
        self._open = False
        self._telegram.chats.changes.tell()

    def routes(self) -> list[BaseRoute]:
        """Everything under `/chat`."""
        routes = [
            Route("/", self._index, methods=["GET"]),
            Route("/{name:str}", self._asset, methods=["GET"]),
            Route("/api/events", self._events, methods=["GET"]),
            Route("/api/traffic", self._traffic, methods=["GET"]),
            Route("/api/photo/{file_id}", self._photo, methods=["GET"]),
            Route("/api/file/{file_id}", self._sent_file, methods=["GET"]),
            Route("/api/invoice", self._invoice, methods=["GET"]),
            Route("/api/users", self._action(self._add_user), methods=["POST"]),
            Route("/api/users/{user_id:int}/{what}", self._action(self._act), methods=["POST"]),
        ]
        guards = [Middleware(LoopbackOnly), Middleware(OwnPageOnly, even_looks=True), Middleware(JsonOnly)]
        return [Route("/chat", self._to_index, methods=["GET"]), Mount("/chat", routes=routes, middleware=guards)]

    async def _to_index(self, _request: Request) -> Response:
        return RedirectResponse("/chat/")

    async def _index(self, _request: Request) -> Response:
        return self._file("index.html", "text/html")

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name in STYLES:
            return self._file(name, "text/css")
        if name in MODULES:
            return self._file(name, "text/javascript")
        return JSONResponse({"error": "not found"}, 404)

    def _policy(self) -> str:
        """Nothing from elsewhere but the pages that the sandbox itself wants framed."""
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self';"
            f" connect-src 'self'; frame-src {' '.join(self._telegram.framed) or NOTHING_FRAMED};"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def _file(self, name: str, media_type: str) -> Response:
        headers = {
            "Content-Security-Policy": self._policy(),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return FileResponse(PAGE / name, headers=headers, media_type=media_type)

    def _user(self, user_id: int) -> User:
        if user_id not in self._telegram.chats.accounts:
            raise BadInputError("there is no such user")
        return self._telegram.user(user_id)

    def _state(self, shown: list[int]) -> dict[str, Any]:
        """All the page shows: all people, and the chats that are open."""
        chats = self._telegram.chats
        return {
            "now": chats.now,
            "bot": self._telegram.bot,
            "framed": self._telegram.framed,
            "users": [self._person(account) for account in chats.accounts.values()],
            "chats": {user_id: self._chat(user_id) for user_id in shown if user_id in chats.accounts},
        }

    def _person(self, account: Account) -> dict[str, Any]:
        last = self._telegram.chats.last_message(account.id)
        told = {"last": "", "last_id": 0, "last_date": 0, "last_own": False}
        if last is not None:
            told = {
                "last": _preview(last),
                "last_id": last["message_id"],
                "last_date": last["date"],
                "last_own": last["from"]["id"] == account.id,
            }
        filled_in = {"filled_in": account.particulars()}
        return asdict(account) | told | filled_in | {"admin": account.id in self._telegram.admins}

    def _chat(self, user_id: int) -> dict[str, Any]:
        chats, user = self._telegram.chats, self._telegram.user(user_id)
        action, until = self._telegram.activity.get(user_id, ("", 0))
        left = max(0, until - chats.now)
        return {
            "id": user_id,
            "messages": chats.messages(user_id)[-SHOWN_MESSAGES:],
            "answers": [asdict(answer) for answer in user.answers],
            "commands": user.commands,
            "subscriptions": [asdict(one) | {"renews": one.renews} for one in user.subscriptions],
            "action": action if left else "",
            "action_left": left,
        }

    async def _events(self, request: Request) -> Response:
        listed = map(whole_number, request.query_params.get("user", "").split(","))
        shown = [user_id for user_id in listed if user_id is not None][:SHOWN_PANES]
        stream = self._stream(shown, inspecting=request.query_params.get("traffic") == "1")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def _stream(self, shown: list[int], *, inspecting: bool) -> AsyncIterator[str]:
        """One stream a page: `message` events with the state, `traffic` events for an open inspector."""
        changes = self._telegram.chats.changes
        yield f"retry: {RETRY_MS}\n\n"
        seen, told, spoken = -1, None, time.monotonic()
        while self._open:
            if changes.count != seen:
                seen, spoken = changes.count, time.monotonic()
                yield f"data: {json.dumps(self._state(shown))}\n\n"
            if inspecting and (now := mark(self._telegram)) != told:
                told, spoken = now, time.monotonic()
                yield f"event: traffic\ndata: {json.dumps(trace(self._telegram), default=str)}\n\n"
            if time.monotonic() - spoken >= PING_SECONDS:
                spoken = time.monotonic()
                yield ": still here\n\n"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changes.after(seen), LOOK_SECONDS if inspecting else PING_SECONDS)
                await asyncio.sleep(GATHER_SECONDS)  # closing moves it too

    async def _traffic(self, _request: Request) -> Response:
        """What the inspector shows, once."""
        return Response(json.dumps(trace(self._telegram), default=str), media_type="application/json")

    async def _photo(self, request: Request) -> Response:
        stored = self._telegram.chats.picture(request.path_params["file_id"])
        if stored is None:
            return JSONResponse({"error": "not found"}, 404)
        media_type = "image/png" if stored.picture.kind == "png" else "image/jpeg"
        return Response(stored.body, media_type=media_type, headers={"X-Content-Type-Options": "nosniff"})

    async def _sent_file(self, request: Request) -> Response:
        """Anything else that was sent. Shown on the page or saved, never opened: a bot may send a page of its own."""
        stored = self._telegram.chats.files.file(request.path_params["file_id"])
        if stored is None:
            return JSONResponse({"error": "not found"}, 404)
        inline = stored.mime_type.partition("/")[0] in {"audio", "image", "video"}
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": "attachment",  # under the name that the page's link gives it
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        media_type = stored.mime_type if inline else "application/octet-stream"
        return Response(stored.body, media_type=media_type, headers=headers)

    async def _invoice(self, request: Request) -> Response:
        """What a link of createInvoiceLink offers, or an invoice in the chat, with what its payer is asked for."""
        asked = request.query_params
        name = asked.get("message") or asked.get("link", "").removeprefix("https://t.me/")
        offered = self._telegram.payments.invoice(name)
        if offered is None:
            return JSONResponse({"error": "there is no invoice at this link"}, 404)
        return JSONResponse(
            offered.shown() | {"subscription_period": offered.subscription_period, "asks": offered.asks}
        )

    @staticmethod
    def _action(
        handler: Callable[[Request, dict[str, Any]], Awaitable[dict[str, Any]]],
    ) -> Callable[[Request], Awaitable[Response]]:
        """A POST of a JSON object."""

        async def endpoint(request: Request) -> Response:
            try:
                return JSONResponse(await handler(request, json_object(await request.body())))
            except (ValueError, AssertionError) as error:
                return JSONResponse({"error": str(error)}, 400)

        return endpoint

    async def _add_user(self, _request: Request, given: dict[str, Any]) -> dict[str, Any]:
        name, language = given.get("first_name"), given.get("language_code", "")
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= NAME_LIMIT:
            raise BadInputError(f"a name has 1 to {NAME_LIMIT} characters")
        if not isinstance(language, str) or len(language) > len("zh-hans"):
            raise BadInputError("a language is a code such as ru, en or pt-br")
        user_id = max([1000, *self._telegram.chats.accounts]) + 1
        return {"id": self._telegram.user(user_id, name.strip(), language_code=language).id}

    async def _act(self, request: Request, given: dict[str, Any]) -> dict[str, Any]:
        user = self._user(request.path_params["user_id"])
        action = USER_ACTIONS.get(request.path_params["what"])
        if action is None:
            raise BadInputError(f"one of: {', '.join(USER_ACTIONS)}")
        return await action(user, given)


def _preview(message: Message) -> str:
    """The line under a person's name."""
    text = message.get("text") or message.get("caption")
    if text:
        return str(text)[:PREVIEW_LIMIT]
    for name, word in KINDS.items():
        if name in message:
            return word
    return ""
