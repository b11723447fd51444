"""The trial: mark and grant together, once for life, below the day's cap, by one rule (N-6)."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lib import failpoints
from lib.db import Database, Transaction
from lib.db.connection import Connection, Timeouts
from lib.domain import subscriptions, trial
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import PRICES, at_the_start, know_the_node, meet, open_order, pay, start_trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_TRIAL = timedelta(hours=PRICES.trial.hours)


@dataclass(frozen=True)
class Mark:
    """What a trial leaves behind."""

    marked: int
    granted: int
    counted: int


def tap(tx: Transaction, account_id: int) -> trial.Started | trial.Refusal:
    """The action by itself: nothing before it has locked the account's row."""
    return trial.start(tx, account_id, PRICES.trial, "t")


def marks(tx: Transaction) -> Mark:
    return tx.one(
        Mark,
        "select (select count(*) from accounts where trial_used_at is not null) as marked,"
        " (select count(*) from subscription_history where source = 'trial') as granted,"
        " (select cast(coalesce(sum(used), 0) as bigint) from trial_days) as counted",
    )


@pytest.mark.proves("N-6")
async def test_twenty_taps_at_once_start_one_trial(processes: Callable[[int], list[Database]]) -> None:
    four = processes(4)
    await at_the_start(four)
    await four[0].run(know_the_node)
    account = await four[0].run(meet, 1)
    answers = await asyncio.gather(*(db.run(tap, account) for db in four for _ in range(5)))
    assert sum(isinstance(answer, trial.Started) for answer in answers) == 1
    assert answers.count(trial.Refusal.NOT_ELIGIBLE) == 19
    assert await four[0].run(marks) == Mark(1, 1, 1)
    row = await four[0].run(lambda tx: tx.value("select expires_at - started_at from subscriptions"))
    assert row == _TRIAL


@pytest.mark.proves("N-6")
async def test_the_cap_holds_however_many_begin_at_once(processes: Callable[[int], list[Database]]) -> None:
    four = processes(4)
    await at_the_start(four)
    await four[0].run(know_the_node)
    terms = replace(PRICES.trial, daily_cap=5)

    def begin(tx: Transaction, telegram_id: int) -> trial.Started | trial.Refusal:
        return trial.start(tx, meet(tx, telegram_id), terms, "t")

    answers = await asyncio.gather(*(four[n % 4].run(begin, 1 + n) for n in range(20)))
    assert sum(isinstance(answer, trial.Started) for answer in answers) == 5
    assert answers.count(trial.Refusal.CAP_REACHED) == 15
    assert await four[0].run(marks) == Mark(5, 5, 5)
    refused = answers.index(trial.Refusal.CAP_REACHED) + 1
    await four[0].run(travel, timedelta(days=1))
    assert isinstance(await four[0].run(begin, refused), trial.Started)


