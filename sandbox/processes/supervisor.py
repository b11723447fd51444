"""Run one program with everything it forks, and let none of it outlive the process that asked for it.

Started as a script of its own (`python -I -S supervisor.py ...`), so it imports nothing of Atlas. `guardian.py` asks its one
server to end in good order; here there is a group of processes (a gunicorn master and its workers, which do not look whether
the master lives), and it goes whole and at once: when the program ends, and when our parent's end of our stdin closes.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.25  # how late a parent's death is seen when another process still holds our stdin


def _death_signal() -> None:
    """In the child, before exec: die when this process dies (Linux; the signal is tied to its only thread)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


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
    """Print the program's pid (also the id of its group), wait for its end or the parent's, end the group."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--cwd", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("argv", nargs="+")
    options = parser.parse_args()
    for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)  # a Ctrl-C at the terminal is our parent's business

    def prepare() -> None:
        for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # an ignored signal stays ignored through exec
            signal.signal(name, signal.SIG_DFL)
        _death_signal()

    child_exit = _wake_on_child_exit()
    with open(options.log, "ab", buffering=0) as log:  # noqa: PTH123 - pathlib would cost this tiny process 10 ms
        child = subprocess.Popen(
            options.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=options.cwd,
            process_group=0,
            preexec_fn=prepare,  # noqa: PLW1509 - this process has one thread
        )
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.close()
    while child.poll() is None and _parent_lives(options.parent, child_exit):
        pass
    with contextlib.suppress(ProcessLookupError):  # it ended and left no process
        os.killpg(child.pid, signal.SIGKILL)
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
