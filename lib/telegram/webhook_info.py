"""getWebhookInfo by one plain request: aiogram would be half a second of imports for a sweep that needs nothing else of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from lib import json_reader
from lib.domain.webhook_state import Looked

if TYPE_CHECKING:
    import httpx

    from lib.settings.plain import TelegramSettings

TIMEOUT_S = 5.0
_MOST_PENDING = 2**31 - 1
_LONGEST_ERROR = 200
_LATEST = 4_102_444_800
"""The year 2100, in Unix time; a later error is none."""


class NoAnswer(Exception):
    """Telegram could not be asked, or refuses the bot; the text says which, without the address: the token is in it."""


async def ask(client: httpx.AsyncClient, settings: TelegramSettings) -> Looked:
    """What Telegram says of the webhook.

    Raises:
        NoAnswer: see there.
    """
    import httpx  # noqa: PLC0415 -- as lib.bootstrap.http_client, whose caller has loaded it

    try:
        response = await client.get(
            f"{settings.api_base.rstrip('/')}/bot{settings.token}/getWebhookInfo", timeout=TIMEOUT_S
        )
    except httpx.HTTPError as error:
        raise NoAnswer(type(error).__name__) from None
    if response.status_code != HTTPStatus.OK:
        raise NoAnswer(f"answered {response.status_code}")
    try:
        told = json_reader.read_object(response.content).get("result")
    except json_reader.UnreadableJson as error:
        raise NoAnswer(f"unreadable: {error}") from None
    if not isinstance(told, dict):
        raise NoAnswer("unreadable: no result")
    failed_at = json_reader.id_or_zero(told.get("last_error_date"))
    said = told.get("last_error_message")
    return Looked(
        is_set=bool(told.get("url")),
        pending=min(json_reader.id_or_zero(told.get("pending_update_count")), _MOST_PENDING),
        last_error_at=failed_at if 0 < failed_at < _LATEST else None,
        last_error=json_reader.storable(said)[:_LONGEST_ERROR] if failed_at and isinstance(said, str) else None,
    )
