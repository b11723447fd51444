"""aiogram's session over aiohttp, with every refusal made one that can be judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiogram.client.session.aiohttp import AiohttpSession
from aiohttp import ClientTimeout

if TYPE_CHECKING:
    from aiogram import Bot
    from aiogram.methods import Response, TelegramMethod
    from aiogram.methods.base import TelegramType

_CONNECT_SHARE = 0.5
_REFUSED, _FLOOD, _FAILED = 400, 429, 500


class Session(AiohttpSession):
    """Connecting has a limit of its own, so that a host that swallows packets is told from an answer that never came."""

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None = None,  # noqa: ASYNC109 -- aiogram's signature
    ) -> TelegramType:
        """See `BaseSession`; `timeout` in seconds."""
        total = self.timeout if timeout is None else timeout
        limit: Any = ClientTimeout(total=total, connect=total * _CONNECT_SHARE)  # aiogram passes it on as it is
        return await super().make_request(bot, method, timeout=limit)

    def check_response(
        self, bot: Bot, method: TelegramMethod[TelegramType], status_code: int, content: str
    ) -> Response[TelegramType]:
        """See `BaseSession`. A refusal without words, or in another shape than documented, is a refusal all the same.

        Only what a proxy says with 5xx is left as it is: whether the call was taken is unknown then.
        """
        if status_code >= _REFUSED:
            content = _refusal(status_code, content)
        return super().check_response(bot, method, status_code, content)


def _refusal(status: int, content: str) -> str:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        if status >= _FAILED:
            return content
        said = {}
    description, parameters = said.get("description"), said.get("parameters")
    if not isinstance(description, str):
        description = "Too Many Requests" if status == _FLOOD else f"HTTP {status}"
    numbers = {
        name: value
        for name, value in (parameters.items() if isinstance(parameters, dict) else ())
        if name in {"retry_after", "migrate_to_chat_id"} and type(value) is int
    }
    return json.dumps(
        {
            "ok": False,
            "error_code": status,
            "description": description,
            "parameters": numbers or None,
        }
    )
