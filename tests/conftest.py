"""What every test gets: a local environment with the test guards on, before anything of Atlas is imported."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import breadth, order

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

os.environ["ENVIRONMENT"] = "local"
os.environ.setdefault("ATLAS_TEST_GUARDS", "1")


def pytest_configure() -> None:
    """Draw the seed before workers are started, so that all of them have the same order."""
    order.seed()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a stand-in's breadth, unless the test proves something of the product."""
    part = breadth.part_of(item.nodeid.partition("::")[0])
    if part is not None and item.get_closest_marker("proves") is None:
        item.add_marker(f"breadth_{part}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No test depends on another: each run has an order of its own."""
    place = {
        nodeid: number for number, nodeid in enumerate(order.shuffled((item.nodeid for item in items), order.seed()))
    }
    items.sort(key=lambda item: place[item.nodeid])


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> order.ByGroup:
    """With `-n`: groups of tests that share a system, as a queue."""
    return order.ByGroup(config, log)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """How to run in this order again."""
    terminalreporter.write_line(f"order: {order.SEED}={order.seed()}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """For `make acceptance`: write which tests prove which id."""
    path = os.environ.get("ATLAS_ACCEPTANCE_FILE")
    if path is None:
        return
    proves: dict[str, list[str]] = {}
    for item in session.items:
        for marker in item.iter_markers("proves"):
            proves.setdefault(marker.args[0], []).append(item.nodeid)
    Path(path).write_text(json.dumps(proves))
