"""Telegram told where updates go, and asked whether it is so. The old webhook is never deleted, what waits is never dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.deploy import webhook_calls
from infra.deploy.engine import Change
from infra.deploy.problems import Problem, Refused
from infra.deploy.telegram import TelegramRefused

if TYPE_CHECKING:
    from infra.deploy.telegram import BotApi
    from infra.deploy.webhook_calls import Webhook
    from infra.deploy.world import World

NAME = "webhook"
TITLE = "The webhook at Telegram"

_TRIES = 3
_BETWEEN_S = 1.1
"""Telegram takes one setWebhook a second."""


def look(world: World) -> Change:
    """Said again each time: Telegram does not tell which secret it sends, and the same call twice changes nothing.

    Raises:
        Refused: the address can't be the webhook; Telegram was told nothing.
        TelegramRefused
    """
    world.talk.say("    reads the bot's token and the webhook's secret; the alert for secrets read by hand may say so")
    webhook, bot = webhook_calls.wanted(world), webhook_calls.bot(world)
    if problems := webhook_calls.address_problems(world, webhook):
        raise Refused(*problems)
    info = bot.call("getWebhookInfo")
    waiting = info.get("pending_update_count", 0)
    told = webhook.differences(info) or ["as wanted; said again with the secret in force"]
    told.append(f"{waiting} updates wait and are kept")
    return Change(told, lambda: _tell(world, bot, webhook), asks=bool(webhook.differences(info)))


def _tell(world: World, bot: BotApi, webhook: Webhook) -> None:
    for last in [False] * (_TRIES - 1) + [True]:
        try:
            bot.call("setWebhook", **webhook.arguments())
            break
        except TelegramRefused as error:
            if last or "Too Many Requests" not in str(error):
                raise Refused(
                    Problem(
                        f"{error}; the bot may be without a webhook now",
                        f"mend it, then at once: make deploy ENV={world.environment}",
                    )
                ) from None
            world.pause(_BETWEEN_S)
    info: dict[str, Any] = bot.call("getWebhookInfo")
    if differences := webhook.differences(info):
        raise Refused(
            *(
                Problem(
                    f"Telegram has another webhook than it was told: {one}",
                    f"does another program set it? then make deploy ENV={world.environment}",
                )
                for one in differences
            )
        )
    world.talk.say(f"    Telegram delivers to {webhook.url}")
