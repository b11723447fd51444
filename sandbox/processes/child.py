"""The local system's child processes: one program each with all that it forks, its output in a file, gone when we are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from sandbox.processes.forks import Forked, Forks

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_POLL_S = 0.02
_PROBE_S = 10.0
_FREED_WITHIN_S = 10.0
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "VIRTUAL_ENV", "PYTHONPYCACHEPREFIX")


class ProcessFailedError(RuntimeError):
    """A program ended, or never got ready; the text ends with the last lines of its log."""


def bare_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings and what any program needs to run at all: nothing of the person's shell reaches a function."""
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | dict(settings)


def supervised(argv: Sequence[str], *, cwd: Path, log: Path, options: Sequence[str] = ()) -> list[str]:
    """The command that runs `argv` under a supervisor, for our child whose stdin we hold and whose stdout has the pid.

    Args:
        argv: the program.
        cwd: where it runs.
        log: gets its output, appended.
        options: how it is asked to end (`--ask=INT:10`) before it is killed, and as whom it runs (`--user`, `--group`).
    """
    own = ["--parent", str(os.getpid()), "--cwd", str(cwd), "--log", str(log), *options]
    return [sys.executable, "-I", "-S", str(_SUPERVISOR), *own, "--", *argv]


async def answers(port: int) -> bool:
    """Whether an HTTP server on 127.0.0.1 answers; asked for a path that functions-framework keeps from the function."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /robots.txt HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return (await asyncio.wait_for(reader.readline(), _PROBE_S)).startswith(b"HTTP/1.")
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # it reset the connection: closed already
            await writer.wait_closed()


async def listens(port: int) -> bool:
    """Whether a process accepts connections on the port of 127.0.0.1."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):  # it reset the connection: closed already
        await writer.wait_closed()
    return True


