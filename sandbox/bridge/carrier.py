"""The bridge as the local system's messenger: fetches, keeps, delivers to the webhook, and makes calls out of its answers."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from sandbox.bridge.api import Api, RefusedError, UnreachableError
from sandbox.bridge.inbox import Inbox
from sandbox.bridge.polling import Pace, Poller
from sandbox.stand_in.clock import Clock
from sandbox.system.messenger import MessengerFailedError
from sandbox.telegram.calls.bot_api import is_executed_in_response
from sandbox.telegram.updates.delivery import Delivery, Timing

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.bridge.bot import Bot
    from sandbox.stand_in.faults import Faults
    from sandbox.state.home import Home
    from sandbox.telegram.protocol.arguments import Arguments
    from sandbox.telegram.updates.delivery import Webhook

_STORE: Final = "bridge.sqlite3"
_CALL_TRIES: Final = 4
_FINISH_S: Final = 5.0


class Bridge:
    """A bot of the real Telegram (`sandbox.system.messenger.Messenger`).

    Its time is real: time travel on this machine takes neither Telegram nor what waits from it along.

    Args:
        home: keeps what was fetched and not delivered.
        _clock: the sandbox's, for the stand-in that could be here instead.
        bot: as `look` found it.
        say: tells the person at the terminal what happens to the connection.
        timing, pace: of deliveries to the webhook, and of the long poll.
    """

    def __init__(
        self,
        home: Home,
        _clock: Clock,
        *,
        bot: Bot,
        say: Callable[[str], None],
        timing: Timing | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.token, self.username, self.api_base = bot.token, bot.username, bot.api_base
        self.real = True
        self.page_origin: str | None = None
        self._store = home.folder("stores") / _STORE
        self._log = home.logs / "bridge.log"
        self._say = say
        self._timing = timing or Timing()
        self._pace = pace or Pace()
        self._undo = contextlib.AsyncExitStack()
        self._polling: asyncio.Task[None] | None = None
        self._calls = 0

    def settings(self) -> dict[str, str]:
        """The bot. No support account is made up: on the real Telegram it could be a stranger's."""
        return {
            "TELEGRAM_BOT_TOKEN": self.token,
            "TELEGRAM_BOT_USERNAME": self.username,
            "TELEGRAM_API_BASE": self.api_base,
        }

    async def open(
        self,
        framed: tuple[str, ...] = (),  # noqa: ARG002 - the chat is not ours to put pages into
        admins: frozenset[int] = frozenset(),  # noqa: ARG002 - nor to mark people in
    ) -> None:
        """The Bot API answers already; find what the last run left."""
        clock = Clock()
        self._api = Api(self.api_base, self.token)
        self._undo.push_async_callback(self._api.close)
        self._inbox = Inbox(self._store, clock)
        self._undo.callback(self._inbox.close)
        self._delivery = Delivery(self._inbox.updates, clock, self._timing, self._execute)

    async def deliver_to(self, webhook: Webhook) -> None:
        """Carry updates there. Nothing is set at Telegram."""
        poller = Poller(self._api, self._inbox, self._tell, self._pace)
        self._undo.push_async_callback(poller.confirm)
        self._delivery.set_webhook(webhook)
        self._undo.push_async_callback(self._delivery.stop)
        await self._delivery.start()
        self._undo.push_async_callback(self._finish)
        self._polling = asyncio.create_task(poller.run())

    async def ended(self) -> str:
        """Wait for the end that was not asked for; the reason, for a person."""
        if self._polling is None:
            raise RuntimeError("not started")
        await asyncio.wait([self._polling])
        error = None if self._polling.cancelled() else self._polling.exception()
        match error:
            case MessengerFailedError():
                reason = str(error)
            case sqlite3.Error():
                reason = f"What Telegram gave can't be kept on disk: {error}"
            case _:
                reason = f"The bridge to Telegram failed: {type(error).__name__}"
        self._note(reason)
        return reason

    def spoil_calls(self, faults: Faults) -> None:
        """Refused, unless it asks for nothing."""
        if faults.flooded or faults.refused or faults.slow_s:
            raise ValueError("the real Telegram can't be told to refuse calls or to be slow")

    async def stop(self) -> None:
        """Fetch no more, let calls finish, drop what is under way to the functions: it is kept, and sent again next time."""
        await self._undo.aclose()

    async def _finish(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait([self._polling])
        with contextlib.suppress(TimeoutError):  # a call that hangs is given up
            async with asyncio.timeout(_FINISH_S):
                while self._delivery.busy:
                    await self._inbox.updates.changes.after(self._inbox.updates.changes.count)

    async def idle(self, timeout: float) -> None:  # noqa: ASYNC109 - as in the protocol
        """Wait until what was fetched is delivered; what waits at Telegram is not known here."""
        updates = self._inbox.updates
        try:
            async with asyncio.timeout(timeout):
                while len(updates) or self._delivery.busy:
                    await updates.changes.after(updates.changes.count)
        except TimeoutError:
            left = ", ".join(f"{pending.update_id} ({pending.queue})" for pending in updates)
            raise AssertionError(f"undelivered after {timeout} s: {left}") from None

    def activity(self) -> dict[str, int]:
        """Deliveries and calls so far; calls that functions make themselves are not seen here."""
        return {"updates": len(self._delivery.attempts), "calls": self._calls}

    @property
    def undelivered(self) -> int:
        """Updates in the inbox."""
        return len(self._inbox.updates)

    @property
    def chat_url(self) -> str:
        """Opens the chat in any Telegram app."""
        return f"https://t.me/{self.username}"

    async def _execute(self, method: str, arguments: Arguments) -> None:
        """A call that came in a response. Its result goes nowhere; it is repeated only when it surely was not made."""
        if not is_executed_in_response(method):
            self._note(f"{method} in a webhook response is ignored, as Telegram does")
            return
        self._calls += 1
        for tried in range(1, _CALL_TRIES + 1):
            try:
                await self._api.call(method, arguments.values, arguments.files)
            except RefusedError as error:
                if error.code != HTTPStatus.TOO_MANY_REQUESTS:
                    self._note(f"{method} in a webhook response: {error.code} {error}")
                    return
                await asyncio.sleep(self._pace.pause(tried) if error.retry_after is None else error.retry_after)
            except UnreachableError as error:
                self._note(f"{method} in a webhook response: {error}")
                if not error.unsent:
                    return
                await asyncio.sleep(self._pace.pause(tried))
            else:
                return

    def _tell(self, text: str) -> None:
        self._note(text)
        self._say(text)

    def _note(self, text: str) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")
