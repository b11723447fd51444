"""The chat page: people on the left, the chat on the right, live. Loopback only.

The page is three static files and a small JSON API under `/chat/api`. State is pushed (server-sent events): each event
holds all the page shows, so a lost connection loses nothing.
"""

from __future__ import annotations

import asyncio
import json
import pathlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, Router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

    from sandbox.telegram.stand_in import Telegram
    from sandbox.telegram.user import User

PAGE: Final = pathlib.Path(__file__).with_name("page")
LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}
SHOWN_MESSAGES: Final = 300
SHOWN_TRAFFIC: Final = 60
PING_SECONDS: Final = 15.0
GATHER_SECONDS: Final = 0.02  # changes that come together are sent together
NAME_LIMIT: Final = 64
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class LoopbackOnly:
    """Refuses what a page elsewhere could send: foreign `Host` (DNS rebinding) and foreign `Origin`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope.get("headers", [])}
        host = headers.get("host", "")
        origin = headers.get("origin")
        if _host_name(host) not in LOOPBACK or (origin is not None and origin != f"http://{host}"):
            refusal = JSONResponse({"error": "this page is for this machine only"}, 403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class _BadInputError(ValueError):
    """What the page sent makes no sense; the text says why."""


class ChatPage:
    """Pages and API over one stand-in."""

    def __init__(self, telegram: Telegram) -> None:
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
            Route("/api/users", self._action(self._add_user), methods=["POST"]),
            Route("/api/users/{user_id:int}/{what}", self._action(self._act), methods=["POST"]),
        ]
        return [Route("/chat", self._to_index, methods=["GET"]), Mount("/chat", app=LoopbackOnly(Router(routes)))]

    async def _to_index(self, _request: Request) -> Response:
        return RedirectResponse("/chat/")

    async def _index(self, _request: Request) -> Response:
        return self._file("index.html")

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in {"chat.js", "chat.css"}:
            return JSONResponse({"error": "not found"}, 404)
        return self._file(name)

    @staticmethod
    def _file(name: str) -> Response:
        headers = {
            "Content-Security-Policy": POLICY,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return FileResponse(PAGE / name, headers=headers)

    def _user(self, user_id: int) -> User:
        if user_id not in self._telegram.chats.accounts:
            raise _BadInputError("there is no such user")
        return self._telegram.user(user_id)

    def _state(self, user_id: int) -> dict[str, Any]:
        """All the page shows: everybody, and the chat of the one who is picked."""
        chats = self._telegram.chats
        people = []
        for account in chats.accounts.values():
            last = chats.last_message(account.id) or {}
            shown = last.get("text") or last.get("caption") or ("Photo" if "photo" in last else "")
            people.append(asdict(account) | {"last": shown[:80], "last_id": last.get("message_id", 0)})
        state: dict[str, Any] = {"bot": self._telegram.bot, "users": people, "chat": None}
        if user_id in chats.accounts:
            user = self._telegram.user(user_id)
            action, until = self._telegram.activity.get(user_id, ("", 0))
            state["chat"] = {
                "id": user_id,
                "messages": chats.messages(user_id)[-SHOWN_MESSAGES:],
                "answers": [asdict(answer) for answer in user.answers],
                "commands": user.commands,
                "action": action if until > chats.now else "",
            }
        return state

    async def _events(self, request: Request) -> Response:
        given = request.query_params.get("user", "0")
        user_id = int(given) if given.isascii() and given.isdigit() else 0
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._stream(user_id), media_type="text/event-stream", headers=headers)

    async def _stream(self, user_id: int) -> AsyncIterator[str]:
        changes = self._telegram.chats.changes
        while self._open:
            seen = changes.count
            yield f"data: {json.dumps(self._state(user_id))}\n\n"
            while changes.count == seen:  # closing moves it too
                try:
                    await asyncio.wait_for(changes.after(seen), PING_SECONDS)
                except TimeoutError:
                    yield ": still here\n\n"
            await asyncio.sleep(GATHER_SECONDS)

    async def _traffic(self, _request: Request) -> Response:
        """The last calls and deliveries, newest first, for the inspector."""
        calls = [asdict(call) for call in self._telegram.calls[: -SHOWN_TRAFFIC - 1 : -1]]
        deliveries = [asdict(attempt) for attempt in self._telegram.deliveries[: -SHOWN_TRAFFIC - 1 : -1]]
        text = json.dumps(
            {"calls": calls, "deliveries": deliveries, "pending": len(self._telegram.pending)}, default=str
        )
        return Response(text, media_type="application/json")

    async def _photo(self, request: Request) -> Response:
        stored = self._telegram.chats.picture(request.path_params["file_id"])
        if stored is None:
            return JSONResponse({"error": "not found"}, 404)
        media_type = "image/png" if stored.picture.kind == "png" else "image/jpeg"
        return Response(stored.body, media_type=media_type, headers={"X-Content-Type-Options": "nosniff"})

    @staticmethod
    def _action(
        handler: Callable[[Request, dict[str, Any]], Awaitable[dict[str, Any]]],
    ) -> Callable[[Request], Awaitable[Response]]:
        """A POST of JSON; only that type, because a foreign page can't send it without asking first."""

        async def endpoint(request: Request) -> Response:
            if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return JSONResponse({"error": "JSON only"}, 415)
            try:
                given = json.loads(await request.body())
                if not isinstance(given, dict):
                    raise _BadInputError("a JSON object is expected")
                return JSONResponse(await handler(request, given))
            except (ValueError, AssertionError) as error:
                return JSONResponse({"error": str(error)}, 400)

        return endpoint

    async def _add_user(self, _request: Request, given: dict[str, Any]) -> dict[str, Any]:
        name, language = given.get("first_name"), given.get("language_code", "")
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= NAME_LIMIT:
            raise _BadInputError(f"a name has 1 to {NAME_LIMIT} characters")
        if not isinstance(language, str) or len(language) > len("zh-hans"):
            raise _BadInputError("a language is a code such as ru, en or pt-br")
        user_id = max([1000, *self._telegram.chats.accounts]) + 1
        return {"id": self._telegram.user(user_id, name.strip(), language_code=language).id}

    async def _act(self, request: Request, given: dict[str, Any]) -> dict[str, Any]:
        user = self._user(request.path_params["user_id"])
        what = request.path_params["what"]
        if what == "send":
            return {"update_id": await user.send(str(given.get("text", "")))}
        if what == "click":
            message_id, data = given.get("message_id"), given.get("data")
            if not isinstance(message_id, int) or not isinstance(data, str):
                raise _BadInputError("message_id and data are needed")
            return {"query_id": await user.click_raw(message_id, data)}
        deeds = {"block": user.block, "unblock": user.unblock, "delete": user.delete_account}
        if what not in deeds:
            raise _BadInputError("send, click, block, unblock or delete")
        deeds[what]()
        return {}
