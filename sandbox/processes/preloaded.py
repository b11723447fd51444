"""The process that has loaded Python libraries once, and forks a program that needs them for each request.

A script of its own (`python -P preloaded.py <parent> <descriptor> <modules>`, started by `forks.py`), which imports `supervisor.py`
beside it and nothing else of this repository. Requests come by the Unix socket of that descriptor: JSON, and with it the socket that is
stdin and stdout of the program's supervisor. By that goes the program's pid, then its exit code; when it closes, the program ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_REQUEST_BYTES = 1 << 18
_LOOK_S = 0.25  # how late a parent's death is seen when another process still holds our socket


class _Forked:
    """What the supervisor wants of a child, of one that was forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _beside(name: str) -> ModuleType:
    """A module of this folder, by its file: the programs' import path stays theirs."""
    spec = importlib.util.spec_from_file_location(f"_atlas_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None  # noqa: S101 - a file with this ending has one
    assert spec.loader is not None  # noqa: S101 - as above
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _asked(parent: int, control: socket.socket) -> tuple[dict[str, Any], socket.socket] | None:
    """Fork for each request, and return it in the new process; None in this one, when its parent is gone."""
    while os.getppid() == parent:
        ready, _, _ = select.select([control], [], [], _LOOK_S)
        _reap()
        if not ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(control, _REQUEST_BYTES, 1)
        if not data:
            break
        channel = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            return json.loads(data), channel
        channel.close()
    return None


def _reap() -> None:
    """Supervisors that ended; unlike ignored children they leave what they used to the account of this process."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become(request: dict[str, Any]) -> None:
    """Make this process what `exec` would have made it: signals, group, descriptors, folder, environment, arguments."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setpgid(0, 0)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for here, there in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(here, there)
    os.closerange(3, 10)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv[:] = request["argv"]


def main() -> list[str] | None:
    """Load, and serve until the parent is gone; in a process that a request made, the arguments of the program to be."""
    parent, descriptor, *modules = sys.argv[1:]
    for name in modules:
        with contextlib.suppress(ModuleNotFoundError):  # another checkout's program loads what it has
            importlib.import_module(name)
    if threading.active_count() > 1:
        raise SystemExit("a library began a thread as it was loaded; a process with threads can't be forked")
    supervisor = _beside("supervisor")
    gc.freeze()  # a collection would write to each page that is shared
    control = socket.socket(fileno=int(descriptor))
    own = os.getpid()
    asked = _asked(int(parent), control)
    control.close()
    if asked is None:
        return None
    request, channel = asked
    os.setsid()
    pid = os.fork()
    if pid:
        with contextlib.suppress(PermissionError, ProcessLookupError):  # by both, since neither may wait for the other
            os.setpgid(pid, pid)
        os.dup2(channel.fileno(), 0)
        channel.close()
        os._exit(supervisor.supervise_forked(_Forked(pid), own))
    ctypes.CDLL(None).prctl(supervisor.PR_SET_PDEATHSIG, signal.SIGKILL)
    channel.close()
    _become(request)
    return sys.argv


if __name__ == "__main__":
    program = main()
    if program is not None:  # from here on nothing of this file is on the stack but this line
        runpy.run_path(program[0], run_name="__main__")
