"""The platform's liveness probe: asks each instance what it would be asked when deployed, and replaces one that does not answer.

The settings are those that Terraform gives the platform (functions/probes.json). Off unless a system is started with it: a test
that freezes a process, and a person at a debugger, want it as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING

from sandbox.processes.child import ProcessFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lib.function_table import Probes
    from sandbox.processes.child import Process

_START_S = 60.0


class LivenessProbes:
    """One for each process, all the time.

    Args:
        processes: of each function.
        probes: path and settings.

    Attributes:
        replaced: the function of each process that was replaced, in order.
    """

    def __init__(self, processes: Mapping[str, Sequence[Process]], probes: Probes) -> None:
        self._processes = processes
        self._probes = probes
        self._running: list[asyncio.Task[None]] = []
        self.replaced: list[str] = []

    def start(self) -> None:
        """Begin."""
        self._running = [
            asyncio.create_task(self._watch(name, process))
            for name, group in self._processes.items()
            for process in group
        ]

    async def stop(self) -> None:
        """End; a replacement under way is given up."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running = []

    async def _watch(self, name: str, process: Process) -> None:
        probe, failed = self._probes.liveness, 0
        while True:
            await asyncio.sleep(probe.period_s)
            if not process.running:  # a crash, which is not this probe's business
                failed = 0
                continue
            failed = 0 if await answers_200(process.port, self._probes.path, probe.timeout_s) else failed + 1
            if failed >= probe.failure_threshold:
                failed = 0
                await self._replace(name, process)

    async def _replace(self, name: str, process: Process) -> None:
        await process.kill()
        self.replaced.append(name)
        with contextlib.suppress(ProcessFailedError):  # it starts no more: its log says why, callers get 503
            await process.start(_START_S)


async def answers_200(port: int, path: str, timeout_s: float) -> bool:
    """Whether `GET path` on 127.0.0.1 is answered 200 in time."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
                status = (await reader.readline()).split(b" ")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return len(status) > 1 and status[1] == str(int(HTTPStatus.OK)).encode()
