"""What Telegram is to be told with setWebhook beside address and secret: which kinds of updates, and how many at once.

One place for what sets it (`make deploy`, the local system) and for what looks whether it is so (`make doctor`). No function imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lib.function_table import Function

ALLOWED_UPDATES: Final = ("message", "callback_query", "pre_checkout_query", "my_chat_member")
"""The kinds that the bot handles (`lib.telegram.intake`). Telegram sends no other; without this list it leaves some of these out."""
_MOST = 100
"""Telegram's own limit of `max_connections`."""


def most_connections(webhook: Function, instances: int | None = None) -> int:
    """How many updates Telegram may deliver at once: as many as all instances of the function take.

    Args:
        webhook: the row of `telegram_webhook`.
        instances: how many there can be; the row's own limit unless said.
    """
    return min(_MOST, webhook.concurrency * (webhook.max_instances if instances is None else instances))
