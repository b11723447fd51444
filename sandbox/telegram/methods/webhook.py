"""Methods that say how updates reach the bot: the webhook, or getUpdates while there is none."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sandbox.telegram.protocol.errors import ApiError, bad_request, not_modelled, too_many_requests
from sandbox.telegram.updates.delivery import Webhook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.stand_in.clock import Clock
    from sandbox.telegram.protocol.arguments import Arguments
    from sandbox.telegram.updates.delivery import Delivery
    from sandbox.telegram.updates.updates import Update, Updates

PORTS: Final = {80, 88, 443, 8443}
SECRET_LIMIT: Final = 256
DEFAULT_CONNECTIONS: Final = 40
MAX_CONNECTIONS: Final = 100
UPDATES_LIMIT: Final = 100
LONGEST_POLL: Final = 50
_SECRET = re.compile(r"[A-Za-z0-9_-]*")


class Described:
    """A result with the `description` that some methods add to it."""

    def __init__(self, result: Any, description: str) -> None:
        self.result = result
        self.description = description


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_url(url: str, *, allow_local: bool) -> None:
    """Refuse what the server would not call; `allow_local` lets loopback through, which the real one never does.

    Raises:
        ApiError: `Bad Request: bad webhook: ...`.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise bad_request("invalid webhook URL specified") from None
    if allow_local and parts.scheme in {"http", "https"} and _is_loopback(host):
        return
    if parts.scheme != "https":
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
    if (port or 443) not in PORTS:
        raise bad_request("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")
    with contextlib.suppress(ValueError):
        if not ipaddress.ip_address(host).is_global:
            raise bad_request(f"bad webhook: IP address {host} is reserved")
    # Whatever is called from here must be on this machine: the sandbox never talks to the internet.
    raise bad_request("bad webhook: Failed to resolve host: the sandbox calls loopback only")


class WebhookMethods:
    """One coroutine a method; each takes the call's arguments and returns the call's result."""

    def __init__(self, updates: Updates, delivery: Delivery, clock: Clock, *, allow_local: bool) -> None:
        self._updates = updates
        self._delivery = delivery
        self._clock = clock
        self._allow_local = allow_local
        self._set_at = float("-inf")
        self._polling: asyncio.Task[Any] | None = None

    def table(self) -> dict[str, Callable[[Arguments], Awaitable[Any]]]:
        """The methods by lower-case name."""
        return {
            "setwebhook": self.set_webhook,
            "deletewebhook": self.delete_webhook,
            "getwebhookinfo": self.get_webhook_info,
            "getupdates": self.get_updates,
        }

    def _allow(self, arguments: Arguments) -> None:
        """Keep the given `allowed_updates`. Anything but a list of strings is as good as none: the previous ones stay."""
        try:
            kinds = json.loads(arguments.text("allowed_updates"))
        except (ValueError, RecursionError):
            return
        if isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds):
            self._updates.allow([kind.lower() for kind in kinds])

    async def set_webhook(self, arguments: Arguments) -> Described:
        """Deliver to this URL from now on; an empty one deletes the webhook.

        A call that would change anything takes the old webhook away before it looks at the new one, and drops what it is to
        drop: refused after that, the bot has none.
        """
        url, secret = arguments.text("url"), arguments.text("secret_token")
        if not url:
            return await self.delete_webhook(arguments)
        if arguments.file("certificate") is not None:
            raise not_modelled("certificates of one's own")
        now = self._clock.now().timestamp()
        if now - self._set_at < 1:
            raise too_many_requests(1)
        self._set_at = now
        connections = min(max(arguments.integer("max_connections", DEFAULT_CONNECTIONS), 1), MAX_CONNECTIONS)
        webhook = Webhook(url, secret, connections, arguments.text("ip_address"))
        if webhook == self._delivery.webhook and not arguments.flag("drop_pending_updates"):
            self._allow(arguments)
            return Described(True, "Webhook is already set")  # noqa: FBT003 - the API's result is this word
        self._stop_polling()
        if arguments.flag("drop_pending_updates"):
            self._updates.clear()
        try:
            self._check_secret(secret)
            self._allow(arguments)
            check_url(url, allow_local=self._allow_local)
        except ApiError:
            self._delivery.set_webhook(None)
            raise
        self._delivery.set_webhook(webhook)
        return Described(True, "Webhook was set")  # noqa: FBT003 - as above

    @staticmethod
    def _check_secret(secret: str) -> None:
        if len(secret) > SECRET_LIMIT:
            raise bad_request("secret token is too long")
        if not _SECRET.fullmatch(secret):
            raise bad_request("secret token contains unallowed characters")

    async def delete_webhook(self, arguments: Arguments) -> Described:
        """Keep updates for getUpdates."""
        if arguments.flag("drop_pending_updates"):
            self._updates.clear()
        if self._delivery.webhook is None:
            return Described(True, "Webhook is already deleted")  # noqa: FBT003 - as above
        self._delivery.set_webhook(None)
        return Described(True, "Webhook was deleted")  # noqa: FBT003 - as above

    async def get_webhook_info(self, _arguments: Arguments) -> dict[str, Any]:
        """What is set, how much waits, and the last error."""
        self._updates.drop_expired()
        webhook = self._delivery.webhook
        info: dict[str, Any] = {
            "url": webhook.url if webhook else "",
            "has_custom_certificate": False,
            "pending_update_count": len(self._updates),
        }
        if webhook is not None:
            info["max_connections"] = webhook.max_connections
            info["ip_address"] = webhook.ip_address or "127.0.0.1"
            if self._delivery.last_error is not None:
                info["last_error_date"], info["last_error_message"] = self._delivery.last_error
        if self._updates.allowed is not None:
            info["allowed_updates"] = self._updates.allowed
        return info

    def _stop_polling(self) -> None:
        if self._polling is not None and not self._polling.done():
            self._polling.cancel()
        self._polling = None

    async def get_updates(self, arguments: Arguments) -> list[Update]:
        """Updates from `offset` on; those before it are confirmed and gone. Waits up to `timeout` real seconds."""
        if self._delivery.webhook is not None:
            raise ApiError(
                409,
                "Conflict: can't use getUpdates method while webhook is active; "
                "use deleteWebhook to delete the webhook first",
            )
        self._stop_polling()
        self._allow(arguments)
        polling = asyncio.create_task(self._poll(arguments))
        self._polling = polling
        try:
            return await asyncio.shield(polling)
        except asyncio.CancelledError:
            if not polling.cancelled():
                polling.cancel()  # the caller hung up
                raise
            raise ApiError(
                409,
                "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
            ) from None

    async def _poll(self, arguments: Arguments) -> list[Update]:
        offset = arguments.integer("offset")
        limit = min(max(arguments.integer("limit", UPDATES_LIMIT), 1), UPDATES_LIMIT)
        waiting = sorted(self._updates, key=lambda pending: pending.update_id)
        if offset < 0:
            offset = waiting[max(len(waiting) + offset, 0)].update_id if waiting else 0
        for pending in waiting:
            if pending.update_id < offset:
                self._updates.remove(pending)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(arguments.integer("timeout"), 0), LONGEST_POLL)):
                while not len(self._updates):
                    await self._updates.changes.after(self._updates.changes.count)
        self._updates.drop_expired()
        waiting = sorted(self._updates, key=lambda pending: pending.update_id)
        return [pending.body for pending in waiting[:limit]]
