"""What `sweep_outbox` tells besides its own work: overdue work, connections, Telegram's deliveries. Its lines are what alerts count."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from functions.sweeps import sweep_outbox
from lib import bootstrap, function_table
from lib.domain import health_snapshot, sweep_runs, webhook_state
from lib.domain.sweep_runs import SweepRun
from lib.domain.webhook_state import Looked
from lib.telegram import webhook_info
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction
    from tests.integration.sweeps.runs import Queue

RECORDED = Path(__file__).resolve().parents[2] / "terraform/recorded/lines.jsonl"
NOW = "extract(epoch from atlas.now())"


@pytest.fixture
def db(processes: Callable[..., list[Database]], queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Database:  # noqa: ARG001 -- where tasks go
    (made,) = processes(1)
    monkeypatch.setattr(bootstrap, "database", lambda: made)
    return made


def _lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [vars(record)["fields"] for record in caplog.records if record.getMessage() == event]


def _add(tx: Transaction, queue: str, due_s: int, enqueued_s: int | None, attempt: int) -> None:
    tx.execute(
        "insert into outbox (queue, target, payload, correlation_id, attempt, created_at, not_before, enqueued_at)"
        " values (:queue, 'task_notify', '{}', 'c', :attempt, atlas.now() - make_interval(secs => :due_s),"
        " atlas.now() - make_interval(secs => :due_s), atlas.now() - make_interval(secs => cast(:enqueued_s as double precision)))",
        queue=queue,
        due_s=due_s,
        enqueued_s=enqueued_s,
        attempt=attempt,
    )


@pytest.mark.parametrize(
    ("due_s", "enqueued_s", "attempt", "told"),
    [
        pytest.param(601, None, 1, True, id="no task was ever made"),
        pytest.param(601, 5, 4, True, id="driven again a moment ago, and not done"),
        pytest.param(601, None, 3, True, id="put off to a moment that passed"),
        pytest.param(599, 400, 1, False, id="its queue is still at it"),
        pytest.param(-600, None, 3, False, id="put off to a moment to come"),
    ],
)
async def test_work_that_is_overdue_is_told_by_queue(
    db: Database, caplog: pytest.LogCaptureFixture, due_s: int, enqueued_s: int | None, attempt: int, *, told: bool
) -> None:
    await db.run(_add, "nodes", due_s, enqueued_s, attempt)
    await sweep_outbox._tell_overdue(sweep_run(db, "outbox"))
    lines = _lines(caplog, "outbox_overdue")
    assert [(line["queue"], line["count"]) for line in lines] == ([("nodes", 1)] if told else [])
    assert all(line["oldest_s"] >= 601 for line in lines)


async def test_work_that_is_done_is_overdue_nowhere(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    await db.run(_add, "messages", 5000, 100, 1)
    await db.run(lambda tx: tx.execute("update outbox set done_at = atlas.now()"))
    await sweep_outbox._tell_overdue(sweep_run(db, "outbox"))
    assert _lines(caplog, "outbox_overdue") == []


def _now(tx: Transaction) -> int:
    return int(tx.value(f"select cast({NOW} as bigint)"))


async def _look(db: Database, passed_s: int, looked: Callable[[int], Looked]) -> webhook_state.WebhookState:
    """A look, so many seconds after the one before."""
    now = await db.run(_now)

    def note(tx: Transaction) -> webhook_state.WebhookState:
        tx.execute(
            "update telegram_webhook set refused_since = refused_since - make_interval(secs => :passed_s)",
            passed_s=passed_s,
        )
        return webhook_state.note(tx, looked(now))

    return await db.run(note)


def _refused(now: int) -> Looked:
    return Looked(
        is_set=True, pending=3, last_error_at=now - 5, last_error="Wrong response from the webhook: 403 Forbidden"
    )


def _well(_now: int) -> Looked:
    return Looked(is_set=True, pending=0, last_error_at=None, last_error=None)


@pytest.mark.proves("S2-4b")
async def test_deliveries_count_as_refused_once_every_look_of_two_minutes_found_it(db: Database) -> None:
    assert not (await _look(db, 0, _well)).refused
    assert not (await _look(db, 60, _refused)).refused
    assert not (await _look(db, 60, _refused)).refused
    state = await _look(db, 60, _refused)
    assert state.refused
    assert (state.pending, state.last_error) == (3, "Wrong response from the webhook: 403 Forbidden")
    # Telegram repeats ever more slowly: the error grows old while updates wait, and it is not over
    assert (
        await _look(db, 60, lambda now: Looked(is_set=True, pending=3, last_error_at=now - 600, last_error="e"))
    ).refused
    assert (await _look(db, 60, _well)).refused_s is None


@pytest.mark.proves("S2-4b")
async def test_one_failed_delivery_that_was_repeated_is_nothing(db: Database) -> None:
    await _look(db, 0, _refused)
    state = await _look(db, 60, lambda now: Looked(is_set=True, pending=0, last_error_at=now - 65, last_error="e"))
    assert state.refused_s is None
    state = await _look(db, 60, lambda now: Looked(is_set=True, pending=2, last_error_at=now - 7200, last_error="e"))
    assert state.refused_s is None


@pytest.mark.proves("S2-4b")
async def test_a_bot_without_a_webhook_is_told_only_while_something_waits(db: Database) -> None:
    gone = Looked(is_set=False, pending=1, last_error_at=None, last_error=None)
    await _look(db, 0, lambda _now: gone)
    assert (await _look(db, 130, lambda _now: gone)).refused
    quiet = Looked(is_set=False, pending=0, last_error_at=None, last_error=None)
    assert (await _look(db, 60, lambda _now: quiet)).refused_s is None


async def test_telegram_out_of_reach_is_a_line_and_no_failure_of_the_sweep(
    db: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(*_: object) -> Looked:
        raise webhook_info.NoAnswer("ConnectError")

    monkeypatch.setattr(webhook_info, "ask", ask)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "42:TESTTESTTEST")
    run = sweep_run(db, "outbox")
    await sweep_outbox._look_at_webhook(run)
    assert _lines(caplog, "webhook_not_looked_at") == [{"error": "ConnectError"}]
    assert run.failed == 0


_MAY_BE_OPEN = function_table.load().connection_sum
_FOUR_FIFTHS = _MAY_BE_OPEN * 4 // 5


@pytest.mark.proves("S0-8")
@pytest.mark.parametrize(
    ("in_use", "limit", "short"),
    [(_FOUR_FIFTHS, 197, False), (_FOUR_FIFTHS + 1, 197, True), (19, 22, False), (20, 22, True), (5, 97, False)],
)
async def test_connections_run_short_by_what_functions_may_open_and_by_what_the_server_takes(
    db: Database,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    in_use: int,
    limit: int,
    *,
    short: bool,
) -> None:
    monkeypatch.setattr(health_snapshot, "connections", lambda _tx: health_snapshot.Connections(in_use, limit))
    caplog.set_level(logging.INFO, "atlas")
    await sweep_outbox._tell_connections(sweep_run(db, "outbox"))
    told = {"in_use": in_use, "may_be_open": _MAY_BE_OPEN, "limit": limit}
    assert _lines(caplog, "connections_short") == ([told] if short else [])
    assert _lines(caplog, "connections_in_use") == ([] if short else [told])


@pytest.mark.proves("S0-8")
async def test_the_recorded_lines_have_the_fields_that_the_code_logs_now(
    db: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alerts' filters are tried on those (tests/terraform/test_alerts.py)."""
    caplog.set_level(logging.INFO, "atlas")
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "42:TESTTESTTEST")
    run = sweep_run(db, "outbox")
    await db.run(_add, "nodes", 640, 5, 4)
    await sweep_outbox._tell_overdue(run)
    await sweep_outbox._tell_connections(run)
    monkeypatch.setattr(sweep_outbox, "_SHORT_SHARE", 0.0)
    await sweep_outbox._tell_connections(run)
    await _look(db, 0, _refused)
    now = await _look(db, 130, _refused)
    assert now.refused

    async def ask(*_: object) -> Looked:
        return _refused(await db.run(_now))

    monkeypatch.setattr(webhook_info, "ask", ask)
    await sweep_outbox._look_at_webhook(run)
    told = {record.getMessage(): vars(record)["fields"].keys() for record in caplog.records}
    common = {"severity", "time", "event", "correlation_id", "function"}
    recorded = {line["event"]: line.keys() - common for line in map(json.loads, RECORDED.read_text().splitlines())}
    for event in ("outbox_overdue", "connections_in_use", "connections_short", "telegram_deliveries_refused"):
        assert told[event] == recorded[event]


