"""`--against <commit>`: this checkout and an earlier commit on one machine in one run, lap by lap in turn.

Each has a whole local system of its own: its functions, its schema, its node service, one VPN node. The stand-ins around both are
this checkout's, and orders are made through the chat, by pressing buttons, so that any two commits can be compared.
"""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
import time
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from bench import clock, cold_start, consumption, launch, payment, updates
from bench.access import AccessWatch
from bench.buyers import ChatBuyers
from bench.checkouts import checked_out
from bench.cold_key import cold_key
from bench.pairs import Figure, compare
from bench.places import scratch
from lib import function_table
from sandbox.cloud.checkout import HERE
from sandbox.system.nodes import NODE_NAMES
from sandbox.system.settings import check_settings
from sandbox.system.system import System

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bench.buyers import Paid
    from bench.pairs import Compared
    from bench.sizes import Sizes
    from sandbox.processes.child import Process

_DEADLINE_S = 60.0
_PERSONS_AT_ONCE = 8
_UNPACED = 500.0
_SWEEPS = 5
"""Runs of an empty sweep in a lap: its CPU is counted in ticks."""
_RATE = Figure("P1", "/start updates, 8 connections", "/s", more_is_better=True)
_UPDATE_CPU = Figure("P1", "the same, CPU of an update", "s")
_UPDATE_P99 = Figure("P1", "the same, p99", "s")
_UPDATE_POSTGRES = Figure("P1", "the same, CPU of Postgres", "s")
_ACCESS = Figure("P11", "paid webhook to access on the node, one by one, p50", "s")
_ORDER_CPU = Figure("P11", "CPU of the functions, a paid order with its messages", "s")
_ORDER_POSTGRES = Figure("P11", "CPU of Postgres, the same", "s")
_ORDERS = Figure("P11", "paid webhook to access on the node, in parallel", "/s", more_is_better=True)
_COLD_KEY = Figure("P11", "paid webhook to the key in the chat, every function cold", "s")
_COLD_KEY_CPU = Figure("P11", "the same, CPU", "s")
_MEMORY = Figure("idle", "memory of all functions at rest (PSS)", "MiB")


