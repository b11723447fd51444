"""aiogram's session over aiohttp, with every answer made one that can be judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.exceptions import TelegramNetworkError
from aiohttp import ClientError, ClientTimeout

from lib import json_reader

if TYPE_CHECKING:
    from aiogram import Bot
    from aiogram.methods import Response, TelegramMethod
    from aiogram.methods.base import TelegramType
    from aiohttp import ClientResponse

_CONNECT_SHARE = 0.5
_SUCCESSES = range(200, 300)
_REFUSED, _FLOOD, _FAILED = 400, 429, 500
_MOST_BYTES = 4 * 1024 * 1024
"""The largest answer to any method the bot calls is a hundredth of it."""
_CHUNK = 64 * 1024
_LONGEST_PAUSE_S = 7 * 86_400
_PAUSE_S = 5  # after flood control that names no time
_LONGEST_DESCRIPTION = 1000


class Session(AiohttpSession):
    """Connecting has a limit of its own, so that a host that swallows packets is told from an answer that never came."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(json_loads=_parsed, **settings)

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None = None,  # noqa: ASYNC109 -- aiogram's signature
    ) -> TelegramType:
        """See `BaseSession`; `timeout` in seconds.

        aiogram's own reads an answer of any size and fails on one that is not UTF-8. No redirect is followed: the address holds
        the token.
        """
        total = self.timeout if timeout is None else timeout
        session = await self.create_session()
        try:
            async with session.post(
                self.api.api_url(token=bot.token, method=method.__api_method__),
                data=self.build_form_data(bot=bot, method=method),
                timeout=ClientTimeout(total=total, connect=total * _CONNECT_SHARE),
                allow_redirects=False,
            ) as response:
                content = await _text(response)
        except TimeoutError as error:
            raise TelegramNetworkError(method=method, message="no answer in time") from error
        except ClientError as error:  # its text may hold the address
            raise TelegramNetworkError(method=method, message=type(error).__name__) from error
        answer = self.check_response(bot=bot, method=method, status_code=response.status, content=content)
        result: TelegramType = answer.result  # type: ignore[assignment] # an answer that is ok has the method's own result
        return result

    def check_response(
        self, bot: Bot, method: TelegramMethod[TelegramType], status_code: int, content: str
    ) -> Response[TelegramType]:
        """See `BaseSession`. A refusal without words, or in another shape than documented, is a refusal all the same.

        Whether the call was taken is unknown of what a proxy says with 5xx and of a success that can't be read: these are left
        as they are.
        """
        return super().check_response(bot, method, status_code, _as_documented(status_code, content))


async def _text(response: ClientResponse) -> str:
    """The answer's text; of one that is too large or not UTF-8 nothing, which is no JSON."""
    parts, size = [], 0
    async for part in response.content.iter_chunked(_CHUNK):
        size += len(part)
        if size > _MOST_BYTES:
            return ""
        parts.append(part)
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        return ""


def _parsed(content: str) -> Any:
    return json_reader.read(content.encode())


def _as_documented(status: int, content: str) -> str:
    try:
        said = _parsed(content)
    except json_reader.UnreadableJson:
        said = None
    if not isinstance(said, dict):
        if status in _SUCCESSES or status >= _FAILED:
            return content
        said = {}
    if status in _SUCCESSES and said.get("ok") is True:
        return content
    description, parameters = said.get("description"), said.get("parameters")
    if not isinstance(description, str):
        description = f"HTTP {status}"
    told = parameters if isinstance(parameters, dict) else {}
    numbers = {}
    if json_reader.is_id(told.get("retry_after")):
        numbers["retry_after"] = min(told["retry_after"], _LONGEST_PAUSE_S)
    elif status == _FLOOD:  # the status decides, whatever words it comes with
        numbers["retry_after"] = _PAUSE_S
    if json_reader.is_id(-told["migrate_to_chat_id"] if type(told.get("migrate_to_chat_id")) is int else None):
        numbers["migrate_to_chat_id"] = told["migrate_to_chat_id"]  # of a group: below zero
    return json.dumps(
        {
            "ok": False,
            "error_code": status,
            "description": json_reader.storable(description)[:_LONGEST_DESCRIPTION],
            "parameters": numbers or None,
        }
    )
