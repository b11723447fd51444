"""A worker of any function that is stopped, loops or hangs in a lock is replaced by the platform's probe, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import httpx
import pytest

from lib import function_table
from sandbox.system.customer import Customer, buttons_of
from sandbox.system.system import System
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TARGETS = sorted(function_table.load().functions)
REPLACED_S = 300.0
"""Three probes of ten seconds and a start, on a machine that does much else."""


@pytest.fixture
async def probed(home: Path) -> AsyncIterator[System]:
    """A system of its own, whose processes are asked as the platform asks them."""
    async with System(home, probed=True) as system:
        yield system


async def _hold(system: System, way: str) -> None:
    if way == "stopped":
        for process in system.fleet.chosen():
            process.suspend()
        return
    for target in TARGETS:
        system.arm(f"{target}.request", way)

    async def call(target: str) -> None:
        with contextlib.suppress(httpx.HTTPError):  # the worker never answers, and dies
            await system.call(target, json={}, timeout_s=REPLACED_S)

    calls = [asyncio.create_task(call(target)) for target in TARGETS]
    await until(lambda: not system.failpoints.armed(), "every function at its failpoint", 60)
    for one in calls:
        one.cancel()


@pytest.mark.full
@pytest.mark.proves("S2-4b")
@pytest.mark.parametrize("way", ["stopped", "loop", "deadlock"])
async def test_a_worker_of_any_function_is_replaced_and_nothing_is_lost(probed: System, way: str) -> None:
    customer = Customer(probed.telegram.user(7_700_001, "Anna", language_code="en"))
    await customer.start()
    await probed.settled()
    starts = {name: process.starts for name, (process,) in probed.fleet.processes.items()}
    await _hold(probed, way)
    waiting = Customer(probed.telegram.user(7_700_002, "Boris", language_code="en"))
    await waiting.user.send("/start")

    def all_replaced() -> bool:
        return all(process.starts > starts[name] for name, (process,) in probed.fleet.processes.items())

    await until(
        all_replaced,
        f"a replacement of each function: {sorted(set(TARGETS) - set(probed.probes.replaced))}",
        REPLACED_S,
    )
    assert set(probed.probes.replaced) == set(TARGETS)
    await waiting.sees(lambda message: buttons_of(message) != [], "a menu for who wrote meanwhile", 120)
    for sweep in probed.sweeps:
        await probed.sweep(sweep)
    await probed.settled(120)
    assert await probed.invariants() == []
    assert (await probed.sql("select count(*) as n from updates where done_at is null"))[0]["n"] == 0
