"""aiogram's HTTP session, loaded with the first call: most first answers go into the webhook's response and make none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiogram.client.session.base import BaseSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiogram import Bot
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.methods import TelegramMethod
    from aiogram.methods.base import TelegramType


class LateSession(BaseSession):
    """Takes what `BaseSession` takes, and hands every call on to an `AiohttpSession` made when the first one comes.

    aiohttp's import with its certificates costs 0.1 s, a fifth of what the bot costs in all.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._settings = settings
        self.real: AiohttpSession | None = None

    def _opened(self) -> AiohttpSession:
        from lib.bot.session import Session  # noqa: PLC0415 -- aiohttp

        if self.real is None:
            self.real = Session(**self._settings)
        return self.real

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None = None,  # noqa: ASYNC109 -- aiogram's signature
    ) -> TelegramType:
        """See `BaseSession`; aiogram's own middlewares have been run by then."""
        return await self._opened().make_request(bot, method, timeout=timeout)

    async def stream_content(
        self,
        url: str,
        headers: dict[str, Any] | None = None,
        timeout: int = 30,  # noqa: ASYNC109 -- aiogram's signature
        chunk_size: int = 65536,
        raise_for_status: bool = True,  # noqa: FBT001, FBT002 -- as above
    ) -> AsyncGenerator[bytes, None]:
        """See `BaseSession`."""
        real = self._opened()
        async for chunk in real.stream_content(url, headers, timeout, chunk_size, raise_for_status):
            yield chunk

    async def close(self) -> None:
        """Close what was opened."""
        if self.real is not None:
            await self.real.close()