class Side:
    """One commit's system, and what is measured of it."""

    def __init__(self, system: System, sizes: Sizes) -> None:
        self.system = system
        self._buyers = ChatBuyers(system)
        self._sizes = sizes
        self._updates = 0
        self._server = updates.ours(system)
        self._targets = {function_table.sweep_name(name): name for name in system.fleet.processes}

    async def prepare(self) -> None:
        """One node, as P11 has it, and a queue of messages that is no limit: what it holds back is not the functions' work.

        Raises:
            sandbox.system.settings.BadSettingsError: its functions take no such settings.
        """
        if (self.system.checkout.root / "lib" / "settings" / "check.py").exists():
            await check_settings(self.system.settings(), self.system.checkout)
        await clock.as_deployed(self.system)
        await self.system.sql("delete from nodes where name <> :first", first=NODE_NAMES[0])
        queue = self.system.tasks.dispatcher("messages")
        queue.configure(dataclasses.replace(queue.queue, rate=_UNPACED))

    async def end(self) -> None:
        """Stop what was started beside the system."""
        if self._server.process.running:
            await self._server.process.stop()

    async def p1(self) -> dict[Figure, float]:
        """A block of /start updates on the webhook's server, which runs from the first lap on."""
        if not self._server.process.running:
            await self._server.process.start()
            await self._block(self._sizes.updates_thrown_away)
        before = await consumption.backends_cpu_s(self.system)
        taken = await self._block(self._sizes.updates)
        postgres = await consumption.backends_cpu_s(self.system) - before
        return {
            _RATE: taken.per_second,
            _UPDATE_CPU: taken.cpu_s / self._sizes.updates,
            _UPDATE_P99: taken.seconds.percentile(99),
            _UPDATE_POSTGRES: max(postgres, consumption.TICK_S) / self._sizes.updates,
        }

    async def _block(self, count: int) -> updates.Block:
        first, self._updates = self._updates, self._updates + count
        return await updates.block(self._server, self.system.webhook_secret, first, count)

    async def p2(self) -> dict[Figure, float]:
        """A cold start of each public target."""
        for queue in self.system.tasks.queues:  # follow-up work would run beside the next start
            self.system.tasks.pause(queue)
        lap: dict[Figure, float] = {}
        try:
            for one in cold_start.contenders(self.system, self._buyers):
                if one.folder == self.system.checkout.root:
                    taken = await launch.cold_start(cold_start.process_of(self.system, one), one.question)
                    lap[Figure("P2", f"cold start of {one.name}", "s")] = taken.seconds
                    lap[Figure("P2", f"the same, CPU ({one.name})", "s")] = taken.cpu_s
        finally:
            for queue in self.system.tasks.queues:
                self.system.tasks.purge(queue)
                self.system.tasks.resume(queue)
        return lap

    async def p11(self) -> dict[Figure, float]:
        """Orders one by one and side by side, watched; then as many that only the functions look at; then one with all asleep."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self._sizes.at_once)
        watch = AccessWatch(self.system.database.owner_url)
        try:
            async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=_DEADLINE_S) as client:
                access = [await self._access(client, watch, paid) for paid in await self._paid(self._sizes.lap_orders)]
                rate = await self._side_by_side(client, watch)
                await self.system.settled()
                cpu, postgres = await self._unwatched(client)
        finally:
            await watch.close()
        (paid,) = await self._paid(1)
        cold, cold_cpu = await cold_key(self.system, paid)
        return {
            _ACCESS: statistics.median(access),
            _ORDERS: rate,
            _ORDER_CPU: cpu,
            _ORDER_POSTGRES: postgres,
            _COLD_KEY: cold,
            _COLD_KEY_CPU: cold_cpu,
        }

    async def _access(self, client: httpx.AsyncClient, watch: AccessWatch, paid: Paid) -> float:
        began = time.perf_counter()
        granted = asyncio.create_task(watch.granted(paid.account_id, _DEADLINE_S))
        await self._post(client, paid)
        return await granted - began

    async def _side_by_side(self, client: httpx.AsyncClient, watch: AccessWatch) -> float:
        orders = await self._paid(self._sizes.lap_orders)
        left, gate = iter(orders), self._sizes.at_once

        async def customer() -> None:
            for paid in left:
                await self._access(client, watch, paid)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as customers:
            for _ in range(gate):
                customers.create_task(customer())
        return len(orders) / (time.perf_counter() - began)

    async def _unwatched(self, client: httpx.AsyncClient) -> tuple[float, float]:
        """CPU seconds of functions and of Postgres for an order, everything that follows it included."""
        orders = await self._paid(self._sizes.lap_orders)
        await self.system.settled()
        functions = self.system.fleet.chosen(payment.ON_THE_WAY)
        cpu, postgres = consumption.cpu_s(functions), await consumption.backends_cpu_s(self.system)
        for paid in orders:
            await self._post(client, paid)
        await self.system.settled()
        postgres = await consumption.backends_cpu_s(self.system) - postgres
        cpu = consumption.cpu_s(functions) - cpu
        return max(cpu, consumption.TICK_S) / len(orders), max(postgres, consumption.TICK_S) / len(orders)

    async def idle(self) -> dict[Figure, float]:
        """Memory after the work, and what a sweep costs that finds nothing to do."""
        await self.system.settled()
        lap = {_MEMORY: consumption.memory_bytes(self.system.fleet.chosen()) / 2**20}
        for name in self.system.sweeps:
            await self.system.sweep(name)  # whatever a process does once, it has done
            processes: list[Process] = self.system.fleet.processes[self._targets[name]]
            before = consumption.cpu_s(processes)
            for _ in range(_SWEEPS):
                await self.system.sweep(name)
            cpu = max(consumption.cpu_s(processes) - before, consumption.TICK_S) / _SWEEPS
            lap[Figure("idle", f"CPU of {self._targets[name]} with nothing to do", "s")] = cpu
        return lap

    async def _paid(self, count: int) -> list[Paid]:
        gate = asyncio.Semaphore(_PERSONS_AT_ONCE)

        async def one() -> Paid:
            async with gate:
                return await self._buyers.paid()

        paid = list(await asyncio.gather(*(one() for _ in range(count))))
        await self.system.settled()
        return paid

    async def _post(self, client: httpx.AsyncClient, paid: Paid) -> None:
        url = f"http://127.0.0.1:{self.system.fleet.processes['cryptobot_webhook'][0].port}/"
        response = await client.post(url, content=paid.body, headers=paid.headers)
        if response.status_code != HTTPStatus.OK or response.json().get("outcome") != "settled":
            raise RuntimeError(f"the webhook answered {response.status_code} {response.text[:200]}")


ITEMS: dict[str, Callable[[Side], Awaitable[dict[Figure, float]]]] = {
    "P1": Side.p1,
    "P2": Side.p2,
    "P11": Side.p11,
    "idle": Side.idle,
}
"""What can be compared, in the order in which it is measured."""


async def measure(commit: str, wanted: Sequence[str], sizes: Sizes) -> tuple[list[Compared], dict[str, Any]]:
    """The figures of both, and every lap for the results file.

    Raises:
        bench.checkouts.NoSuchCommitError, and what the parts of a system may raise.
    """
    compared: list[Compared] = []
    laps: dict[str, Any] = {}
    async with AsyncExitStack() as undo:
        folder = undo.enter_context(scratch())
        before = undo.enter_context(checked_out(commit, folder))
        sides = []
        for name, checkout in (("new", HERE), ("old", before)):
            system = System(folder / name, durable=True, checkout=checkout)
            sides.append(Side(await undo.enter_async_context(system), sizes))
            await sides[-1].prepare()
        for item in (item for item in ITEMS if item in wanted):
            print(f"{item} against {commit} ...", flush=True)
            new, old = await _laps(item, sides, sizes.pairs)
            compared += compare(new, old)
            laps[item] = {"new": [_named(lap) for lap in new], "old": [_named(lap) for lap in old]}
        for side in sides:
            await side.end()
    return compared, laps


async def _laps(item: str, sides: Sequence[Side], pairs: int) -> tuple[list[dict[Figure, float]], ...]:
    """Pairs of laps; the side that goes first changes with every pair, and the first pair is thrown away."""
    laps: tuple[list[dict[Figure, float]], ...] = ([], [])
    for number in range(pairs + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            lap = await ITEMS[item](sides[which])
            if number:
                laps[which].append(lap)
        if number:
            both = [
                figure for figure in laps[0][-1] if figure in laps[1][-1]
            ]  # a sweep that one of them lacks has no pair
            ratios = (f"{figure.work} {laps[0][-1][figure] / laps[1][-1][figure]:.2f}x" for figure in both)
            print(f"  {number} of {pairs}: {'; '.join(ratios)}", flush=True)
    return laps


def _named(lap: dict[Figure, float]) -> dict[str, float]:
    return {figure.work: round(value, 6) for figure, value in lap.items()}
