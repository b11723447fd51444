"""Run one program and never let it outlive the process that asked for it.

Started as a script of its own (`python -I -S guardian.py ...`), so it imports nothing of Atlas. The kernel's parent-death
signal alone is not enough: Linux ties it to the *thread* that started the child, and worker threads come and go, and macOS
has none. So this small process stands in between: its parent holds the other end of its stdin, and when that closes, or the
parent is gone, the program is asked to end, then made to. The program itself gets the parent-death signal of this process's
only thread, so that a SIGKILL of the guardian ends it as well (Linux).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.25  # how late a parent's death is seen when another process still holds our stdin


def _death_signal() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def set_signal() -> None:
        # Runs after the change of user, which would clear it. SIGQUIT: Postgres ends at once, without a checkpoint.
        prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)

    return set_signal


def _wake_on_child_exit() -> int:
    """A file descriptor that becomes readable when the program ends, so that its end is seen at once."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(writable)
    return readable


def _parent_lives(parent: int, child_exit: int) -> bool:
    ready, _, _ = select.select([0, child_exit], [], [], _LOOK_S)
    return os.getppid() == parent and not (0 in ready and os.read(0, 1) == b"")


def main() -> int:
    """Print the program's pid, wait for its end or the parent's, return the program's exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--user", default=None)
    parser.add_argument("--group", type=int, default=None)
    parser.add_argument("--grace", type=float, default=10.0, help="seconds between the request to end and SIGQUIT")
    parser.add_argument("--log", required=True)
    parser.add_argument("argv", nargs="+")
    options = parser.parse_args()
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    unblocked = {signal.SIGINT, signal.SIGHUP, signal.SIGTERM}
    death_signal = _death_signal()
    child_exit = _wake_on_child_exit()

    def prepare() -> None:
        for name in unblocked:  # an ignored signal stays ignored through exec, and Postgres needs all three
            signal.signal(name, signal.SIG_DFL)
        if death_signal is not None:
            death_signal()

    with open(options.log, "ab", buffering=0) as log:  # noqa: PTH123 - pathlib would cost this tiny process 10 ms
        child = subprocess.Popen(
            options.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=options.user,
            group=options.group,
            extra_groups=None if options.user is None else [],
            cwd="/",
            preexec_fn=prepare,  # noqa: PLW1509 - this process has one thread
        )
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.close()
    while child.poll() is None:
        if not _parent_lives(options.parent, child_exit):
            child.send_signal(signal.SIGINT)
            try:
                child.wait(options.grace)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGQUIT)
                try:
                    child.wait(5)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main())
