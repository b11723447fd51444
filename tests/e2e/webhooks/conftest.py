from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sandbox.cryptopay import Standing
from tests.e2e.webhooks.steps import assert_sound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.system.system import System


@pytest.fixture(autouse=True)
async def invariants_hold(system: System, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """After every test all parts run again as they should, and what must always be true is (S4-15)."""
    yield
    system.disarm()
    system.telegram.forget_failures()  # what a failed test has asked for and not met
    system.cryptopay.faults.forget_failures()
    system.cryptopay.faults.standing = Standing()
    system.cryptopay.latency = 0.0
    if not system.database.server.running:
        await asyncio.to_thread(system.database.start)
    await system.nodes.start()
    await system.start_functions()
    await system.switch_scheduler(on=False)
    if request.node.get_closest_marker("proves") and not request.node.get_closest_marker("breaks_invariants"):
        await assert_sound(system)
