from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.node.lab import Origin
from sandbox.system.system import System
from tests.e2e.log_search import assert_nothing_secret_is_logged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(scope="module")
async def crashing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """One system for the whole matrix, sweeps by hand; it is killed in many places, so no other test gets it."""
    async with System(tmp_path_factory.mktemp("crash"), guards=True, forked=True) as system:
        yield system
        await assert_nothing_secret_is_logged(system)


@pytest.fixture(scope="module")
async def origin() -> AsyncIterator[Origin]:
    """A website to fetch through a tunnel."""
    site = await Origin().start()
    yield site
    await site.stop()
