"""A worker of any function that is stopped, loops or hangs in a lock is replaced by the platform's probe, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from lib import function_table
from sandbox.cloud.instances import settings_of
from sandbox.processes.child import Process, bare_environment
from sandbox.system.customer import Customer, buttons_of
from sandbox.system.system import System
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TABLE = function_table.load()
TARGETS = sorted(TABLE.targets())
REPLACED_S = 300.0
"""Three probes of ten seconds and a start, on a machine that does much else."""


class WithTheServiceOfAll(System):
    """Beside each function's own process the one that serves every private function by path, as in a small shop."""

    def _assemble(self) -> None:
        super()._assemble()
        target, port = function_table.PRIVATE, self.home.port(function_table.PRIVATE)
        rows = TABLE.private().values()
        secrets = tuple(sorted({name for row in rows for name in row.secrets}))
        row = replace(TABLE.functions["task_update"], name=target, secrets=secrets)
        process = Process(
            [self.checkout.framework, "--target", target, "--port", str(port)],
            cwd=self.checkout.root,
            env=bare_environment(settings_of(row, self.settings(), self.checkout.table)),
            log=self.home.logs / f"{target}.log",
            port=port,
        )
        self.fleet.processes[target] = [process]  # started, probed and stopped with the others


@pytest.fixture
async def probed(home: Path) -> AsyncIterator[System]:
    """A system of its own, whose processes are asked as the platform asks them."""
    async with WithTheServiceOfAll(home, probed=True) as system:
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
            path = "/task-settle" if target == function_table.PRIVATE else "/"
            await system.call(target, path, json={}, timeout_s=REPLACED_S)

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
