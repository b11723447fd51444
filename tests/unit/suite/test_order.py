"""The order of a run, the stand-ins' breadth, and the shares of the sabotage: what decides which tests run, and where."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import breadth, order
from tests.acceptance.breaking import cheapest_first, load, share

if TYPE_CHECKING:
    from pathlib import Path

_MODULES = st.sampled_from(
    [*(f"{folder}/test_a.py" for folder in order.SHARED), "tests/unit/test_b.py", "tests/lint/test_c.py"]
)
_NODEIDS = st.lists(st.tuples(_MODULES, st.integers(0, 9)).map(lambda made: f"{made[0]}::test_{made[1]}"), unique=True)


@given(_NODEIDS, st.integers(0, 1_000_000))
def test_an_order_keeps_all_tests_and_each_group_and_module_together(nodeids: list[str], seed: int) -> None:
    shuffled = order.shuffled(nodeids, seed)
    assert sorted(shuffled) == sorted(nodeids)
    assert shuffled == order.shuffled(reversed(nodeids), seed), "a seed is an order, however tests were found"
    for key in (order.group, lambda nodeid: nodeid.partition("::")[0]):
        runs = [name for name, _ in groupby(shuffled, key=key)]
        assert len(runs) == len(set(runs))


def test_another_seed_is_another_order() -> None:
    nodeids = [f"tests/unit/test_{number}.py::test" for number in range(50)]
    assert len({tuple(order.shuffled(nodeids, seed)) for seed in range(10)}) == 10


@pytest.mark.parametrize("folder", order.SHARED)
def test_folders_that_share_something_are_there(folder: str) -> None:
    assert any((breadth.ROOT / folder).rglob("test_*.py"))


@pytest.mark.parametrize("module", sorted(breadth.CONTRACT))
def test_what_always_runs_is_there_and_no_breadth(module: str) -> None:
    assert (breadth.ROOT / module).is_file()
    assert breadth.part_of(module) is None


@pytest.mark.parametrize("name", breadth.PARTS)
def test_what_a_part_is_made_of_is_there(name: str, pytestconfig: pytest.Config) -> None:
    part = breadth.PARTS[name]
    assert [one for one in (*part.tests, *part.files) if not (breadth.ROOT / one).exists()] == []
    assert any(line.startswith(f"breadth_{name}:") for line in pytestconfig.getini("markers"))


def test_a_changed_stand_in_has_its_breadth_run_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.py").write_text(name)
    parts = {name: breadth.Part((), (name,)) for name in ("one", "two")}
    monkeypatch.setattr(breadth, "PARTS", parts)
    monkeypatch.setattr(breadth, "ROOT", tmp_path)
    monkeypatch.setattr(breadth, "RECORD", tmp_path / "proved.json")
    assert breadth.unproved() == ["one", "two"], "a clone without a record runs everything"
    breadth.record(["one"])
    assert breadth.unproved() == ["two"]
    breadth.record(["two"])
    assert breadth.unproved() == []
    (tmp_path / "two" / "code.py").write_text("changed")
    assert breadth.unproved() == ["two"]
    (tmp_path / "one" / "more.html").write_text("")
    assert breadth.unproved() == ["one", "two"]


@pytest.mark.parametrize("shares", [1, 3, 4, 1000])
def test_shares_of_the_sabotage_are_all_of_it_once(shares: int) -> None:
    sabotages = load()
    parts = [share(sabotages, number, shares) for number in range(1, shares + 1)]
    assert sorted(one.why for part in parts for one in part) == sorted(one.why for one in sabotages)


def test_what_starts_least_is_tried_first() -> None:
    tests = ["tests/e2e/a.py::t", "tests/unit/b.py::t", "tests/integration/c.py::t", "tests/lint/d.py::t"]
    assert cheapest_first(tests) == [
        ["tests/unit/b.py::t", "tests/lint/d.py::t"],
        ["tests/integration/c.py::t"],
        ["tests/e2e/a.py::t"],
    ]
