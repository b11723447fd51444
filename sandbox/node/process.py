"""A child process of the Xray lab: started through `xray_child.py`, its output in a file, gone when its parent is."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHILD = Path(__file__).with_name("child.py")
_POLL_SECONDS = 0.005


class PartFailedError(RuntimeError):
    """A part ended, or never got ready; the text holds the end of its log."""


async def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a TCP connection to the port succeeds."""
    try:
        _reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        return True  # it took the connection and reset it: the process is still there
    return True


class Part:
    """One child process: `start` waits for its ports, `stop` asks, `kill` does not, `suspend` freezes it."""

    def __init__(self, kind: str, what: str, *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self._command: Sequence[str] = (sys.executable, str(_CHILD), str(os.getpid()), kind, what)
        self._log = log
        self._env = dict(os.environ if env is None else env)
        self._process: asyncio.subprocess.Process | None = None
        self._frozen = False
        self._changing = asyncio.Lock()  # one of launch, stop and kill at a time

    @property
    def frozen(self) -> bool:
        """Whether it runs but was suspended and not resumed since."""
        return self.running and self._frozen

    @property
    def running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process id; RuntimeError when it is not running."""
        if self._process is None or self._process.returncode is not None:
            raise RuntimeError("not running")
        return self._process.pid

    async def start(self, ports: Sequence[int], timeout_seconds: float = 20.0) -> None:
        """Start and return once every port accepts; `PartFailedError` when it ends or takes too long."""
        async with self._changing:
            for port in ports:
                if not self.running and await accepts(port):  # who answers there later would be taken for this part
                    raise PartFailedError(f"port {port} of 127.0.0.1 is taken by another program")
            process = await self._launch()
        try:
            async with asyncio.timeout(timeout_seconds):
                for port in ports:
                    while not await accepts(port):
                        if process.returncode is not None:
                            raise PartFailedError(f"ended with {process.returncode}: {self.log_tail()}")
                        await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            await self.kill()
            raise PartFailedError(f"not ready after {timeout_seconds} s: {self.log_tail()}") from None

    async def _launch(self) -> asyncio.subprocess.Process:
        if self.running:
            raise RuntimeError("already running")
        self._frozen = False
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, env=self._env
            )
        return self._process

    async def wait(self) -> int:
        """Wait for its end and return its exit code."""
        if self._process is None:
            raise RuntimeError("never started")
        return await self._process.wait()

    async def stop(self, timeout_seconds: float = 10.0) -> None:
        """SIGTERM, then SIGKILL when it does not listen. Nothing happens when it is not running."""
        async with self._changing:
            if not self.running:
                return
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.wait(), timeout_seconds)
            except TimeoutError:
                await self._kill()

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        async with self._changing:
            await self._kill()

    async def _kill(self) -> None:
        if self.running:
            self._signal(signal.SIGKILL)
            await self.wait()

    def suspend(self) -> None:
        """SIGSTOP: the kernel goes on accepting connections for it, unanswered."""
        self._signal(signal.SIGSTOP)
        self._frozen = True

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self._frozen = False

    def log_tail(self, size: int = 2000) -> str:
        """The last characters of its output."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-size:] if self._log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)
