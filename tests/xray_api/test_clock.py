"""Which clock a node believes: Atlas's own, carried on by the machine's boot-time clock; never the wall clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.node.caller import HOUR_MS, NodeCaller, now_ms, wanted
from tests.waiting import until
from xray_api.clock import OFF_MS, Clock, Sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.node.lab import XrayNode

DAY_MS = 24 * HOUR_MS
START_MS = 1_800_000_000_000
LONGEST_MS = 100 * DAY_MS


@dataclass
class Machine:
    """A machine's clocks, and the time that it really is."""

    really_ms: int = START_MS
    wall_off_ms: int = 0
    up_ms: int = 5_000
    boot: int = 1

    def passes(self, ms: int) -> None:
        self.really_ms += ms
        self.up_ms += ms

    def reboots(self, off_for_ms: int) -> None:
        self.really_ms += off_for_ms
        self.up_ms, self.boot = 0, self.boot + 1

    def sources(self) -> Sources:
        return Sources(lambda: self.really_ms + self.wall_off_ms, lambda: self.up_ms, f"boot-{self.boot}")


spans = st.integers(0, LONGEST_MS)
happenings = st.one_of(
    st.tuples(st.just("passes"), spans),
    st.tuples(st.just("wall clock set"), st.integers(-LONGEST_MS, LONGEST_MS)),
    st.tuples(st.just("Atlas calls"), st.integers(0, HOUR_MS)),  # how long the call was held up
    st.tuples(st.just("service restarts"), st.just(0)),
    st.tuples(st.just("machine restarts"), spans),
)


@pytest.mark.proves("G-13")
@given(st.lists(happenings, max_size=30))
def test_the_time_known_is_never_ahead_never_back_and_is_exact_while_sure(story: list[tuple[str, int]]) -> None:
    machine = Machine()
    clock = Clock(machine.sources())
    latest, lag = 0, 0
    for what, ms in story:
        match what:
            case "passes":
                machine.passes(ms)
            case "wall clock set":
                machine.wall_off_ms = ms
            case "Atlas calls":
                clock.hear(machine.really_ms - ms)
                lag = HOUR_MS
            case "service restarts":
                clock = Clock(machine.sources(), clock.kept())
            case "machine restarts":
                kept = clock.kept()
                machine.reboots(ms)
                clock = Clock(machine.sources(), kept)
        now = clock.now_ms()
        if now is None:
            assert lag == 0, "Atlas was heard"
            continue
        assert now <= machine.really_ms, "who paid would be dropped"
        assert now >= latest, "it went back"
        latest = now
        if clock.facts()["sure"]:
            assert now >= machine.really_ms - lag, "who ended would stay"


@pytest.mark.proves("G-13")
@pytest.mark.parametrize("off_ms", [-40 * DAY_MS, -OFF_MS - 1000, -1000, 1000, OFF_MS + 1000, 40 * DAY_MS])
def test_a_wall_clock_more_than_a_minute_off_is_a_problem_by_name(off_ms: int) -> None:
    machine = Machine(wall_off_ms=off_ms)
    clock = Clock(machine.sources())
    clock.hear(machine.really_ms)
    assert clock.facts()["off_ms"] == off_ms
    told = "".join(clock.problems())
    assert ("this machine's clock is" in told) == (abs(off_ms) > OFF_MS)
    assert ("ahead of" in told, "behind" in told) == (off_ms > OFF_MS, off_ms < -OFF_MS)


@pytest.mark.proves("G-13")
def test_what_is_not_sure_is_said() -> None:
    machine = Machine()
    clock = Clock(machine.sources())
    assert "not told its time yet" in clock.problems()[0]
    clock.hear(machine.really_ms)
    assert clock.problems() == []
    machine.reboots(DAY_MS)
    later = Clock(machine.sources(), clock.kept())
    assert later.now_ms() is not None
    assert not later.facts()["sure"]
    assert "restarted" in later.problems()[0]
    later.hear(machine.really_ms)
    assert (later.problems(), later.now_ms()) == ([], machine.really_ms)
    later.hear(machine.really_ms - DAY_MS)
    assert (later.now_ms(), len(later.problems())) == (machine.really_ms, 1), "a call that was held up for a day"


