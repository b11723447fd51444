"""Refunds that a provider is asked to make: whatever happens to the call or to the run, the money goes back once (N-33, S4-13)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lib import bootstrap
from lib.db.invariants import violations
from lib.domain import accounts, health_snapshot, inbox, refund_requests, refunds_by_hand
from lib.domain.accounts import Person
from lib.domain.refunds_by_hand import Route, Wanted
from lib.domain.suspense_by_hand import By
from lib.payments import giving_back, registry, synthetic
from lib.payments.provider import Answer, GivenBack
from lib.payments.synthetic import Purchase
from tests.integration.by_the_owner import travel
from tests.integration.payments.test_contract import PRICES, booked, ordered
from tests.integration.sweeps.runs import Queue, sweep_run

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.refund_requests import Charge
    from lib.payments.provider import GivesBack
    from lib.sweeps.runner import Run
    from tests.integration.payments.tills import SampleTill

BY = By(12, {12}, "they asked for it", "c-9")
_LIST = Path(__file__).resolve().parents[3] / "docs" / "acceptance.toml"


class Wire:
    """Between us and the provider: what it said may be lost on the way, and calls are counted.

    Attributes:
        answers: what is heard instead, one a call; the call itself is made unless it is LATER.
    """

    def __init__(self, giver: GivesBack) -> None:
        self._giver = giver
        self.answers: list[GivenBack] = []
        self.calls: list[str] = []

    async def give_back(self, charge: Charge, correlation_id: str) -> GivenBack:
        self.calls.append("give back")
        heard = self.answers.pop(0) if self.answers else None
        if heard is not None and heard.answer is Answer.LATER:
            return heard
        return heard or await self._giver.give_back(charge, correlation_id)

    async def outcome(self, charge: Charge, correlation_id: str) -> GivenBack:
        self.calls.append("outcome")
        return await self._giver.outcome(charge, correlation_id)


@pytest.fixture
def wire(till: SampleTill, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Wire:  # noqa: ARG001 -- tasks go there
    assert till.giver is not None
    made = Wire(till.giver)
    monkeypatch.setattr(bootstrap, "giving_back", lambda: {"sample": made})
    return made


of_sample = pytest.mark.parametrize("till", ["sample"], indirect=True)


def ask(tx: Transaction) -> None:
    payment_id = tx.value("select max(id) from payments")
    refunds_by_hand.refund(tx, Wanted(Route.PROVIDER, payment_id, reverses_access=True), BY, PRICES)


async def asked_for(db: Database, till: SampleTill) -> str:
    order, invoice = await ordered(db, till)
    told = (await till.pay(invoice, order)).told
    assert (await db.run(inbox.receive, told, PRICES)).outcome == "settled"
    await db.run(ask)
    return told.external_id


async def made(db: Database, after: timedelta = timedelta(hours=2)) -> Run:
    await db.run(travel, after)
    run = sweep_run(db, "payments")
    await giving_back.make_due(run)
    return run


def requests(tx: Transaction) -> list[Any]:
    return tx.values("select status from refund_requests order by id")


async def is_given_back_once(db: Database, database_url: str, till: SampleTill) -> None:
    assert await db.run(requests) == ["done"]
    assert len(till.stand_in.refunds) == 1
    assert await db.run(booked, "refunds") == {"RUB": 14_900}
    assert await db.run(lambda tx: tx.value("select count(*) from refunds")) == 1
    assert await db.run(lambda tx: tx.values("select event from subscription_history order by id")) == [
        "granted",
        "refunded",
    ]
    assert (await made(db)).claimed == 0
    assert violations(database_url) == []


@of_sample
@pytest.mark.proves("N-33")
async def test_a_refund_that_is_asked_for_is_made(
    db: Database, database_url: str, till: SampleTill, wire: Wire, queue: Queue
) -> None:
    await asked_for(db, till)
    run = await made(db)
    assert (run.claimed, run.done, run.failed, wire.calls) == (1, 1, 0, ["give back"])
    assert {task.service for task in queue.tasks.values()} == {"task-notify", "task-provision"}
    await is_given_back_once(db, database_url, till)


@of_sample
@pytest.mark.proves("N-33")
async def test_an_answer_that_was_lost_is_asked_for_before_it_is_made_again(
    db: Database, database_url: str, till: SampleTill, wire: Wire
) -> None:
    key = await asked_for(db, till)
    till.stand_in.refunds[key] = {"refund": "re-1", "charge": key, "fee": "0.50", "amount": 14_900, "currency": "RUB"}
    wire.answers = [GivenBack(Answer.UNKNOWN, reason="timeout")]  # it was made, and its answer is lost
    assert (await made(db)).failed == 1
    assert await db.run(requests) == ["sent"]
    await made(db)
    assert wire.calls == ["give back", "outcome"]
    await is_given_back_once(db, database_url, till)


@of_sample
@pytest.mark.proves("N-33")
async def test_a_call_that_was_never_made_is_made_then(
    db: Database, database_url: str, till: SampleTill, wire: Wire
) -> None:
    await asked_for(db, till)
    wire.answers = [GivenBack(Answer.UNKNOWN, reason="timeout"), GivenBack(Answer.LATER, reason="429")]
    await made(db)
    await made(db)
    assert await db.run(requests) == ["requested"], "certainly not made"
    await made(db)
    assert wire.calls == ["give back", "outcome", "give back", "give back"]
    await is_given_back_once(db, database_url, till)


@of_sample
@pytest.mark.proves("N-33")
async def test_what_was_given_back_already_is_booked_by_what_the_provider_lists(
    db: Database, database_url: str, till: SampleTill, wire: Wire
) -> None:
    key = await asked_for(db, till)
    till.stand_in.refunds[key] = {"refund": "re-1", "charge": key, "fee": "0.50", "amount": 14_900, "currency": "RUB"}
    await made(db)
    assert wire.calls == ["give back", "outcome"]
    await is_given_back_once(db, database_url, till)


@of_sample
@pytest.mark.proves("N-33")
async def test_already_and_not_listed_moves_nothing_and_is_no_money(
    db: Database, database_url: str, till: SampleTill, wire: Wire
) -> None:
    await asked_for(db, till)
    wire.answers = [GivenBack(Answer.ALREADY, reason="already")]
    assert (await made(db)).failed == 1
    assert await db.run(lambda tx: tx.value("select count(*) from refunds")) == 0
    assert await db.run(lambda tx: tx.values("select status from payment_events where kind = 'other'")) == ["no_money"]
    assert await db.run(requests) == ["sent"]
    assert violations(database_url) == []


@of_sample
@pytest.mark.proves("N-33")
async def test_news_that_can_not_be_booked_ends_no_refund_however_often_it_is_told(
    db: Database, database_url: str, till: SampleTill, wire: Wire
) -> None:
    key = await asked_for(db, till)
    till.stand_in.refunds[key] = {"refund": "re-1", "charge": key, "fee": "0.50", "amount": 14_900, "currency": "USDT"}
    for _ in range(3):
        run = await made(db)
        assert (run.done, run.failed) == (0, 1)
        assert await db.run(requests) == ["sent"], "what left is not booked"
    assert wire.calls == ["give back", "outcome", "outcome", "outcome"], "it is not made again"
    assert await db.run(lambda tx: tx.values("select status from payment_events where kind = 'refund'")) == [
        "unmatched"
    ]
    assert violations(database_url) == []


@of_sample
@pytest.mark.proves("N-33")
async def test_a_part_that_the_provider_gave_back_ends_the_request_for_all_of_it(
    db: Database, database_url: str, till: SampleTill, wire: Wire
) -> None:
    """What left is booked, what was kept back is let go, and the rest is the provider's to give."""
    key = await asked_for(db, till)
    till.stand_in.refunds[key] = {"refund": "re-1", "charge": key, "fee": "0.50", "amount": 14_800, "currency": "RUB"}
    for _ in range(2):
        await made(db)
    assert await db.run(requests) == ["refused"]
    assert wire.calls == ["give back", "outcome"], "it is not made again"
    assert await db.run(booked, "refunds") == {"RUB": 14_800}
    assert violations(database_url) == []


