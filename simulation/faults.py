"""What goes wrong, how often; weather that changes during a run, so that no share stands for long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class Weather:
    """Shares of 1 unless said.

    Attributes:
        kill: of the points that a process reaches (before and after a transaction, at a failpoint), at how many it dies.
        serialization: of the commits, refused with 40001.
        lost: of the commits, the connection lost before.
        unknown: of the commits, the connection lost during COMMIT; half of them were done.
        pause: of the transactions, after how many the process stands still for up to `pause_s`.
        news_lost, news_unanswered, news_twice, news_late: of what is delivered to a webhook.
        call_lost, call_unanswered, call_hangs, call_refused: of the calls to Telegram, Crypto Pay and nodes.
        task_refused, task_twice, task_late: of the tasks made.
        tick_lost, tick_twice: of the scheduler's ticks.
        messages_a_second: what Telegram lets the bot send; nothing in Atlas knows it. None: any number.
        listing_holes: of a listing's rows, missing; `listing_short` of the listings, ended early.
    """

    kill: float = 0.0
    serialization: float = 0.0
    lost: float = 0.0
    unknown: float = 0.0
    pause: float = 0.0
    news_lost: float = 0.0
    news_unanswered: float = 0.0
    news_twice: float = 0.0
    news_late: float = 0.0
    call_lost: float = 0.0
    call_unanswered: float = 0.0
    call_hangs: float = 0.0
    call_refused: float = 0.0
    task_refused: float = 0.0
    task_twice: float = 0.0
    task_late: float = 0.0
    tick_lost: float = 0.0
    tick_twice: float = 0.0
    messages_a_second: float | None = None
    listing_holes: float = 0.0
    listing_short: float = 0.0

    def scaled(self, by: float) -> Weather:
        """Every share times that, 1 at most."""
        shares = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "messages_a_second"}
        return replace(self, **{name: min(1.0, share * by) for name, share in shares.items()})


FINE: Final = Weather()
PAUSE_S: Final = 90.0
"""The longest that a process stands still."""
_WORST: Final = Weather(
    kill=0.01,
    serialization=0.15,
    lost=0.03,
    unknown=0.03,
    pause=0.01,
    news_lost=0.2,
    news_unanswered=0.2,
    news_twice=0.3,
    news_late=0.3,
    call_lost=0.1,
    call_unanswered=0.1,
    call_hangs=0.03,
    call_refused=0.1,
    task_refused=0.2,
    task_twice=0.2,
    task_late=0.2,
    tick_lost=0.2,
    tick_twice=0.2,
    listing_holes=0.3,
    listing_short=0.3,
)


def drawn(dice: random.Random, severity: float) -> Weather:
    """Other weather: each kind of fault is off, light or heavy by itself."""
    shares = {
        one.name: getattr(_WORST, one.name) * dice.choice((0.0, 0.0, 0.2, 1.0)) * severity
        for one in fields(_WORST)
        if one.name != "messages_a_second"
    }
    return Weather(**shares, messages_a_second=dice.choice((None, None, 30.0, 5.0, 1.0)) if severity else None)


@dataclass(slots=True)
class Faults:
    """The weather now, a stream of chance, and what was met so far.

    Attributes:
        met: how often each kind of fault happened.
    """

    dice: random.Random
    weather: Weather = FINE
    met: Counter[str] = field(default_factory=Counter)

    def happens(self, kind: str) -> bool:
        """Whether that kind of fault meets what is asked about."""
        share: float = getattr(self.weather, kind)
        if not share or self.dice.random() >= share:
            return False
        self.met[kind] += 1
        return True
