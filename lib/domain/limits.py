"""Limits on people, counted in the transaction of what is limited: what is rolled back does not count.

Payments are never limited. Updates are counted on the account's row, which each of them writes anyway (`accounts.meet`), so
a person far below the limit costs no row and no statement. What leaves no row of its own has one in `rate_limits`.

A foundation: updates are counted already, and nothing is refused by these limits yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` within `seconds`; the window begins with the first that is counted after the last window's end."""

    kind: str
    most: int
    seconds: int


UPDATES = Limit("updates", 30, 60)
PROMO_TRIES = Limit("promo_tries", 10, 3600)


class Verdict(Enum):
    """What is to become of the one that was just counted."""

    WITHIN = "within"
    NOTICE = "notice"
    """The first beyond: refused, and the person is told once."""
    SILENCE = "silence"
    """Refused without a word, until the window ends."""


# The row lock queues up two at the same moment, so none is counted twice and exactly one is the first beyond. It stops counting
# there: a flood ends in a read.
_COUNT = """
insert into rate_limits as r (account_id, kind, window_started_at, used)
values (cast(:account_id as bigint), :kind, atlas.now(), 1)
on conflict (account_id, kind) do update
    set used = case when r.window_started_at <= excluded.window_started_at - make_interval(secs => :seconds)
                    then 1 else r.used + 1 end,
        window_started_at = case when r.window_started_at <= excluded.window_started_at - make_interval(secs => :seconds)
                                 then excluded.window_started_at else r.window_started_at end
    where r.used <= :most or r.window_started_at <= excluded.window_started_at - make_interval(secs => :seconds)
returning used
"""


def count(tx: Transaction, account_id: int, limit: Limit) -> Verdict:
    """Count one more for the account, and judge it."""
    used = tx.value(_COUNT, account_id=account_id, kind=limit.kind, most=limit.most, seconds=limit.seconds)
    return Verdict.SILENCE if used is None else judge(limit, used)


def judge(limit: Limit, used: int) -> Verdict:
    """What becomes of the `used`-th within the window."""
    if used <= limit.most:
        return Verdict.WITHIN
    return Verdict.NOTICE if used == limit.most + 1 else Verdict.SILENCE
