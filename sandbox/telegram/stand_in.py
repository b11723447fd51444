"""The stand-in as it is served: the Bot API and the chat page over one service."""

from __future__ import annotations

from functools import cached_property

from starlette.applications import Starlette

from sandbox.telegram.chat_page import ChatPage
from sandbox.telegram.service import TelegramService


class Telegram(TelegramService):
    """`app` is the ASGI application: `/bot<token>/<method>`, `/file/bot<token>/<path>` and the chat page under `/chat`."""

    @cached_property
    def app(self) -> Starlette:
        """To be served on loopback."""
        return Starlette(routes=[*self._page.routes(), *self.server.routes()])

    @cached_property
    def _page(self) -> ChatPage:
        return ChatPage(self)

    async def start(self) -> None:
        """Begin to deliver updates and to serve the page's events."""
        self._page.open()
        await super().start()

    async def stop(self) -> None:
        """End the page's events and stop delivering. What is undelivered stays in the store."""
        self._page.close()
        await super().stop()
