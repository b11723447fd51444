"""The order of a run: drawn from a printed seed, in groups of tests that share what they start.

A group is handed to one worker whole (`pytest -n 2`), so that each whole system is started once, and groups are a queue: a
worker that is done takes the next one. Modules within a group and tests within a module are shuffled, since no test may depend on
another; `ATLAS_TEST_SEED` repeats an order.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from xdist.scheduler.loadscope import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

SEED = "ATLAS_TEST_SEED"

# Folders whose tests share something that takes seconds to start. The longest come first, so that the short ones fill the end.
SHARED = (
    "tests/e2e/webhooks",
    "tests/e2e/sweeps",
    "tests/e2e/crash",
    "tests/e2e/faults",
    "tests/browser",
    "tests/deploy",
    "tests/bench",
    "tests/xray_api",
    "tests/sandbox/bridge",
    "tests/sandbox/postgres",
    "tests/docs",
)


def group(nodeid: str) -> str:
    """What one worker runs as a whole: a folder of `SHARED`, any other module by itself."""
    module = nodeid.partition("::")[0]
    return next((folder for folder in SHARED if module.startswith(f"{folder}/")), module)


def seed() -> int:
    """The seed of this run, drawn at the first call; workers inherit it with the environment."""
    return int(os.environ.setdefault(SEED, str(random.SystemRandom().randrange(1_000_000))))


def shuffled(nodeids: Iterable[str], number: int) -> list[str]:
    """Node ids in the order of a seed: groups of `SHARED` first and in their order, modules and tests at random."""

    def draw(text: str) -> float:
        return random.Random(f"{number} {text}").random()  # noqa: S311 -- an order, no secret

    def place(nodeid: str) -> tuple[int, float, float, float]:
        module = nodeid.partition("::")[0]
        of = group(nodeid)
        first = SHARED.index(of) if of in SHARED else len(SHARED)
        return first, draw(of), draw(module), draw(nodeid)

    return sorted(nodeids, key=place)


class ByGroup(LoadScopeScheduling):  # type: ignore[misc] # xdist says no types
    """xdist's queue of groups, in the order of the collection."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # it would put the groups with most tests first, not the longest

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
