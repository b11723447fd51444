"""What no deploy can do: the address to enter at @CryptoBot, and the VPN nodes, which are not of this project."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.deploy.engine import Change
    from infra.deploy.world import World

NAME = "by_hand"
TITLE = "What only you can do"


def look(world: World) -> Change | None:
    """Said each time; Crypto Pay does not tell whether it was done, the doctor sees the first webhook come."""
    if "XRAY_API_URL" not in world.settings:
        world.talk.say(
            f"    VPN nodes, each once, as docs/node.md says: make node-add ENV={world.environment} NAME=... (make node-list);"
        )
        world.talk.say("      until there is one, the doctor's nodes-reachable is WRONG: nothing can be sold yet")
    if not (world.inputs.get("database_readers") or (world.inputs.get("database") or {}).get("url_secret")):
        world.talk.say(
            f"    who may read the database (make psql, make doctor): in {world.folder / 'terraform.tfvars'}"
        )
        world.talk.say(f'      database_readers = ["user:you@example.org"], then make deploy ENV={world.environment}')
    if "CRYPTOPAY_TOKEN" not in world.secret_versions():
        world.talk.say("    at @CryptoBot nothing: without CRYPTOPAY_TOKEN payments by Crypto Pay are not offered")
        return None
    url = world.settings.get("CRYPTOPAY_WEBHOOK_URL") or str(world.terraform.outputs()["urls"]["cryptobot_webhook"])
    world.talk.say("    at @CryptoBot, once: Crypto Pay > My Apps > your app > Webhooks > Enable Webhooks, and enter")
    world.talk.say(f"      {url}")
    return None
