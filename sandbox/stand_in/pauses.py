"""Answers that take their time: some passes before an answer begins, and some in the middle of its body."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Pauses:
    """ASGI middleware. `longest_s` is asked at each call for the longest of either pause, in real seconds; 0: none."""

    def __init__(self, app: ASGIApp, *, longest_s: Callable[[], float], dice: Callable[[], random.Random]) -> None:
        self._app = app
        self._longest_s = longest_s
        self._dice = dice

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, late."""
        longest_s = self._longest_s()
        if not longest_s or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        before_s, inside_s = (self._dice().uniform(0, longest_s) for _ in range(2))

        async def send_late(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] == "http.response.start":
                await asyncio.sleep(before_s)
            elif len(body) > 1:
                half = len(body) // 2
                await send({"type": message["type"], "body": body[:half], "more_body": True})
                await asyncio.sleep(inside_s)
                message = {**message, "body": body[half:]}
            await send(message)

        await self._app(scope, receive, send_late)