class _Started:
    """A supervisor that was started for its program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def first_line(self) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        return await self._process.stdout.readline()

    def let_go(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def wait(self) -> int:
        return await self._process.wait()


class Process:
    """One program that serves on a port, under a supervisor.

    Args:
        argv: the command, run in `cwd` with `env` and nothing else in its environment.
        log: gets its output, appended.
        port: where it will answer on 127.0.0.1.
        more_ports: where it will as well.
        is_ready: asked of each port; whether an HTTP server answers, unless said.
        forks: begin it with its libraries loaded; `argv` is a script in Python.

    Attributes:
        starts: how often it has been launched.
        started_at: when it was last, by `time.time()`.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        port: int,
        more_ports: Sequence[int] = (),
        is_ready: Callable[[int], Awaitable[bool]] = answers,
        forks: Forks | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self.env = dict(env)
        self.log = log
        self.port = port
        self._ports = (port, *more_ports)
        self._is_ready = is_ready
        self._cwd = cwd
        self.starts = 0
        self.started_at: float | None = None
        self._frozen = False
        self._forks = forks
        self._supervisor: _Started | Forked | None = None
        self._pid: int | None = None
        self._changing = asyncio.Lock()  # one of launch, stop and kill at a time

    @property
    def running(self) -> bool:
        """Whether the program has been started and has not ended."""
        return self._supervisor is not None and self._supervisor.returncode is None

    @property
    def frozen(self) -> bool:
        """Whether it runs, was suspended and not resumed since."""
        return self.running and self._frozen

    @property
    def pid(self) -> int:
        """Process id of the program, which is the id of its group too; RuntimeError when it does not run or has just begun."""
        if self._pid is None or not self.running:
            raise RuntimeError(f"{self._name} does not run")
        return self._pid

    @property
    def known_pid(self) -> int | None:
        """`pid`; None before the first start, and for the moment in which a start has begun."""
        return self._pid

    async def launch(self) -> None:
        """Start the program; `ready` waits for it."""
        async with self._changing:
            await self._launch()

    async def _launch(self) -> None:
        if self.running:
            raise RuntimeError(f"{self._name} is running already")
        for port in self._ports:
            if await listens(port):  # what answers there later would be taken for this program
                raise ProcessFailedError(f"port {port} of 127.0.0.1 is taken by another program")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._pid, self._frozen = None, False  # the old number may be a stranger's by now
        self._supervisor, line = await self._begin()
        if not line:
            raise ProcessFailedError(f"can't start {self.argv[0]}: {self.log_tail()}")
        self._pid = int(line)
        self.starts += 1
        self.started_at = time.time()

    async def _begin(self) -> tuple[_Started | Forked, bytes]:
        """Its supervisor, and what that says first: the program's pid."""
        if self._forks is not None:
            try:
                forked = await self._forks.fork(self.argv, cwd=self._cwd, env=self.env, log=self.log)
            except OSError as error:
                raise ProcessFailedError(f"can't start {self.argv[0]}: {error}") from error
            return forked, forked.pid
        started = self._supervisor = _Started(
            await asyncio.create_subprocess_exec(
                *supervised(self.argv, cwd=self._cwd, log=self.log),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=self.env,
                start_new_session=True,  # a Ctrl-C at the terminal reaches us alone
            )
        )
        return started, await started.first_line()

    async def ready(self, timeout_s: float = 60.0) -> None:
        """Return when it answers on each of its ports.

        Raises:
            ProcessFailedError: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        for port in self._ports:
            while not await self._is_ready(port):
                if not self.running:
                    code = "" if self._supervisor is None else f" with {self._supervisor.returncode}"
                    raise ProcessFailedError(f"{self._name} ended{code}: {self.log_tail()}")
                if time.monotonic() > deadline:
                    await self.kill()
                    raise ProcessFailedError(f"{self._name} did not answer within {timeout_s:.0f} s: {self.log_tail()}")
                await asyncio.sleep(_POLL_S)

    async def start(self, timeout_s: float = 60.0) -> None:
        """`launch` and `ready`."""
        await self.launch()
        await self.ready(timeout_s)

    async def stop(self, grace_s: float = 5.0) -> None:
        """SIGTERM to the program, SIGKILL to what is left of its group after the grace."""
        async with self._changing:
            if self._supervisor is None:
                return
            if self._pid is None:
                await self._kill(self._supervisor)
                return
            if self.running:  # once it has ended the number may be a stranger's
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGCONT)
                    os.kill(self._pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self._supervisor.wait(), grace_s)
            except TimeoutError:
                await self._kill(self._supervisor)
            else:
                await self._gone()

    async def kill(self) -> None:
        """SIGKILL to the whole group, as a crash of the machine would; returns when its port is free."""
        async with self._changing:
            if self._supervisor is not None:
                await self._kill(self._supervisor)

    async def _kill(self, supervisor: _Started | Forked) -> None:
        if self._pid is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
        supervisor.let_go()  # also ends a program whose number we never learned
        await supervisor.wait()
        await self._gone()

    def suspend(self) -> None:
        """SIGSTOP to the group: frozen, as an instance without CPU; connections are taken by the kernel, not answered."""
        os.killpg(self.pid, signal.SIGSTOP)
        self._frozen = True

    def resume(self) -> None:
        """SIGCONT to the group."""
        os.killpg(self.pid, signal.SIGCONT)
        self._frozen = False

    def log_tail(self, size: int = 2000) -> str:
        """The last characters of its output."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4 * size))  # a character has at most four bytes
            return log.read().decode(errors="replace")[-size:].strip()

    @property
    def _name(self) -> str:
        return " ".join((Path(self.argv[0]).name, *self.argv[1:3]))[:80]

    async def _gone(self) -> None:
        """A killed worker holds the listening socket for a moment longer than its master lives."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.let_go()
        deadline = time.monotonic() + _FREED_WITHIN_S
        for port in self._ports:
            while await listens(port):
                if time.monotonic() > deadline:
                    raise ProcessFailedError(f"port {port} is still held after {self._name} was ended")
                await asyncio.sleep(_POLL_S)
