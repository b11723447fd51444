"""Where the local system's bot lives: the stand-in on this machine, or the real Telegram (`sandbox.bridge`).

`System` knows no more of it than this; simulated people, the chat page and faults on demand are the stand-in's own.
"""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx

from lib import texts
from lib.telegram.webhook_terms import ALLOWED_UPDATES
from sandbox.stand_in.server import Server
from sandbox.telegram import Telegram

if TYPE_CHECKING:
    from sandbox.stand_in.clock import Clock
    from sandbox.stand_in.faults import Faults
    from sandbox.state.home import Home
    from sandbox.telegram import Limits, Webhook

BOT_USERNAME: Final = "atlas_local_bot"
_FIRST_PERSON: Final = 100_001


class MessengerFailedError(RuntimeError):
    """The bot can't be served; the text says why, in words for a person, without any secret."""


class Messenger(Protocol):
    """A bot's side of Telegram. `open`, `deliver_to`, `stop`, once each."""

    token: str
    username: str
    api_base: str
    """Functions call `{api_base}/bot{token}/{method}`."""
    real: bool
    """Whether messages go to people, not to a page on this machine."""
    page_origin: str | None
    """Of a chat page on this machine, which shows other pages of it inside; None where there is none."""

    def settings(self) -> dict[str, str]:
        """What functions are told of the bot (docs/configuration.md), the token included."""

    async def open(self, framed: tuple[str, ...] = (), admins: frozenset[int] = frozenset()) -> None:
        """Answer the functions' calls from now on.

        Args:
            framed: origins whose pages the chat may show inside.
            admins: ids of the bot's administrators, for the chat to mark them.
        """

    async def deliver_to(self, webhook: Webhook) -> None:
        """Send updates there from now on.

        Raises:
            MessengerFailedError: refused.
        """

    def spoil_calls(self, faults: Faults) -> None:
        """Let go wrong with calls of the bot what `faults` says of them.

        Raises:
            ValueError: this Telegram takes no orders.
        """

    async def stop(self) -> None:
        """End both. What is undelivered is kept for the next time."""

    async def idle(self, timeout: float) -> None:  # noqa: ASYNC109 - the caller is told what is left, not a bare timeout
        """Wait until every update at hand is delivered and every call that came in a response executed.

        Raises:
            AssertionError: not within so many real seconds; the text names what is left.
        """

    def activity(self) -> dict[str, int]:
        """Counts that move with everything that happens."""

    @property
    def undelivered(self) -> int:
        """Updates at hand that the functions have not taken."""

    @property
    def chat_url(self) -> str:
        """Where a person writes to the bot."""


class StandIn:
    """The stand-in, with a made-up bot, its state below `home`, its time the sandbox's.

    `limits`: what the real Telegram lets a bot send; without them tests and measurements send as fast as they can.
    """

    def __init__(self, home: Home, clock: Clock, *, limits: Limits | None = None) -> None:
        self._limits = limits
        self._home = home
        self._clock = clock
        self._telegram: Telegram | None = None
        self._server: Server | None = None
        self.token = f"{7_000_000_001}:{home.secret('telegram')}"
        self._provider_token = f"381764678:TEST:{home.secret('telegram.provider')}"
        self.username = BOT_USERNAME
        self.real = False
        self.api_base = f"http://127.0.0.1:{home.port('telegram')}"
        self.page_origin: str | None = self.api_base

    @property
    def telegram(self) -> Telegram:
        """People, pages and faults; RuntimeError before `open`."""
        if self._telegram is None:
            raise RuntimeError("the stand-in for Telegram is not up")
        return self._telegram

    def settings(self) -> dict[str, str]:
        """The bot, a provider of cards with receipts by email, and a support account that exists nowhere."""
        return {
            "TELEGRAM_BOT_TOKEN": self.token,
            "TELEGRAM_BOT_USERNAME": self.username,
            "TELEGRAM_API_BASE": self.api_base,
            "TELEGRAM_PROVIDER_TOKEN": self._provider_token,
            "CARD_RECEIPT": "vat_code=1,payment_subject=service",
            "SUPPORT_URL": "https://t.me/atlas_local_support",
        }

    async def open(self, framed: tuple[str, ...] = (), admins: frozenset[int] = frozenset()) -> None:
        """Serve the Bot API and the chat page; deliver where the last run's webhook was."""
        store = self._home.folder("stores") / "telegram.sqlite3"
        self._telegram = Telegram(
            self.token,
            self.username,
            self._clock,
            store=store,
            provider_tokens=[self._provider_token],
            limits=self._limits,
        )
        self._telegram.framed, self._telegram.admins = framed, admins
        self._server = Server(self._telegram.app, self._home.port("telegram"))
        await self._server.start()
        await self._telegram.start()

    async def deliver_to(self, webhook: Webhook) -> None:
        """What a deploy does once: tell Telegram where updates go, with the secret, and which commands there are.

        Raises:
            MessengerFailedError: the Bot API refused.
        """
        arguments = {
            "url": webhook.url,
            "secret_token": webhook.secret_token,
            "max_connections": webhook.max_connections,
            "allowed_updates": list(ALLOWED_UPDATES),
        }
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            await self._call(client, "setWebhook", arguments)
            for code, language in (("", "en"), ("ru", "ru")):  # other languages than these read English
                commands = texts.of(language).commands()
                await self._call(client, "setMyCommands", {"commands": commands, "language_code": code})

    async def _call(self, client: httpx.AsyncClient, method: str, arguments: dict[str, Any]) -> None:
        response = await client.post(f"{self.api_base}/bot{self.token}/{method}", json=arguments)
        if response.status_code != HTTPStatus.OK:
            raise MessengerFailedError(f"{method}: {response.json().get('description')}")

    def spoil_calls(self, faults: Faults) -> None:
        """See `Faults`: those that are of calls."""
        of_calls = self.telegram.faults
        of_calls.flooded, of_calls.refused, of_calls.slow_s = faults.flooded, faults.refused, faults.slow_s

    async def stop(self) -> None:
        """Stop delivering, then serving."""
        if self._telegram is not None:
            await self._telegram.stop()
            if self._server is not None:
                await self._server.stop()
            self._telegram.close()

    async def idle(self, timeout: float) -> None:  # noqa: ASYNC109 - as in the protocol
        """See `Telegram.idle`."""
        await self.telegram.idle(timeout)

    def activity(self) -> dict[str, int]:
        """Deliveries and calls so far."""
        return {"updates": len(self.telegram.deliveries), "calls": len(self.telegram.calls)}

    @property
    def undelivered(self) -> int:
        """Updates in the stand-in's queues."""
        return len(self.telegram.pending)

    @property
    def chat_url(self) -> str:
        """The chat page, open at the first person there is; a new one at a new system, so that *Start* is one click away."""
        people = self.telegram.users
        language = "ru" if os.environ.get("LANG", "").startswith("ru") else "en"
        person = people[0] if people else self.telegram.user(_FIRST_PERSON, "Anna", language_code=language)
        return f"{self.api_base}/chat/#user={person.id}"
