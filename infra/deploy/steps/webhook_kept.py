"""The webhook after a rollback: as it was, which is looked at and not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy import webhook_calls
from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from infra.deploy.engine import Change
    from infra.deploy.world import World

NAME = "webhook_kept"
TITLE = "The webhook at Telegram, as it was"


def look(world: World) -> Change | None:
    """Nothing is changed here.

    Raises:
        Refused: Telegram delivers elsewhere.
    """
    webhook, bot = webhook_calls.wanted(world), webhook_calls.bot(world)
    found = [
        Problem(f"the webhook: {one}", f"make deploy ENV={world.environment} of the release that is wanted")
        for one in webhook.differences(bot.call("getWebhookInfo"))
    ]
    found += webhook_calls.address_problems(world, webhook)
    if found:
        raise Refused(*found)
    world.talk.say(f"    Telegram delivers to {webhook.url}")
    return None
