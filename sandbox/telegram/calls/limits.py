"""How much a bot may send before Telegram answers 429: per chat, per group and over all, by the sandbox's clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.telegram.protocol.errors import too_many_requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.stand_in.clock import Clock
    from sandbox.telegram.protocol.arguments import Arguments

_SENDING: Final = ("send", "forward", "copy")
_NOT_SENDING: Final = {"sendchataction"}


@dataclass(frozen=True)
class Limits:
    """Messages a second that pass for good, and how many may come at once before that.

    The figures are those of Telegram's FAQ; the real server keeps its exact rules to itself. Edits, deletions and answers
    are not counted.
    """

    per_chat: float = 1.0
    per_chat_burst: int = 5
    per_group: float = 20 / 60
    per_group_burst: int = 20
    overall: float = 30.0
    overall_burst: int = 30


class _Bucket:
    """Holds up to `burst` permissions and gains `rate` of them a second."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._held = float(burst)
        self._at = now

    def missing(self, now: float) -> float:
        """Seconds until there is one, 0 when there is."""
        self._held = min(self._burst, self._held + (now - self._at) * self._rate)
        self._at = now
        # A hair less than one is one: the sums of many small gains are never exact.
        return max(0.0, (1 - 1e-9 - self._held) / self._rate)

    def take(self) -> None:
        self._held -= 1


class Throttle:
    """Counts what is sent. `limits` may change at any time; None = no limits."""

    def __init__(self, clock: Clock, limits: Limits | None) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._limits = limits

    @property
    def limits(self) -> Limits | None:
        """What is allowed now."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits | None) -> None:
        self._limits = limits
        self._buckets.clear()

    def check(self, method: str, arguments: Arguments) -> None:
        """Count a call, if it sends.

        Raises:
            ApiError: 429 with the whole seconds to wait; the call is not counted then.
        """
        name = method.lower()
        if self._limits is None or not name.startswith(_SENDING) or name in _NOT_SENDING:
            return
        now = self._clock.now().timestamp()
        buckets = list(self._concerned(self._limits, arguments.text("chat_id").strip(), now))
        missing = max(bucket.missing(now) for bucket in buckets)
        if missing:
            raise too_many_requests(math.ceil(missing))
        for bucket in buckets:
            bucket.take()

    def _concerned(self, limits: Limits, chat: str, now: float) -> Iterator[_Bucket]:
        wanted = {"": (limits.overall, limits.overall_burst), chat: (limits.per_chat, limits.per_chat_burst)}
        if chat.startswith(("-", "@")):
            wanted[f"group {chat}"] = (limits.per_group, limits.per_group_burst)
        for name, (rate, burst) in wanted.items():
            yield self._buckets.setdefault(name, _Bucket(rate, burst, now))
