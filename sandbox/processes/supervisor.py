"""Run one program with everything it forks, and let none of it outlive the process that asked for it.

Started as a script of its own (`python -I -S supervisor.py ...`; `child.supervised` makes the command), so it imports nothing of
Atlas. The kernel's parent-death signal alone is not enough: Linux ties it to the *thread* that started the child, and worker
threads come and go, and macOS has none. So this small process stands in between. Its parent holds the other end of its stdin;
when that closes, or the parent is gone, the program is asked to end as `--ask` says and then killed with its whole process
group (a gunicorn master has workers, which do not look whether it lives). The group goes as well when the program ends by
itself. The program gets the parent-death signal of this process's only thread, so that a SIGKILL of the supervisor ends it too
(Linux).
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
import time

PR_SET_PDEATHSIG = 1
_LOOK_S = 0.25  # how late a parent's death is seen when another process still holds our stdin
_OF_THE_TERMINAL = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


def _started(options: argparse.Namespace) -> subprocess.Popen[bytes]:
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    death_signal = options.ask[-1][0] if options.ask else signal.SIGKILL

    def prepare() -> None:
        for number in _OF_THE_TERMINAL:  # an ignored signal stays ignored through exec
            signal.signal(number, signal.SIG_DFL)
        if prctl is not None:  # after the change of user, which would clear it
            prctl(PR_SET_PDEATHSIG, death_signal)

    with open(options.log, "ab", buffering=0) as log:  # noqa: PTH123 - pathlib would cost this tiny process 10 ms
        return subprocess.Popen(
            options.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=options.user,
            group=options.group,
            extra_groups=None if options.user is None else [],
            cwd=options.cwd,
            process_group=0,
            preexec_fn=prepare,  # noqa: PLW1509 - this process has one thread
        )


class Program:
    """The program, started, with its end to wait for."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        # Becomes readable with every SIGCHLD, so that the program's end is seen at once. One that has ended before is looked for first.
        self._changed, writable = os.pipe()
        for end in (self._changed, writable):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(writable)
        self._child = child
        self.pid = child.pid

    def ended(self) -> bool:
        """Whether it has. Not reaped where the system can tell without: its number stays the group's and no stranger's."""
        if hasattr(os, "waitid"):
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._child.poll() is not None

    def wait_while(self, parent: int) -> None:
        """Return when the program has ended or the parent is gone."""
        while not self.ended() and os.getppid() == parent:
            if 0 in self._wait(_LOOK_S, 0) and os.read(0, 1) == b"":
                return

    def ask(self, number: int, seconds: float) -> None:
        """Send a signal and give it so long to end. One that was suspended must run to hear it."""
        deadline = time.monotonic() + seconds
        if not self.ended():
            self._child.send_signal(signal.SIGCONT)
            self._child.send_signal(number)
        while not self.ended() and (left := deadline - time.monotonic()) > 0:
            self._wait(left)

    def end(self) -> int:
        """SIGKILL to what is left of the group; the program's exit code, 128 and the signal's number where one ended it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none left; macOS: only zombies are
            os.killpg(self.pid, signal.SIGKILL)
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    def _wait(self, seconds: float, *others: int) -> list[int]:
        """Until the program changes, one of the others is readable, or time is up: which are readable."""
        ready, _, _ = select.select([self._changed, *others], [], [], seconds)
        if (
            self._changed in ready
        ):  # a stop and a continuation count as changes too: left unread it would be ready for ever
            os.read(self._changed, 512)
        return ready


def _request(text: str) -> tuple[int, float]:
    name, _, seconds = text.partition(":")
    return signal.Signals[name].value, float(seconds)


def main() -> int:
    """Print the program's pid (also the id of its group), wait for its end or the parent's, end the group."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--cwd", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--user", default=None)
    parser.add_argument("--group", type=int, default=None)
    parser.add_argument("--ask", type=_request, action="append", default=[], metavar="SIGNAL:SECONDS")
    parser.add_argument("argv", nargs="+")
    options = parser.parse_args()
    _ignore_the_terminal()
    program = Program(_started(options))
    sys.stdout.write(f"{program.pid}\n")
    sys.stdout.close()
    program.wait_while(options.parent)
    for number, seconds in options.ask:
        program.ask(number, seconds)
    return program.end()


def supervise_forked(child: subprocess.Popen[bytes], parent: int) -> int:
    """As `main`, of a program that was forked (`preloaded.py`): descriptor 0, a socket, is told its pid, then its exit code."""
    _ignore_the_terminal()
    program = Program(child)
    with contextlib.suppress(BrokenPipeError):  # who asked for it is gone already
        os.write(0, f"{program.pid}\n".encode())
    program.wait_while(parent)
    code = program.end()
    with contextlib.suppress(BrokenPipeError):
        os.write(0, str(code).encode())
    return code


def _ignore_the_terminal() -> None:
    for number in _OF_THE_TERMINAL:
        signal.signal(number, signal.SIG_IGN)  # a Ctrl-C at the terminal is our parent's business


if __name__ == "__main__":
    sys.exit(main())