SILENT_AFTER_S = {"outbox": 300.0, "expiry": 300.0}


async def _ends(db: Database, sweep: str, outcome: str, ago_s: int) -> None:
    await db.run(
        lambda tx: tx.execute(
            "insert into sweep_runs (sweep, tick, started_at, ended_at, outcome, claimed, done, failed, more)"
            " values (:sweep, 't', atlas.now() - make_interval(secs => :ago_s), atlas.now() - make_interval(secs => :ago_s),"
            " :outcome, 0, 0, 0, false)",
            sweep=sweep,
            outcome=outcome,
            ago_s=ago_s,
        )
    )


@pytest.mark.proves("S2-4")
async def test_health_is_red_for_a_sweep_that_is_silent_and_green_in_a_quiet_shop(db: Database) -> None:
    async def red() -> list[str]:
        return (await db.run(health_snapshot.take)).red(SILENT_AFTER_S)

    assert await red() == []  # a shop that was made a moment ago: its first ticks are to come
    await db.run(travel, timedelta(seconds=301))
    assert await red() == ["sweep expiry has never ended well", "sweep outbox has never ended well"]
    for sweep in SILENT_AFTER_S:
        await _ends(db, sweep, "done", 290)
    assert await red() == []  # no update, no payment, no message: nothing is wrong
    await _ends(db, "expiry", "done", 5)
    await db.run(lambda tx: tx.execute("update sweep_runs set ended_at = ended_at - interval '30 seconds'"))
    assert [one.partition(" for")[0] for one in await red()] == ["sweep outbox has not ended well"]
    await _ends(db, "outbox", "failed", 1)  # it runs, and never well
    await _ends(db, "outbox", "timed_out", 0)
    assert [one.partition(" for")[0] for one in await red()] == ["sweep outbox has not ended well"]
    await _ends(db, "outbox", "done", 0)
    assert await red() == []


