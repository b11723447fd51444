"""How many sweeps an instance works on at once, and who is next."""

from __future__ import annotations

import asyncio

import pytest

from lib import function_table
from lib.sweeps import runner
from lib.sweeps.places import NO_PLACE, RUNNING, Places, here
from tests.waiting import until

TABLE = function_table.load()


@pytest.fixture
def two() -> Places:
    return Places(2)


async def _held(places: Places, sweep: str, had: list[str], end: asyncio.Event) -> None:
    async with places.one(sweep, 60.0) as why_not:
        had.append(f"{sweep} {why_not}" if why_not else sweep)
        await end.wait()


async def test_who_waits_comes_first_and_each_has_a_place_in_the_end(two: Places) -> None:
    had: list[str] = []
    ends = {name: asyncio.Event() for name in "abcd"}
    running = []
    for name, end in ends.items():
        running.append(asyncio.create_task(_held(two, name, had, end)))
        await asyncio.sleep(0)
    assert had == ["a", "b"]
    ends["b"].set()
    await until(lambda: len(had) == 3, "the next one has the place")
    ends["a"].set()
    await until(lambda: len(had) == 4, "and the one after it")
    assert had == ["a", "b", "c", "d"]
    for end in ends.values():
        end.set()
    await asyncio.gather(*running)


async def test_a_sweep_that_waits_or_works_here_is_running_and_takes_no_second_place(two: Places) -> None:
    async with two.one("a", 0.0) as first, two.one("a", 0.0) as second, two.one("b", 0.0) as other:
        assert (first, second, other) == (None, RUNNING, None)
    async with two.one("a", 0.0) as again:
        assert again is None


async def test_a_place_that_is_not_had_in_time_is_none_and_one_that_waited_leaves_nothing_behind(two: Places) -> None:
    async with two.one("a", 0.0), two.one("b", 0.0):
        async with two.one("c", 0.01) as why_not:
            assert why_not == NO_PLACE
        waiting = asyncio.create_task(_held(two, "d", [], asyncio.Event()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    for _ in range(2):  # both are free again, and neither of the two counts as running
        async with two.one("c", 0.0) as one, two.one("d", 0.0) as other:
            assert (one, other) == (None, None)


async def test_a_run_that_fails_gives_its_place_back(two: Places) -> None:
    for _ in range(3):
        with pytest.raises(ValueError, match="broke"):
            async with two.one("a", 0.0):
                raise ValueError("broke")


@pytest.mark.parametrize(("target", "count"), [("private", TABLE.sweeps_at_once), ("sweep_expiry", 1)])
def test_the_private_service_has_as_many_places_as_the_table_says_and_every_other_one(
    monkeypatch: pytest.MonkeyPatch, target: str, count: int
) -> None:
    monkeypatch.setenv("FUNCTION_TARGET", target)
    here.cache_clear()
    try:
        assert here().count == count
    finally:
        here.cache_clear()


@pytest.mark.parametrize(
    "row", [row for row in TABLE.functions.values() if row.trigger == "schedule"], ids=lambda row: row.name
)
def test_who_waited_as_long_as_it_may_still_has_time_for_a_whole_run_and_its_end(row: function_table.Function) -> None:
    soft_s, hard_s = runner.budgets(row, waited_s=runner.PLACE_WAIT_S)
    assert runner.PLACE_WAIT_S + hard_s < row.timeout_s
    assert hard_s >= soft_s + 20.0, "a page's longest statement"
