"""N-35: whole lives under faults, by seed: safety at every look, liveness once the faults stop, and the same run again by the same seed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simulation.kept import kept

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> dict[str, Any]:
    """A run in a process of its own, whose clock, chance and adapters it exchanges."""
    done = subprocess.run(
        [sys.executable, "-m", "simulation", "--json", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr[-3000:]
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def size(seed: int, customers: int, days: float) -> list[str]:
    return ["--seed", str(seed), "--customers", str(customers), "--days", str(days)]


PROVED = ("N-35", "N-35.settlement", "N-35.grant", "N-35.ledger")


def proving(test: Any) -> Any:
    """The kept seeds prove all that a planted defect is found by."""
    for identifier in PROVED:
        test = pytest.mark.proves(identifier)(test)
    return test


@proving
@pytest.mark.parametrize("one", kept(), ids=lambda one: f"seed-{one.seed}")
def test_a_kept_seed_finds_nothing(one: Any) -> None:
    outcome = run(*size(one.seed, one.customers, one.days))
    assert outcome["found"] == [], "\n".join(outcome["last"][-40:])
    assert outcome["met"]["kill"] > 0
    assert outcome["looks"] > 3


@pytest.mark.proves("N-35")
def test_a_seed_is_the_same_run_again() -> None:
    first, again = (run(*size(7, 3, 0.5)) for _ in range(2))
    assert first["digest"] == again["digest"]
    assert (first["events"], first["calls"]) == (again["events"], again["calls"])
    assert first["events"] > 10
