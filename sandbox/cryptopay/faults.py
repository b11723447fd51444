"""What goes wrong on demand: single calls, and standing faults that stay on until they are taken away."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from sandbox.cryptopay.arguments import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.cryptopay.store import Store

MOST_COPIES = 10
MOST_LATE_S = 3 * 86_400


@dataclass(frozen=True, slots=True)
class Standing:
    """Faults that meet everything while they are on.

    Attributes:
        copies: how often each webhook is sent; each copy has attempts of its own.
        lost: share of attempts that never reach the application and are made again later.
        unanswered: share of attempts that reach it, but whose answer is lost, so that they are made again.
        late_s: each webhook sets out after a random time up to this (sandbox seconds), so they overtake each other.
        refused: share of API calls answered 429.
    """

    copies: int = 1
    lost: float = 0.0
    unanswered: float = 0.0
    late_s: float = 0.0
    refused: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.lost, self.unanswered, self.refused)
        if not 1 <= self.copies <= MOST_COPIES or not 0 <= self.late_s <= MOST_LATE_S:
            raise ValueError(f"copies: 1 to {MOST_COPIES}; late_s: 0 to {MOST_LATE_S}")
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError("a share is between 0 and 1")


@dataclass(slots=True)
class _Failure:
    """What the next call of a method meets."""

    status: int
    name: str
    hang: bool
    done: bool  # the call takes effect before it fails


class Faults:
    """Standing faults, kept over restarts, and the queue of failures of single calls.

    `dice` may be seeded, so that a run can be had again.
    """

    def __init__(self, store: Store) -> None:
        self.dice = random.Random()  # noqa: S311 -- decides what fails, protects nothing
        self._store = store
        kept = store.switch("faults")
        known = {field.name for field in fields(Standing)}
        self._standing = Standing(**{name: value for name, value in (kept or {}).items() if name in known})
        self._next: dict[str, deque[_Failure]] = {}
        self._released = asyncio.Event()

    @property
    def standing(self) -> Standing:
        """What is on now."""
        return self._standing

    @standing.setter
    def standing(self, standing: Standing) -> None:
        self._standing = standing
        self._store.turn("faults", asdict(standing))

    def happens(self, share: float) -> bool:
        """Throw the dice."""
        return share > 0 and self.dice.random() < share

    def fail_next(self, method: str, status: int, name: str, times: int, *, done: bool, hang: bool = False) -> None:
        """Let the next calls of a method fail; see `CryptoPay.fail_next` and `CryptoPay.hang_next`."""
        self._next.setdefault(method, deque()).extend([_Failure(status, name, hang, done)] * times)

    def forget_failures(self) -> None:
        """Let none of what was asked for happen any more."""
        self._next.clear()

    def release(self) -> None:
        """Answer the calls that hang."""
        self._released.set()
        self._released = asyncio.Event()

    async def meet(self, method: str, known: Callable[[dict[str, Any]], Any], asked: dict[str, Any]) -> Any:
        """Call a method, or fail in its place.

        Raises:
            ApiError: the method's own, or the fault.
        """
        if self.happens(self._standing.refused):
            raise ApiError(429, "TOO_MANY_REQUESTS")
        waiting = self._next.get(method)
        if not waiting:
            return known(asked)
        failure = waiting.popleft()
        if failure.done:
            known(asked)
        if failure.hang:
            released = self._released
            await released.wait()
        raise ApiError(failure.status, failure.name)
