"""What Telegram is told of the webhook, and whether the address can be right: asked of the address itself before Telegram is.

Telegram takes the old webhook away before it looks at a new one, so a refused call leaves the bot with none. Whatever it would refuse, or
deliver to in vain, is found out first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from infra.deploy.problems import Problem
from lib.settings import plain
from lib.telegram.webhook_terms import ALLOWED_UPDATES

if TYPE_CHECKING:
    from infra.deploy.telegram import BotApi
    from infra.deploy.world import World

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 -- the header's name
_PORTS = frozenset({80, 88, 443, 8443})
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Webhook:
    """How the webhook should be.

    Attributes:
        url: of the function, or the operator's own address in front of it.
        connections: how many updates Telegram may deliver at once.
        secret: which Telegram sends along, the current one.
    """

    url: str
    connections: int
    secret: str = field(repr=False)

    def arguments(self) -> dict[str, Any]:
        """Of setWebhook. `drop_pending_updates` is said, though false is Telegram's own: what waits is customers' messages."""
        return {
            "url": self.url,
            "secret_token": self.secret,
            "max_connections": self.connections,
            "allowed_updates": list(ALLOWED_UPDATES),
            "drop_pending_updates": False,
        }

    def differences(self, info: dict[str, Any]) -> list[str]:
        """What getWebhookInfo says otherwise."""
        found = []
        if info.get("url") != self.url:
            found.append(f"address: {info.get('url') or 'none'}, wanted {self.url}")
        if info.get("max_connections") != self.connections:
            found.append(f"connections: {info.get('max_connections')}, wanted {self.connections}")
        if sorted(info.get("allowed_updates") or ()) != sorted(ALLOWED_UPDATES):
            found.append(
                f"kinds of updates: {', '.join(info.get('allowed_updates') or ()) or 'the default ones'}, wanted {', '.join(ALLOWED_UPDATES)}"
            )
        return found


def wanted(world: World) -> Webhook:
    """By the settings and Terraform's outputs."""
    told = world.terraform.outputs()["telegram_webhook"]
    secrets = [part.strip() for part in world.secret("TELEGRAM_WEBHOOK_SECRET").split(",") if part.strip()]
    return Webhook(
        world.settings.get("TELEGRAM_WEBHOOK_URL") or str(told["url"]), int(told["max_connections"]), secrets[0]
    )


def bot(world: World) -> BotApi:
    """The bot whose token is in force."""
    return world.bot_api(
        world.settings.get("TELEGRAM_API_BASE") or plain.TELEGRAM_API, world.secret("TELEGRAM_BOT_TOKEN")
    )


def address_problems(world: World, webhook: Webhook) -> list[Problem]:
    """Whether this is an address that Telegram takes, and whether this release's function with this secret answers there."""
    mend = f"mend TELEGRAM_WEBHOOK_URL in {world.folder / 'terraform.tfvars'}, or what is in front of the function; Telegram was told nothing"
    if (words := _unfit(webhook.url, offline=world.offline)) is not None:
        return [Problem(f"{webhook.url} can't be the webhook: {words}", mend)]
    stranger = _answer(webhook.url, {})
    if isinstance(stranger, str):
        return [Problem(f"{webhook.url} can't be the webhook: {stranger}", mend)]
    if stranger != HTTPStatus.FORBIDDEN:
        return [
            Problem(
                f"{webhook.url} can't be the webhook: it answers {stranger} to a stranger, where telegram_webhook answers 403",
                mend,
            )
        ]
    # Genuine, but no update: the function answers 400 and keeps nothing.
    known = _answer(webhook.url, {SECRET_HEADER: webhook.secret})
    if known == HTTPStatus.FORBIDDEN:
        return [
            Problem(
                f"{webhook.url} does not know the secret that is in force: another environment's function, or an older revision",
                mend,
            )
        ]
    if known != HTTPStatus.BAD_REQUEST:
        return [
            Problem(
                f"{webhook.url} answers {known} to a genuine call without an update, where telegram_webhook answers 400",
                mend,
            )
        ]
    return []


def _unfit(url: str, *, offline: bool) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "it is no address"
    if offline and host == "127.0.0.1":
        return None
    if parts.scheme != "https":
        return "Telegram delivers to https alone"
    if "." not in host or parts.username is not None:
        return "it has no host on the internet"
    if (port or 443) not in _PORTS:
        return f"Telegram delivers to the ports {', '.join(map(str, sorted(_PORTS)))} alone"
    return None


def _answer(url: str, headers: dict[str, str]) -> int | str:
    """The status, or in words why there is none."""
    try:
        return httpx.post(url, headers=headers, content=b"", timeout=_TIMEOUT_S, follow_redirects=False).status_code
    except httpx.ConnectError as error:
        return (
            "its certificate is not one that Telegram accepts"
            if "CERTIFICATE" in str(error).upper()
            else "nothing answers there"
        )
    except httpx.HTTPError as error:
        return f"no answer ({type(error).__name__})"
    except (httpx.InvalidURL, UnicodeError):
        return "it is no address"
