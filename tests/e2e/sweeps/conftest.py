from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.system.system import System
from tests.e2e.log_search import assert_nothing_secret_is_logged
from tests.e2e.sweeps.hanging import in_place_of_the_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.sweeps.hanging import HangingNode

INSTANCES = {
    "telegram_webhook": 2,
    "cryptobot_webhook": 2,
    "task_update": 2,
    "task_settle": 2,
    "task_provision": 2,
    "task_notify": 2,
    "sweep_activation": 4,
    "sweep_expiry": 4,
    "sweep_payments": 2,
    "sweep_outbox": 2,
}


@pytest.fixture(scope="module")
async def running_several(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """Several instances of every function whose instances could get in each other's way; sweeps by hand."""
    async with System(tmp_path_factory.mktemp("several"), instances=INSTANCES, guards=True, forked=True) as system:
        await system.sweep("activation")  # the first one makes the node known
        yield system
        await assert_nothing_secret_is_logged(system)


@pytest.fixture
async def several(running_several: System) -> System:
    """The same, whole and at rest before each test."""
    system = running_several
    system.disarm()
    await system.start_functions()
    for queue in system.tasks.queues:
        system.tasks.resume(queue)
    await system.settled()
    return system


@pytest.fixture
async def hanging(several: System) -> AsyncIterator[HangingNode]:
    """In the real node's place, one that takes every call and answers none until it is let go."""
    async with in_place_of_the_node(several) as node:
        yield node
