"""Python programs that begin with their libraries loaded: forked from one process that loaded them once (`preloaded.py`).

Seventeen functions load the same framework, which is most of what a start costs. Where systems are started by the dozen, in tests and in
the demo, they are forked. Each is a real process all the same: its supervisor, its process group, its workers and its end are those of
any other, and Atlas's own code it loads by itself, after the fork. What measures a start or memory, and `make run`, where a person looks
with `ps`, start each program by itself. Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SCRIPT = Path(__file__).with_name("preloaded.py")
_KILLED = 137
POSSIBLE = sys.platform == "linux"
"""Elsewhere a process that has loaded system frameworks can't safely be forked."""


class Forked:
    """The supervisor of a forked program, as `asyncio.subprocess.Process` is one's that was started."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pid: bytes) -> None:
        self.returncode: int | None = None
        self.pid = pid
        self._reader, self._writer = reader, writer
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        code = b""
        with contextlib.suppress(OSError):  # reset: it was killed
            code = await self._reader.read()
        self.returncode = int(code or _KILLED)
        self._writer.close()

    def let_go(self) -> None:
        """Close its stdin, which ends the program."""
        if self.returncode is None and not self._writer.is_closing():
            self._writer.write_eof()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        await asyncio.shield(self._watching)
        return _KILLED if self.returncode is None else self.returncode


class Forks:
    """Forks programs that need the same libraries. The process that has them starts with the first.

    Args:
        python: the interpreter.
        modules: what to load; a name that is not there is left out.
        cwd: where it runs.
        env: its environment; a program gets its own.
        log: gets its output, appended.
    """

    def __init__(self, python: Path, modules: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> None:
        self._argv = [str(python), "-P", str(_SCRIPT), str(os.getpid())]
        self._modules = list(modules)
        self._cwd, self._env, self._log = cwd, dict(env), log
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def fork(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> Forked:
        """Begin `argv`, a script in Python with its arguments; its supervisor.

        Raises:
            OSError: the process that forks is gone, or could not begin.
        """
        reader, writer = await asyncio.open_connection(sock=self._asked(argv, cwd, env, log))
        try:
            line = await reader.readline()
            if not line:
                raise OSError(f"{self._log} tells why nothing was forked")
        except BaseException:
            writer.close()  # which ends what was begun
            raise
        return Forked(reader, writer, line)

    def _asked(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> socket.socket:
        request = {"argv": list(argv), "cwd": f"{cwd.absolute()}", "env": dict(env), "log": f"{log.absolute()}"}
        control = self._control or self._start()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(control, [json.dumps(request).encode()], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours

    async def stop(self) -> None:
        """End the process that forks; what it forked goes with it."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
            self._process = None

    def _start(self) -> socket.socket:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with theirs, self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [*self._argv, str(theirs.fileno()), *self._modules],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._cwd,
                    env=self._env,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # a Ctrl-C at the terminal reaches us alone
                )
        except OSError:
            control.close()
            raise
        self._control = control
        return control
