"""Races over claims: several `Database` objects as so many processes, nodes that remember, a clock that can be moved."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from lib import bootstrap
from lib.db import Database
from lib.db.invariants import violations
from lib.domain.webhook_state import Looked
from lib.settings import plain
from lib.telegram import webhook_info
from tests.integration.sweeps.nodes import Network, RememberingNode
from tests.integration.sweeps.runs import Queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from tests.integration.databases import Databases


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """The invariants belong to the test (S4-15): a violation is its failure, not an error after it."""
    yield
    url = getattr(item, "funcargs", {}).get("database_url")
    if url is not None and not item.get_closest_marker("breaks_invariants"):
        assert violations(url) == []


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A fresh, migrated database."""
    url = databases.take()
    yield url
    databases.give_back(url)


@pytest.fixture
async def processes(functions_url: str) -> AsyncIterator[Callable[..., list[Database]]]:
    """Make so many databases with connections of their own, as processes have them.

    As many as any test needs at once: what is raced for is rows, not connections.
    """
    async with AsyncExitStack() as stack:

        def make(count: int) -> list[Database]:
            made = [Database(functions_url, connections=10, application=f"p{n}", guards=True) for n in range(count)]
            for database in made:
                stack.push_async_callback(database.close)
            return made

        yield make


@pytest.fixture(autouse=True)
def telegram(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says of the webhook when `sweep_outbox` asks: all is delivered."""

    async def ask(*_: object) -> Looked:
        return Looked(is_set=True, pending=0, last_error_at=None, last_error=None)

    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "42:TESTTESTTEST")
    plain.telegram.cache_clear()
    monkeypatch.setattr(webhook_info, "ask", ask)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> RememberingNode:
    """The node that `XRAY_API_KEY` opens."""
    monkeypatch.setenv("XRAY_API_KEY", "k")
    return RememberingNode()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch, node: RememberingNode) -> Queue:
    """Where tasks go; calls to nodes reach `node`."""
    made = Queue()
    monkeypatch.setattr(bootstrap, "task_queue", lambda: made)
    monkeypatch.setattr(bootstrap, "node_transport", lambda: node)
    monkeypatch.setattr(bootstrap, "budgeted_queue", lambda: made)
    return made


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Two nodes that can be called at once, again without a pause, by the functions too."""

    async def no_pause(_seconds: float) -> None:
        pass

    monkeypatch.setenv("XRAY_API_KEY", "k")
    monkeypatch.setattr("lib.nodes.client.sleep", no_pause)
    made = Network(2)
    monkeypatch.setattr(bootstrap, "node_transport", lambda: made)
    monkeypatch.setattr(bootstrap, "task_queue", Queue)
    return made
