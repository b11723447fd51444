"""`python -m sandbox run`: whatever ends it leaves no process behind, and the next run goes on where it was."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from google.cloud.tasks_v2.types import Task

from sandbox.system.customer import Customer, buttons_of
from sandbox.system.platform import tasks_invoker
from sandbox.system.system import System
from tests.e2e.running import NOTHING_GIVEN, ROOT, Runner, command, running

if TYPE_CHECKING:
    from pathlib import Path


def test_kill_9_of_the_runner_leaves_no_process(home: Path, tmp_path: Path) -> None:
    with running(home, tmp_path / "out") as runner:
        runner.process.kill()
        runner.process.wait()
        runner.assert_nothing_left()


def test_kill_9_of_make_ends_the_run_as_well(home: Path, tmp_path: Path) -> None:
    """The runner is a grandchild here, as under `make`."""
    output = tmp_path / "out"
    arguments = command(home, "run", "--no-browser", "--no-scheduler", *NOTHING_GIVEN)
    code = f"import subprocess, sys; sys.exit(subprocess.call({arguments!r}))"
    with output.open("wb") as file:
        make = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=file, stderr=file, env=os.environ | {"MAKELEVEL": "1"}
        )
    runner = Runner(make, output)
    make.kill()
    make.wait()
    runner.assert_nothing_left()


async def test_a_second_run_goes_on_where_the_first_one_was_and_a_third_on_other_ports(home: Path) -> None:
    async with System(home, forked=True) as first:
        anna = Customer(first.telegram.user(77, "Anna", language_code="en"))
        menu = await anna.start()
        offer = await anna.press(menu, "go:trial")
        await anna.press(offer, "trial")
        link = await anna.gets_key()
        await first.travel(timedelta(days=1))
        before = (first.bot_token, first.urls, [node.port for node in first.nodes])
        moment = first.clock.now()
        said = len(anna.user.messages)

    async with System(home, forked=True) as second:
        assert (second.bot_token, second.urls, [node.port for node in second.nodes]) == before
        assert second.clock.now() >= moment
        anna = Customer(second.telegram.user(77))
        assert len(anna.user.messages) == said
        assert "go:trial" not in buttons_of(await anna.start())
        assert await anna.shown_key() == link
        assert await second.invariants() == []
        await second.settled()
        waiting = _leave_a_task(second)
        addresses = (
            second.urls["gateway"],
            *(node.url for node in second.nodes),
            f"http://127.0.0.1:{second.nodes[1].port}",
        )

    # ports that were taken meanwhile: the run moves, with all that waits
    with ExitStack() as strangers:
        for address in addresses:
            strangers.enter_context(socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))))
        async with System(home, forked=True) as third:
            assert third.urls["gateway"] not in addresses
            assert third.function_url("task_update") != waiting
            third.tasks.resume("updates")
            await third.tasks.idle()
            attempt = third.tasks.attempts[-1]
            assert (attempt.url, attempt.status) == (third.function_url("task_update"), 200)
            assert (await third.nodes.health(1))["ok"]


def _leave_a_task(system: System) -> str:
    """A task that waits in a paused queue; the URL it is for."""
    system.tasks.pause("updates")
    url = system.function_url("task_update")
    message: Any = Task.pb(Task(http_request={"url": url, "headers": {"Content-Type": "application/json"}}))
    message.http_request.oidc_token.service_account_email = tasks_invoker("updates")
    message.http_request.oidc_token.audience = url
    message.http_request.body = b'{"update_id": 1}'
    system.tasks.create("projects/local/locations/local/queues/updates", message)
    return url
