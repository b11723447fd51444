"""The long poll: one getUpdates after the other, whatever the network does, until something ends it that time won't heal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from lib.telegram.webhook_terms import ALLOWED_UPDATES
from sandbox.bridge.api import RefusedError, UnreachableError
from sandbox.system.messenger import MessengerFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.bridge.api import Api
    from sandbox.bridge.inbox import Inbox

_LONGEST_PAUSE_S: Final = 60.0
_FLOOD_S: Final = 5.0
_WORTH_TELLING_S: Final = 10.0
_LAST_WORD_S: Final = 3.0
_WEBHOOK: Final = "webhook is active"


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, and how much of a quarrel with another poller is enough. `backoff` shrinks pauses; tests make it small."""

    poll_s: int = 50
    backoff: float = 1.0
    conflicts: int = 5
    within_s: float = 180.0

    def pause(self, failures: int) -> float:
        """After so many failures in a row: about 1, 2, 4 ... 60, each up to a half shorter, so that no two callers come in step."""
        longest = min(_LONGEST_PAUSE_S, 2.0 ** min(failures - 1, 10))
        return self.backoff * random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, guards nothing


class Poller:
    """Fills the inbox. `say` tells a person what they may want to know, a line each time something changes."""

    def __init__(self, api: Api, inbox: Inbox, say: Callable[[str], None], pace: Pace) -> None:
        self._api = api
        self._inbox = inbox
        self._say = say
        self._pace = pace
        self._offset: int | None = None
        self._failures = 0
        self._conflicts: deque[float] = deque()

    async def run(self) -> None:
        """Poll until cancelled.

        Raises:
            MessengerFailedError: a webhook was set, another program polls too, or the token was revoked, or the inbox failed.
        """
        while True:
            try:
                batch = await self._ask(self._pace.poll_s)
            except UnreachableError as error:
                await self._trouble(f"Telegram can't be reached ({error}); trying again until it can.")
            except RefusedError as error:
                await self._refused(error)
            else:
                if self._failures:
                    self._say("Telegram answers again.")
                self._failures = 0
                # An answer means that the offset arrived; it is not repeated, for ids may begin anew.
                self._offset = self._inbox.take(batch) if batch else None

    async def confirm(self) -> None:
        """Tell Telegram at the end what we have, so that it is given to no run again; if it can't be told, the inbox knows."""
        if self._offset is not None:
            with contextlib.suppress(UnreachableError, RefusedError, TimeoutError):  # see above
                async with asyncio.timeout(_LAST_WORD_S):
                    await self._ask(0, limit=1)

    async def _ask(self, wait_s: int, limit: int = 100) -> list[dict[str, Any]]:
        asked: dict[str, Any] = {"timeout": wait_s, "limit": limit, "allowed_updates": json.dumps(ALLOWED_UPDATES)}
        if self._offset is not None:
            asked["offset"] = self._offset
        batch = await self._api.call("getUpdates", asked, wait_s=wait_s)
        if not isinstance(batch, list):
            raise UnreachableError("getUpdates gave no list")
        return batch

    async def _trouble(self, words: str) -> None:
        self._failures += 1
        if self._failures == 1:
            self._say(words)
        await asyncio.sleep(self._pace.pause(self._failures))

    async def _refused(self, error: RefusedError) -> None:
        if error.code == HTTPStatus.CONFLICT:
            await self._conflict(error)
        elif error.code == HTTPStatus.TOO_MANY_REQUESTS:
            pause = _FLOOD_S if error.retry_after is None else error.retry_after
            if pause >= _WORTH_TELLING_S:
                self._say(f"Telegram wants to be left alone for {pause:.0f} s; what people write waits there.")
            await asyncio.sleep(pause)
        elif error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            await self._trouble(f"Telegram answers {error.code}; trying again until it is well.")
        elif error.code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND}:
            raise MessengerFailedError("Telegram does not know the token any more: it was revoked.")
        else:
            raise MessengerFailedError(f"Telegram refuses getUpdates: {error.code} {error}")

    async def _conflict(self, error: RefusedError) -> None:
        """Who polls later ends the poll of the other, so a conflict that comes back means that another program goes on polling."""
        if _WEBHOOK in str(error):
            raise MessengerFailedError("A webhook was set for the bot; its updates go there now.")
        now = time.monotonic()
        self._conflicts.append(now)
        while self._conflicts[0] < now - self._pace.within_s:
            self._conflicts.popleft()
        if len(self._conflicts) >= self._pace.conflicts:
            raise MessengerFailedError(
                "Another program keeps asking Telegram for the updates of this bot, and each of the two gets only some."
                " Stop the other one, or use a bot of your own."
            )
        if len(self._conflicts) == 1:
            self._say("Another program asks Telegram for the updates of this bot as well; waiting for it to stop.")
        await asyncio.sleep(self._pace.pause(len(self._conflicts) + 1))
