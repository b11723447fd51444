from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from lib.domain import accounts, limits
from lib.domain.accounts import Person
from lib.domain.limits import PROMO_TRIES, UPDATES, Limit, Verdict
from tests.integration.by_the_owner import travel

if TYPE_CHECKING:
    from lib.db import Database, Transaction

ANNA = Person(100, "Anna", None, "ru")


def meet(tx: Transaction) -> accounts.Account:
    return accounts.meet(tx, ANNA)


def rows(tx: Transaction) -> int:
    return int(tx.value("select count(*) from rate_limits"))


async def test_the_first_beyond_the_limit_is_told_and_the_rest_of_the_window_is_silence(db: Database) -> None:
    account = await db.run(meet)
    limit = Limit("promo_tries", 3, 600)
    verdicts = [await db.run(limits.count, account.id, limit) for _ in range(7)]
    assert verdicts == [Verdict.WITHIN] * 3 + [Verdict.NOTICE] + [Verdict.SILENCE] * 3
    await db.run(travel, timedelta(seconds=601))
    assert await db.run(limits.count, account.id, limit) is Verdict.WITHIN
    assert await db.run(rows) == 1


async def test_tries_at_the_same_moment_are_each_counted_once(racing_db: Database) -> None:
    account = await racing_db.run(meet)
    verdicts = await asyncio.gather(*(racing_db.run(limits.count, account.id, PROMO_TRIES) for _ in range(16)))
    assert Counter(verdicts) == {Verdict.WITHIN: 10, Verdict.NOTICE: 1, Verdict.SILENCE: 5}


async def test_what_is_rolled_back_does_not_count(db: Database) -> None:
    account = await db.run(meet)

    def failing(tx: Transaction) -> None:
        limits.count(tx, account.id, PROMO_TRIES)
        raise LookupError

    for _ in range(2):
        try:
            await db.run(failing)
        except LookupError:
            continue
    assert await db.run(rows) == 0


async def test_updates_are_counted_on_the_accounts_own_row(db: Database) -> None:
    seen = [(await db.run(meet)).updates_in_minute for _ in range(UPDATES.most + 2)]
    assert seen == list(range(1, UPDATES.most + 3))
    verdicts = [limits.judge(UPDATES, used) for used in seen]
    assert verdicts == [Verdict.WITHIN] * UPDATES.most + [Verdict.NOTICE, Verdict.SILENCE]
    assert await db.run(rows) == 0
    await db.run(travel, timedelta(seconds=UPDATES.seconds + 1))
    assert (await db.run(meet)).updates_in_minute == 1
