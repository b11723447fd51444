"""`--against <commit>` runs both commits in turn and says what is worse. Their figures are not looked at here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.against import ITEMS
from bench.pairs import Figure, compare, interval, table

ROOT = Path(__file__).resolve().parents[2]
COST = Figure("P", "seconds", "s")
RATE = Figure("P", "per second", "/s", more_is_better=True)


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "--small", "--out", str(folder), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )


@pytest.mark.parametrize(
    "items",
    [["P2", "idle"], pytest.param([name for name in ITEMS if name not in {"P2", "idle"}], marks=pytest.mark.full)],
)
def test_both_commits_run_and_every_figure_has_a_pair(items: list[str], tmp_path: Path) -> None:
    trees = _git("worktree", "list")
    run = _run(tmp_path, "--against", "HEAD", "--only", *items)
    assert run.returncode == 0, run.stderr[-4000:]
    (file,) = tmp_path.glob("*-against-HEAD.json")
    content: dict[str, Any] = json.loads(file.read_text())
    assert list(content["laps"]) == items
    for laps in content["laps"].values():
        assert len(laps["new"]) == len(laps["old"]) == 2
        assert all(value > 0 for side in laps.values() for lap in side for value in lap.values())
    measured = {work for laps in content["laps"].values() for work in laps["new"][0]}
    assert {row["work"] for row in content["table"]} == measured
    assert all(row["interval"][0] <= row["ratio"] <= row["interval"][1] for row in content["table"])
    assert _git("worktree", "list") == trees


def test_a_commit_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    run = _run(tmp_path, "--against", "no-such-commit", "--only", "idle")
    assert run.returncode == 1
    assert "no-such-commit" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("figure", [COST, RATE])
@pytest.mark.parametrize(
    ("speed", "not_worse"), [(0.5, False), (0.9, False), (0.96, False), (0.975, True), (1.0, True), (1.5, True)]
)
def test_worse_is_a_speed_whose_interval_stays_below_097(figure: Figure, speed: float, *, not_worse: bool) -> None:
    disturbed = [1.0, 7.0, 1.1, 3.0, 0.9, 1.0, 1.2, 5.0]  # the same for both of a pair
    ratio = speed if figure.more_is_better else 1 / speed
    (compared,) = compare([{figure: ratio * one} for one in disturbed], [{figure: one} for one in disturbed])
    assert compared.ratio == pytest.approx(ratio)
    assert compared.not_worse is not_worse
    assert ("**no**" in table([compared])) is not not_worse


def test_noise_that_hides_the_difference_is_no_verdict() -> None:
    noisy = [0.7, 1.3, 0.8, 1.2, 0.9, 1.1, 0.95, 1.05]
    low, high = interval(noisy)
    assert low < 1 < high
    assert (low, high) == interval(noisy)
    (compared,) = compare([{COST: one} for one in noisy], [{COST: 1.0} for _ in noisy])
    assert compared.not_worse


def test_a_figure_that_only_one_commit_has_is_left_out_and_uneven_laps_are_refused() -> None:
    assert compare([{COST: 1.0, RATE: 2.0}], [{COST: 1.0}])[0].figure == COST
    assert len(compare([{COST: 1.0, RATE: 2.0}], [{COST: 1.0}])) == 1
    with pytest.raises(ValueError, match="two members"):
        compare([{COST: 1.0}], [])


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