@pytest.mark.proves("N-6")
async def test_a_failure_between_mark_and_grant_leaves_neither(
    processes: Callable[[int], list[Database]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (db,) = processes(1)
    await db.run(know_the_node)
    monkeypatch.setattr(failpoints, "_FOLDER", tmp_path)
    (tmp_path / "trial.mid-transaction").write_text("raise")
    with pytest.raises(failpoints.FailpointRaised):
        await db.run(start_trial, 1)
    assert await db.run(marks) == Mark(0, 0, 0)
    assert isinstance(await db.run(start_trial, 1), trial.Started)
    assert await db.run(marks) == Mark(1, 1, 1)


@pytest.mark.proves("N-6")
async def test_a_trial_and_a_payment_at_once_cost_no_customer_any_time(
    processes: Callable[[int], list[Database]],
) -> None:
    databases = processes(2)
    await at_the_start(databases)
    await databases[0].run(know_the_node)
    first = {"trial": 0, "payment": 0}
    for person in range(1, 25):
        event = await databases[0].run(open_order, person, "basic", 30, f"i{person}")
        answers = await asyncio.gather(
            databases[1].run(pay, event), _after(person % 6, databases[0], await databases[0].run(meet, person))
        )
        began = any(isinstance(answer, trial.Started) for answer in answers)
        first["trial" if began else "payment"] += 1
        given = await databases[0].run(_given, person)
        assert given == timedelta(days=30) + (_TRIAL if began else timedelta(0)), answers
    assert min(first.values()) > 0, first


async def _after(round_trips: int, db: Database, account_id: int) -> trial.Started | trial.Refusal:
    """A tap a moment later, in small steps: so that each of the two comes first now and then."""
    for _ in range(round_trips):
        await db.run(marks)
    return await db.run(tap, account_id)


def _given(tx: Transaction, telegram_id: int) -> timedelta:
    """From the first grant to the end, whole minutes: grants in one race differ by milliseconds."""
    held = subscriptions.current(tx, meet(tx, telegram_id))
    assert held is not None
    began = tx.value("select min(created_at) from subscription_history where subscription_id = :id", id=held.id)
    return timedelta(minutes=round((held.expires_at - began).total_seconds() / 60))


def _nothing(_tx: Transaction) -> None:
    """New."""


def _used(tx: Transaction) -> None:
    start_trial(tx, 1)


def _used_and_over(tx: Transaction) -> None:
    start_trial(tx, 1)
    travel(tx, _TRIAL)
    subscriptions.expire(tx, 10, "t")


def _paid(tx: Transaction) -> None:
    pay(tx, open_order(tx, 1, "basic", 30, "i1"))


def _paid_and_over(tx: Transaction) -> None:
    _paid(tx)
    travel(tx, timedelta(days=30))
    subscriptions.expire(tx, 10, "t")


def _given_days(tx: Transaction) -> None:
    subscriptions.grant(tx, meet(tx, 1), tariff="basic", seconds=86_400, source="admin", actor_id=1)


def _given_days_and_over(tx: Transaction) -> None:
    _given_days(tx)
    travel(tx, timedelta(days=1))
    subscriptions.expire(tx, 10, "t")


@pytest.mark.proves("N-6")
@pytest.mark.parametrize(
    ("history", "may"),
    [
        (_nothing, True),
        (_used, False),
        (_used_and_over, False),
        (_paid, False),
        (_paid_and_over, False),
        (_given_days, False),  # nothing to gain while it runs
        (_given_days_and_over, True),  # an admin's gift is no paid history
    ],
)
async def test_the_screen_offers_what_the_action_gives(
    processes: Callable[[int], list[Database]], history: Callable[[Transaction], None], *, may: bool
) -> None:
    (db,) = processes(1)
    await db.run(know_the_node)
    await db.run(history)
    offered = await db.run(lambda tx: trial.eligible(tx, meet(tx, 1)))
    given = await db.run(start_trial, 1)
    assert (offered, isinstance(given, trial.Started)) == (may, may)


@pytest.mark.proves("N-6")
async def test_a_trial_counts_for_the_day_of_its_mark(
    database_url: str, functions_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local clock is moved to the next day after each statement of a trial: the cap and the mark know one day."""
    db = Database(functions_url, connections=1, application="test", guards=False)
    account = await db.run(meet, 1)
    run = Transaction._run

    def run_and_travel(tx: Transaction, sql: str, parameters: dict[str, Any]) -> object:
        result = run(tx, sql, parameters)
        with closing(Connection(database_url, application="traveller", timeouts=Timeouts())) as clock:
            clock.simple("update deployment set clock_offset = clock_offset + interval '1 day'")
        return result

    monkeypatch.setattr(Transaction, "_run", run_and_travel)
    assert isinstance(await db.run(tap, account), trial.Started)
    monkeypatch.undo()
    days = "select cast(trial_used_at as date) = (select day from trial_days) from accounts where trial_used_at is not null"
    assert await db.run(lambda tx: tx.values(days)) == [True]
    await db.close()
