"""Auto-renewal beside everything else that may happen to the same access, and a fault at each of its statements."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from lib.db import Database
from lib.db.invariants import violations
from lib.domain import balance, renewals, subscriptions
from lib.domain.ledger import Wallets
from lib.domain.renewals import Outcome
from tests.integration.by_the_owner import travel
from tests.integration.domain.test_renewals import NEAR, PRICE, PRICES, held_by, near_the_end, renew
from tests.integration.statement_faults import all_or_nothing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def processes(functions_url: str) -> AsyncIterator[list[Database]]:
    """Databases with connections of their own, as processes have them."""
    made = [Database(functions_url, connections=4, application=f"p{n}", guards=False) for n in range(3)]
    yield made
    for one in made:
        await one.close()


@pytest.mark.proves("S4-12.parallel-renewals")
async def test_several_sweeps_renew_an_end_once(racing_db: Database, processes: list[Database]) -> None:
    anna = await near_the_end(racing_db, 5 * PRICE)
    ends = (await held_by(racing_db, anna)).expires_at
    several = await asyncio.gather(*(one.run(renew, anna) for one in processes for _ in range(4)))
    assert sorted(one.outcome for one in several) == [Outcome.NOTHING] * 11 + [Outcome.RENEWED]
    assert (await held_by(racing_db, anna)).expires_at == ends + timedelta(days=30)
    assert await racing_db.run(balance.of, anna) == Wallets(4 * PRICE, 0)


@pytest.mark.proves("S1-7")
@pytest.mark.parametrize("held", ["accounts", "subscriptions"])
async def test_what_another_transaction_holds_is_passed_over_and_not_waited_for(
    racing_db: Database, processes: list[Database], held: str
) -> None:
    """One customer who is held keeps no other from being renewed, each in a transaction of its own."""
    anna = await near_the_end(racing_db, PRICE)
    first, second, _ = processes
    loop = asyncio.get_running_loop()
    seen: list[Outcome] = []

    def hold(tx: object) -> None:
        tx.value(f"select id from {held} for no key update")  # type: ignore[attr-defined] # noqa: S608 -- a constant of the test
        asyncio.run_coroutine_threadsafe(look(), loop).result(10)

    async def look() -> None:
        seen.append((await second.run(renew, anna)).outcome)

    await first.run(hold)
    assert seen == [Outcome.NOTHING]
    assert (await second.run(renew, anna)).outcome is Outcome.RENEWED


@pytest.mark.proves("S2-2.6")
async def test_expiry_and_renewal_at_once_leave_one_of_the_two(racing_db: Database, processes: list[Database]) -> None:
    """Access that was renewed runs on under its key; access that ended was charged nothing."""
    anna = await near_the_end(racing_db, PRICE, NEAR + timedelta(hours=4, minutes=59, seconds=59, milliseconds=900))
    before = await held_by(racing_db, anna)

    async def ends(db: Database) -> None:
        while not await db.run(
            lambda tx: tx.value(
                "select count(*) from subscriptions where expires_at <= atlas.now() or auto_renew and last_auto_renewal_at is not null"
            )
        ):
            await db.run(subscriptions.expire, 10, "c")
        await db.run(subscriptions.expire, 10, "c")

    await asyncio.gather(ends(processes[0]), ends(processes[1]), processes[2].run(renew, anna))
    after = await held_by(racing_db, anna)
    left = await racing_db.run(balance.of, anna)
    if after.is_current:
        assert (after.uuid, after.expires_at, left) == (
            before.uuid,
            before.expires_at + timedelta(days=30),
            Wallets(0, 0),
        )
    else:
        assert left == Wallets(PRICE, 0)
        assert (await processes[2].run(renew, anna)).outcome is Outcome.NOTHING


@pytest.mark.proves("S2-2.6")
async def test_the_sweep_of_ends_passes_over_what_was_renewed(racing_db: Database) -> None:
    anna = await near_the_end(racing_db, PRICE)
    await racing_db.run(renew, anna)
    await racing_db.run(travel, timedelta(hours=6))
    assert (await racing_db.run(subscriptions.expire, 10, "c")).count == 0
    assert (await held_by(racing_db, anna)).is_current


async def test_turning_it_off_while_it_renews_is_before_or_after_it(
    racing_db: Database, processes: list[Database]
) -> None:
    anna = await near_the_end(racing_db, PRICE)
    renewed, _ = await asyncio.gather(processes[0].run(renew, anna), processes[1].run(renewals.turn_off, anna))
    spent = renewed.outcome is Outcome.RENEWED
    assert await racing_db.run(balance.of, anna) == Wallets(0 if spent else PRICE, 0)
    assert not (await held_by(racing_db, anna)).auto_renew


@pytest.mark.proves("S4-2.1.renewal")
async def test_a_fault_at_any_statement_of_a_renewal_leaves_nothing(
    db: Database, database_url: str, functions_url: str
) -> None:
    anna = await near_the_end(db, PRICE - 1_000, earned=5_000)
    renewed = await all_or_nothing(functions_url, renewals.renew, anna, PRICES, "c")
    assert renewed.outcome is Outcome.RENEWED
    assert await db.run(balance.of, anna) == Wallets(0, 4_000)
    assert violations(database_url) == []


@pytest.mark.proves("S4-2.1.renewal")
async def test_a_fault_at_any_statement_of_what_is_told_leaves_nothing(db: Database, functions_url: str) -> None:
    anna = await near_the_end(db, PRICE - 1)
    assert (await all_or_nothing(functions_url, renewals.renew, anna, PRICES, "c")).outcome is Outcome.LOW