@of_sample
@pytest.mark.proves("N-33")
async def test_what_the_provider_refuses_ends_and_may_be_asked_for_again(
    db: Database, database_url: str, till: SampleTill, wire: Wire
) -> None:
    key = await asked_for(db, till)
    till.stand_in.frozen.add(key)
    await made(db)
    assert await db.run(requests) == ["refused"]
    till.stand_in.frozen.clear()
    await db.run(ask)
    await made(db)
    assert wire.calls == ["give back", "give back"]
    assert await db.run(requests) == ["refused", "done"]
    assert await db.run(booked, "refunds") == {"RUB": 14_900}
    assert violations(database_url) == []


@of_sample
async def test_a_provider_that_gives_nothing_back_refuses(
    db: Database, till: SampleTill, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert queue.tasks == {}
    monkeypatch.setattr(bootstrap, "giving_back", dict)
    await asked_for(db, till)
    await made(db)
    assert await db.run(requests) == ["refused"]


@of_sample
@pytest.mark.proves("N-33")
async def test_what_may_have_been_made_is_not_refused_when_its_provider_can_not_be_asked(  # noqa: PLR0917 -- fixtures
    db: Database,
    racing_db: Database,
    database_url: str,
    till: SampleTill,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Such as by a release without its token: nothing says that the money has not left."""
    key = await asked_for(db, till)
    till.stand_in.refunds[key] = {"refund": "re-1", "charge": key, "fee": "0.50", "amount": 14_900, "currency": "RUB"}
    wire.answers = [GivenBack(Answer.UNKNOWN, reason="timeout")]
    await made(db)
    with monkeypatch.context() as without:
        without.setattr(bootstrap, "giving_back", dict)
        assert (await made(db)).claimed == 0
        caplog.clear()
        await giving_back.tell_overdue(sweep_run(racing_db, "payments"))
    assert [record.message for record in caplog.records] == ["refund_overdue"]
    assert await db.run(requests) == ["sent"]
    await made(db)
    assert wire.calls == ["give back", "outcome"]
    await is_given_back_once(db, database_url, till)


@of_sample
async def test_a_refund_is_told_as_overdue_once_it_has_waited_ten_minutes_until_it_is_made(
    db: Database, racing_db: Database, till: SampleTill, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    await asked_for(db, till)

    async def told() -> list[str]:
        caplog.clear()
        await giving_back.tell_overdue(sweep_run(racing_db, "payments"))
        return [record.message for record in caplog.records]

    wire.answers = [GivenBack(Answer.LATER, reason="away")]
    await made(db, timedelta(minutes=9))
    assert await told() == []
    waiting = (await racing_db.run(health_snapshot.take)).waiting
    assert (waiting.refunds_waiting, round(waiting.refunds_oldest_s / 60)) == (1, 9)
    await db.run(travel, timedelta(minutes=2))
    assert await told() == ["refund_overdue"]
    (late,) = await racing_db.run(refund_requests.overdue)
    assert (late.provider, late.count, round(late.oldest_s / 60)) == ("sample", 1, 11)
    await made(db)
    assert await db.run(requests) == ["done"]
    assert await told() == []
    after = (await racing_db.run(health_snapshot.take)).waiting
    assert (after.refunds_waiting, after.refunds_oldest_s) == (0, 0)


@of_sample
async def test_a_refused_refund_is_named_until_its_charge_goes_back_another_way(
    db: Database, till: SampleTill, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    key = await asked_for(db, till)
    till.stand_in.frozen.add(key)
    await made(db)
    assert wire.calls == ["give back"]
    assert [record.levelname for record in caplog.records if record.message == "refund_refused"] == ["ERROR"]

    async def named() -> list[str]:
        return [one.provider for one in await db.run(refund_requests.refused_lately, 1, 10)]

    assert await named() == ["sample"]
    await db.run(ask)
    assert await named() == []  # it is asked for again
    await made(db)
    assert await named() == ["sample"]  # the second alone
    payment_id = await db.run(lambda tx: tx.value("select max(id) from payments"))
    await db.run(refunds_by_hand.refund, Wanted(Route.BALANCE, payment_id), BY, PRICES)
    assert await named() == []


@of_sample
async def test_a_refused_refund_is_named_for_a_day(db: Database, till: SampleTill, wire: Wire) -> None:
    till.stand_in.frozen.add(await asked_for(db, till))
    await made(db)
    assert wire.calls == ["give back"]
    await db.run(travel, timedelta(hours=23))
    assert len(await db.run(refund_requests.refused_lately, 1, 10)) == 1
    await db.run(travel, timedelta(hours=2))
    assert await db.run(refund_requests.refused_lately, 1, 10) == []


# S4-13 ---------------------------------------------------------------------------------------------------------------

# Where the run dies, and what of the refund stands then.
_PLACES = {
    "before-claim": ("refund.before-claim", ("requested",)),
    "after-claim": ("refund.after-claim", ("sent",)),
    "after-call": ("refund.after-call", ("sent",)),
    "mid-transaction": ("refund.mid-transaction", ("sent",)),
    "in-commit": ("receive.in-commit", ("sent", "done")),
    "after-commit": ("after-commit", ("done",)),
}


def test_the_cells_are_the_acceptance_list() -> None:
    listed = tomllib.loads(_LIST.read_text())["money"]
    assert {f"S4-13.refund.{point}" for point in _PLACES} == {one for one in listed if one.startswith("S4-13.refund.")}


def buy_and_ask(tx: Transaction) -> None:
    account = accounts.meet(tx, Person(1, "Anna", None, "ru"))
    synthetic.buy(tx, Purchase("local", account.id, "basic", 30, "release-1"), PRICES)
    ask(tx)


@pytest.mark.parametrize(
    ("place", "stands"),
    [
        pytest.param(place, stands, id=point, marks=pytest.mark.proves(f"S4-13.refund.{point}"))
        for point, (place, stands) in _PLACES.items()
    ],
)
async def test_a_run_that_is_killed(
    db: Database,
    *,
    database_url: str,
    functions_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    queue: Queue,
    place: str,
    stands: tuple[str, ...],
) -> None:
    """The next run asks what became of it, and it is given back and told once; what it follows is the outbox's."""
    assert queue.tasks == {}
    await db.run(buy_and_ask)
    (tmp_path / place).touch()
    dying = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.payments.refund_and_die", functions_url),
        env={**os.environ, "ENVIRONMENT": "local", "ATLAS_FAILPOINTS": str(tmp_path)},
    )
    assert await dying.wait() == -signal.SIGKILL
    (status,) = await db.run(requests)
    assert status in stands
    assert await db.run(lambda tx: tx.value("select count(*) from refunds")) == (status == "done")
    assert violations(database_url) == []
    monkeypatch.setattr(bootstrap, "giving_back", lambda: registry.giving_back(lambda: None))  # type: ignore[arg-type, return-value] # nothing is called
    run = await made(db)
    assert (run.done, run.failed) == (int(status != "done"), 0)
    assert await db.run(requests) == ["done"]
    assert await db.run(booked, "refunds") == {"RUB": 14_900}
    assert await db.run(booked, "clearing:test") == {}
    assert await db.run(lambda tx: tx.values("select kind from messages order by id")) == ["receipt", "refund"]
    assert violations(database_url) == []