@pytest.mark.proves("G-13")
def test_without_a_name_of_the_boot_a_restart_is_not_taken_for_the_same_boot() -> None:
    machine = Machine()
    nameless = replace(machine.sources(), kernel_boot="")
    clock = Clock(nameless)
    clock.hear(machine.really_ms)
    machine.passes(1000)
    assert not Clock(nameless, clock.kept()).facts()["sure"]


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    path = tmp_path / "clock"
    set_clock(path, 0)
    return path


def set_clock(path: Path, off_ms: int) -> None:
    path.write_text(f"{off_ms}\n", encoding="ascii")


@pytest.mark.proves("G-13")
async def test_a_clock_40_days_ahead_drops_no_paying_customer_and_one_behind_lets_no_ended_one_in(
    new_node: Callable[..., XrayNode], clock_file: Path
) -> None:
    node = await new_node(
        environment={"XRAY_API_CLOCK_PATH": str(clock_file), "XRAY_EXPIRY_GRACE_SECONDS": "0"}
    ).start()
    ahead_ms = 0
    async with NodeCaller(node.url, node.key, time_ms=lambda: now_ms() + ahead_ms) as caller:
        paid = [wanted(f"{number}", 1, expiry_ms=now_ms() + 30 * DAY_MS) for number in range(39)]
        assert {answer["code"] for answer in await caller.apply(*paid)} == {200}

        # Ahead. The expiry sweep goes round once a second; one that ends now shows that it has.
        set_clock(clock_file, 40 * DAY_MS)
        (ending,) = await caller.apply(wanted("ends", 1, expiry_ms=now_ms() + 1))
        assert ending["code"] in {200, 409}

        async def gone() -> bool:
            return "ends" not in await caller.users()

        await until(gone, "the one that ended is dropped")
        assert len(await caller.users()) == len(paid), "paying customers were dropped"
        health = await caller.health()
        assert health["dropped"] == [{"client": "ends", "version": 1}]
        assert health["clock"]["off_ms"] > 39 * DAY_MS
        assert any("ahead of" in problem for problem in health["problems"])
        (again,) = await caller.apply(wanted("new", 1, expiry_ms=now_ms() + DAY_MS))
        assert again["code"] == 200, "who buys meanwhile is let in"

        # Behind for good: what ended by Atlas's time goes and stays out, also over a restart of the service.
        set_clock(clock_file, -400 * DAY_MS)
        ahead_ms = 31 * DAY_MS
        assert (await caller.apply(wanted("late", 1, expiry_ms=now_ms() + 30 * DAY_MS)))[0][
            "error"
        ] == "expired on this node"

        async def empty() -> bool:
            return await caller.users() == {}

        await until(empty, "all that ended are dropped")
        await node.service.stop()
        await node.start_service()
        ahead_ms = 0  # and an old call held up for a month brings no client back
        assert await caller.users() == {}
        assert (await caller.apply(paid[0]))[0]["error"] == "expired on this node"


@pytest.mark.proves("G-13")
async def test_what_a_node_dropped_by_itself_is_told_until_acknowledged(new_node: Callable[..., XrayNode]) -> None:
    node = await new_node(environment={"XRAY_EXPIRY_GRACE_SECONDS": "0"}).start()
    async with NodeCaller(node.url, node.key) as caller:
        await caller.apply(*(wanted(name, 2, expiry_ms=now_ms() + 300) for name in "abc"))

        async def told() -> list[str]:
            return [one["client"] for one in (await caller.health())["dropped"]]

        async def all_told() -> bool:
            return await told() == ["a", "b", "c"]

        await until(all_told, "three dropped")

        async def post(**body: object) -> dict[str, object]:
            answer: dict[str, object] = (await caller.http.post("/apply", json=body)).raise_for_status().json()
            return answer

        assert [one["client"] for one in (await post(items=[wanted("d", 1)]))["dropped"]] == ["a", "b", "c"]  # type: ignore[attr-defined] # a list
        await caller.apply(wanted("a", 3))  # bought again: there is nothing left to tell
        assert await told() == ["b", "c"]
        answer = await post(acknowledged=[{"client": "b", "version": 2}, {"client": "c", "version": 1}])
        assert answer["dropped"] == [{"client": "c", "version": 2}], "another version is not this one"
        await node.service.kill()
        await node.start_service()
        assert await told() == ["c"]
        assert (await caller.http.get("/list-users")).json()["dropped"] == [{"client": "c", "version": 2}]
        assert "a" in await caller.users()
