from __future__ import annotations

import importlib.util
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lib import function_table
from sandbox.cloud.cloudtasks.queues import Queue

ROOT = Path(__file__).parents[3]
TABLE = function_table.load()


def test_every_row_has_its_module_and_every_module_its_row() -> None:
    modules = {
        f"functions.{path.parent.name}.{path.stem}"
        for path in (ROOT / "functions").glob("*/*.py")
        if path.stem != "__init__"
    }
    assert modules == {TABLE.module(target) for target in TABLE.targets()}
    for module in modules:
        assert importlib.util.find_spec(module) is not None


def test_deadlines_are_ordered() -> None:
    for function in TABLE.functions.values():
        if function.deadline_s is not None:
            assert function.timeout_s < function.deadline_s <= 1800, function.name


def test_threads_are_connections_and_enough() -> None:
    for function in TABLE.functions.values():
        assert function.connections >= 2, function.name


def test_queues_and_triggers_fit_together() -> None:
    for function in TABLE.functions.values():
        assert (function.trigger == "task") == (function.queue is not None), function.name
        assert (function.trigger == "schedule") == (function.schedule is not None), function.name
        assert (function.trigger == "schedule") == (function.flag is not None), function.name
        for queue in (*function.enqueues, *filter(None, [function.queue])):
            assert queue in TABLE.queues, (function.name, queue)


def test_a_sweep_hands_on_by_its_queue() -> None:
    for function in TABLE.functions.values():
        if function.trigger == "schedule":
            assert "sweeps" in function.enqueues, function.name


WORKED = [queue.name for queue in TABLE.worked_queues()]
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SWEEP_S = 60


def starts(name: str, run_s: float) -> list[float]:
    """When a task that always fails is attempted, in seconds from its first attempt; each attempt takes `run_s`."""
    row = TABLE.queues[name]
    queue = Queue(
        name,
        max_attempts=row.max_attempts,
        min_backoff=row.min_backoff_s,
        max_backoff=row.max_backoff_s,
        max_doublings=row.max_doublings,
        max_retry_duration=row.max_retry_s,
    )
    found, now = [0.0], run_s
    while not queue.is_used_up(len(found), EPOCH, EPOCH + timedelta(seconds=now)):
        now += queue.backoff(len(found) - 1)
        found.append(now)
        now += run_s
    return found


@pytest.mark.parametrize("name", sorted(TABLE.queues))
def test_of_a_queues_two_limits_the_time_decides_whatever_an_attempt_takes(name: str) -> None:
    """Cloud Tasks waits for both, so the other one must be used up by then: else it would silently win."""
    row = TABLE.queues[name]
    deadlines = [one.deadline_s for one in TABLE.functions.values() if name == (one.queue or "sweeps")]
    slowest = starts(name, max(filter(None, deadlines)))
    assert slowest[row.max_attempts - 1] <= row.max_retry_s


@pytest.mark.proves("G-15")
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("name", WORKED)
def test_work_is_driven_again_only_when_its_queue_is_done_with_it(name: str, share: float) -> None:
    run_s = TABLE.deadline_s(name) * share
    assert starts(name, run_s)[-1] + run_s <= TABLE.window_s(name)


@pytest.mark.proves("G-15")
@pytest.mark.parametrize("share", [0.01, 1.0])
@pytest.mark.parametrize("name", WORKED)
def test_after_an_outage_of_any_length_work_is_tried_again_within_minutes(name: str, share: float) -> None:
    """By its task while that lives, else by the next sweep, which makes another."""
    row, run_s, window_s = TABLE.queues[name], TABLE.deadline_s(name) * share, TABLE.window_s(name)
    one_task = starts(name, run_s)
    driven = -(-window_s // SWEEP_S) * SWEEP_S  # the first sweep after the window
    attempts = [made * driven + start for made in range(40) for start in one_task]
    longest = max(after - before for before, after in itertools.pairwise(attempts))
    assert longest <= row.max_backoff_s * 2 + TABLE.deadline_s(name) * 2 + SWEEP_S


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [("* * * * *", 60), ("*/5 * * * *", 300), ("0 * * * *", 3600), ("17 */6 * * *", 21_600), ("30 3 * * *", 86_400)],
)
def test_a_schedules_period_is_what_terraform_takes_it_for(schedule: str, seconds: int) -> None:
    row = replace(function_table.load().functions["sweep_outbox"], schedule=schedule)
    assert row.period_s == seconds


@pytest.mark.parametrize("schedule", ["0 3 * * 1", "*/0 * * * *", "1,2 * * * *", "* */2 * * *", "a b * * *"])
def test_another_schedule_is_refused(schedule: str) -> None:
    row = replace(function_table.load().functions["sweep_outbox"], schedule=schedule)
    with pytest.raises(ValueError, match="sweep_outbox"):
        _ = row.period_s


def test_what_has_no_schedule_has_no_period() -> None:
    assert function_table.load().functions["health"].period_s is None


@pytest.mark.parametrize(
    ("schedule", "seconds"), [("* * * * *", 300), ("*/5 * * * *", 900), ("0 * * * *", 10_800), ("30 3 * * *", 90_000)]
)
def test_a_sweep_is_silent_after_three_periods_within_five_minutes_and_a_day_and_an_hour(
    schedule: str, seconds: float
) -> None:
    row = replace(function_table.load().functions["sweep_outbox"], schedule=schedule)
    table = replace(function_table.load(), functions={"sweep_outbox": row, "health": TABLE.functions["health"]})
    assert table.silent_after_s() == {"outbox": seconds}
