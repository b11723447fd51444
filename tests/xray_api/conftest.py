"""One shared node for what leaves it as it was; `new_node` for what kills, hangs or configures one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.node.caller import NodeCaller
from sandbox.node.lab import Origin, XrayNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture(scope="session")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[XrayNode]:
    running = await XrayNode(tmp_path_factory.mktemp("node")).start()
    yield running
    await running.stop()


@pytest.fixture
async def caller(node: XrayNode) -> AsyncIterator[NodeCaller]:
    async with NodeCaller(node.url, node.key) as made:
        yield made


@pytest.fixture(scope="session")
async def origin() -> AsyncIterator[Origin]:
    running = await Origin().start()
    yield running
    await running.stop()


@pytest.fixture
async def new_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callable[..., XrayNode]]:
    """Makes nodes of its own for a test, not started; they are killed when the test ends."""
    made: list[XrayNode] = []

    def make(**options: object) -> XrayNode:
        made.append(XrayNode(tmp_path_factory.mktemp("node"), **options))  # type: ignore[arg-type] # passed on as given
        return made[-1]

    yield make
    for each in made:
        await each.kill()


_serial = iter(range(1, 1_000_000))


@pytest.fixture
def client() -> str:
    """A client key that no other test uses."""
    return f"{next(_serial)}"
