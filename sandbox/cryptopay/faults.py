"""What goes wrong on demand: single calls, and standing faults that stay on until they are taken away."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import deque
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sandbox.cryptopay.arguments import ApiError
from sandbox.cryptopay.rates import difference, last_digits, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.cryptopay.store import Store

MOST_COPIES = 10
MOST_LATE_S = 3 * 86_400
MOST_SLOW_S = 600
MOST_OFF = 1000
SHARES = ("lost", "unanswered", "refused", "missing", "short", "foreign")
# Ids far from ours, so that a row of theirs is no invoice that we made.
_FOREIGN_IDS = range(900_000_001, 900_000_006)


@dataclass(frozen=True, slots=True)
class Standing:
    """Faults that meet everything while they are on.

    Attributes:
        copies: how often each webhook is sent; each copy has attempts of its own.
        lost: share of attempts that never reach the application and are made again later.
        unanswered: share of attempts that reach it, but whose answer is lost, so that they are made again.
        late_s: each webhook sets out after a random time up to this (sandbox seconds), so they overtake each other.
        refused: share of API calls answered 429.
        missing: share of the rows that a listing lacks, other ones each time.
        short: share of listings that end before they should, as a page shorter than was asked for.
        foreign: share of listings that hold rows of another shop, whatever was asked for.
        balance_off: so many of the last digits that are shown `getBalance` says more than there is, of every asset that is there.
        slow_s: answers pause up to so many real seconds before they begin, and as long in their middle.
    """

    copies: int = 1
    lost: float = 0.0
    unanswered: float = 0.0
    late_s: float = 0.0
    refused: float = 0.0
    missing: float = 0.0
    short: float = 0.0
    foreign: float = 0.0
    slow_s: float = 0.0
    balance_off: int = 0

    def __post_init__(self) -> None:
        if (
            not 1 <= self.copies <= MOST_COPIES
            or not 0 <= self.late_s <= MOST_LATE_S
            or not 0 <= self.slow_s <= MOST_SLOW_S
        ):
            raise ValueError(f"copies: 1 to {MOST_COPIES}; late_s: 0 to {MOST_LATE_S}; slow_s: 0 to {MOST_SLOW_S}")
        if not -MOST_OFF <= self.balance_off <= MOST_OFF:
            raise ValueError(f"balance_off: {-MOST_OFF} to {MOST_OFF}")
        if not all(0 <= share <= 1 for share in (getattr(self, name) for name in SHARES)):
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
            return self.on_a_bad_day(method, known(asked))
        failure = waiting.popleft()
        if failure.done:
            known(asked)
        if failure.hang:
            released = self._released
            await released.wait()
        raise ApiError(failure.status, failure.name)

    def change(self, **standing: Any) -> None:
        """Set these of the standing faults; the others stay as they are."""
        self.standing = replace(self._standing, **standing)

    def on_a_bad_day(self, method: str, answer: Any) -> Any:
        """What a method's answer becomes by the standing faults."""
        match method:
            case "getInvoices":
                return self._spoiled(answer)
            case "getBalance" if self._standing.balance_off:
                return [self._off(row) for row in answer]
        return answer

    def _off(self, row: dict[str, str]) -> dict[str, str]:
        """A balance that is not what there is; what is nothing stays nothing."""
        code, available = row["currency_code"], Decimal(row["available"])
        if not available:
            return row
        return row | {"available": text_of(difference(available, -last_digits(code, self._standing.balance_off)))}

    def _spoiled(self, listing: dict[str, Any]) -> dict[str, Any]:
        """A listing as it may come on a bad day."""
        wrong, items = self._standing, list(listing["items"])
        if wrong.missing:
            items = [item for item in items if not self.happens(wrong.missing)]
        if self.happens(wrong.short):
            items = items[: self.dice.randrange(len(items) + 1)]
        if self.happens(wrong.foreign):
            for _ in range(self.dice.randrange(1, 4)):
                items.insert(self.dice.randrange(len(items) + 1), _foreign(self.dice))
        return {"items": items}


def _foreign(dice: random.Random) -> dict[str, Any]:
    """A row of another shop, which is sold in the same currency and at the same price."""
    number = dice.choice(_FOREIGN_IDS)
    page = f"https://t.me/CryptoTestnetBot?start=IVforeign{number}"
    return {
        "invoice_id": number,
        "hash": f"IVforeign{number % 10}",
        "currency_type": "fiat",
        "fiat": "RUB",
        "amount": "149",
        "status": dice.choice(("active", "paid", "expired")),
        "created_at": "2026-01-01T00:00:00.000Z",
        "payload": dice.choice(("", "order 17", str(uuid.UUID(int=number)))),
        "bot_invoice_url": page,
        "pay_url": page,
    }