@pytest.mark.proves("S2-4")
async def test_a_sweep_that_is_new_in_an_old_shop_is_expected_from_its_release_on(db: Database) -> None:
    async def red() -> list[str]:
        return (await db.run(health_snapshot.take)).red(SILENT_AFTER_S | {"books": 3 * 86_400.0})

    async def passes(seconds: int) -> None:
        await db.run(travel, timedelta(seconds=seconds))
        for sweep in SILENT_AFTER_S:
            await _ends(db, sweep, "done", 0)

    async def ran(*sweeps: str) -> None:
        run = SweepRun("outbox", "t", "done", 0, 0, 0, more=False, duration_s=0.0, error=None)
        await db.run(sweep_runs.record, run, sweeps)

    await ran(*SILENT_AFTER_S)
    await passes(30 * 86_400)
    assert await red() == []  # the release that brings it is in place, and no run has told of it yet
    await ran(*SILENT_AFTER_S, "books")
    await passes(3 * 86_400 - 60)
    await ran(*SILENT_AFTER_S, "books")  # said again, it is expected no later
    assert await red() == []
    await passes(120)
    assert await red() == ["sweep books has never ended well"]
    await _ends(db, "books", "failed", 0)
    assert await red() == ["sweep books has never ended well"]
    await _ends(db, "books", "done", 0)
    assert await red() == []


@pytest.mark.proves("S2-4b")
async def test_health_is_red_while_deliveries_are_refused(db: Database) -> None:
    for sweep in SILENT_AFTER_S:
        await _ends(db, sweep, "done", 0)
    await _look(db, 0, _refused)
    await _look(db, 130, _refused)
    found = await db.run(health_snapshot.take)
    assert found.red(SILENT_AFTER_S) == [
        "Telegram can't deliver 3 updates: Wrong response from the webhook: 403 Forbidden"
    ]
    told = json.loads(json.dumps(found.as_json()))["webhook"]
    assert (told["pending"], told["is_set"], told["refused_s"] >= 130) == (3, True, True)
    await _look(db, 60, _well)
    assert (await db.run(health_snapshot.take)).red(SILENT_AFTER_S) == []
