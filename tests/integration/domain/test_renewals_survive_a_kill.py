"""S4-13 of auto-renewal and of a trial's end: SIGKILL at each of their places; all of it happened or nothing, and it happens once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from lib.db.invariants import violations
from lib.domain import accounts, balance, subscriptions, trial
from lib.domain.accounts import Person
from lib.domain.ledger import Wallets
from lib.domain.renewals import Outcome
from tests.integration.by_the_owner import travel
from tests.integration.domain.test_money_survives_a_kill import _cells, _dies
from tests.integration.domain.test_renewals import PRICE, PRICES, held_by, near_the_end, renew

if TYPE_CHECKING:
    from pathlib import Path

    from lib.db import Database, Transaction

_RENEWAL = {
    "before-claim": ("renewal.before-claim", False),
    "after-claim": ("renewal.after-claim", False),
    "mid-transaction": ("balance.mid-transaction", False),
    "in-commit": ("renew.in-commit", None),
    "after-commit": ("after-commit", True),
}
_TRIAL_END = {
    "before-claim": ("expiry.before-claim", False),
    "mid-transaction": ("expiry.mid-transaction", False),
    "in-commit": ("expire.in-commit", None),
    "after-commit": ("after-commit", True),
}


@pytest.mark.parametrize(("place", "stands"), _cells("renewal", _RENEWAL))
async def test_a_renewal(
    db: Database, database_url: str, functions_url: str, tmp_path: Path, place: str, *, stands: bool | None
) -> None:
    """The next run of the sweep ends with one renewal, whose work the sweep of the outbox finds."""
    anna = await near_the_end(db, 2 * PRICE)
    await _dies(functions_url, tmp_path, place, "renewal", str(anna), "0")
    left = await db.run(balance.of, anna)
    assert (
        left
        in {False: [Wallets(2 * PRICE)], True: [Wallets(PRICE)], None: [Wallets(PRICE), Wallets(2 * PRICE)]}[stands]
    )
    again = await db.run(renew, anna)
    assert again.outcome is (Outcome.NOTHING if left == Wallets(PRICE) else Outcome.RENEWED)
    assert await db.run(balance.of, anna) == Wallets(PRICE)
    assert (await held_by(db, anna)).source == "renewal"
    assert violations(database_url) == []


@pytest.mark.parametrize(("place", "stands"), _cells("trial-end", _TRIAL_END))
async def test_the_end_of_a_trial(
    db: Database, database_url: str, functions_url: str, tmp_path: Path, place: str, *, stands: bool | None
) -> None:
    """The next run ends it once, and it is told once."""

    def begin(tx: Transaction) -> None:
        trial.start(tx, accounts.meet(tx, Person(1, "Anna", None, "ru")).id, PRICES.trial, "c")

    await db.run(begin)
    await db.run(travel, timedelta(hours=PRICES.trial.hours, seconds=1))
    await _dies(functions_url, tmp_path, place, "trial-end", "0", "0")
    ended = await db.run(lambda tx: tx.value("select count(*) from subscriptions where status = 'expired'"))
    assert stands is None or ended == int(stands)
    await db.run(subscriptions.expire, 10, "c")
    facts = await db.run(
        lambda tx: (
            tx.values("select event from subscription_history order by id")
            + tx.values("select kind from messages where kind = 'expired'")
        )
    )
    assert facts == ["granted", "expired", "expired"]
    assert violations(database_url) == []
