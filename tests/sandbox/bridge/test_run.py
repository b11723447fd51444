"""`make run` with a token: what it refuses before anything starts, and where a token may come from."""

from __future__ import annotations

import asyncio
import functools
import os
import pty
import signal
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from lib import function_table
from sandbox.cloud.instances import settings_of
from sandbox.commands import run
from sandbox.commands.options import EnvFileError, hide_secrets, read
from tests.sandbox.bridge.conftest import TOKEN
from tests.waiting import until

if TYPE_CHECKING:
    from tests.sandbox.bridge.conftest import ApiTelegramOrg, Function

_ROOT = Path(__file__).resolve().parents[3]
_OTHER = "4242424242:AAF-another_secret_0123456789xyzabc"
_NONE = Path("/none")
_S = 30


def _environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TELEGRAM_", "MAKE", "MFLAGS"))}
    return kept | settings


async def _ended(*argv: str, **environment: str) -> tuple[int, str]:
    """Run to the end: exit code and everything it said."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=_ROOT,
        env=_environment(**environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), _S)
    return process.returncode or 0, output.decode()


class Run:
    """`make run` in this process, for runs that end before anything starts."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    async def __call__(
        self, *, telegram: Literal["real", "as given"] = "as given", env_file: Path = _NONE, **environment: str
    ) -> tuple[int, str]:
        for name in ("TELEGRAM_BOT_TOKEN", "TELEGRAM_API_BASE"):
            self._monkeypatch.setenv(name, environment.get(name, ""))
        home = self._folder / "state"
        code = await asyncio.to_thread(
            functools.partial(run.run, home, browser=False, scheduler=False, env_file=env_file, telegram=telegram)
        )
        assert not list(self._folder.glob("state*"))
        return code, self._capsys.readouterr().out


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(tmp_path, monkeypatch, capsys)


@pytest.fixture
async def live(far: ApiTelegramOrg, function: Function) -> ApiTelegramOrg:
    """A bot that is in use somewhere: a run that gets as far as to look at it is refused, and says so."""
    assert (await far.call("setWebhook", url=f"{function.url}?key=of-the-webhook"))["ok"]
    return far


async def test_a_webhook_that_is_set_is_refused_and_left_alone(live: ApiTelegramOrg, ended: Run) -> None:
    code, said = await ended(TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_API_BASE=live.url)
    assert code == 2
    assert "@atlas_try_bot has a webhook at 127.0.0.1" in said
    assert "cut that bot off" in said
    assert "of-the-webhook" not in said
    assert "real_looking" not in said
    assert "deleteWebhook" not in live.methods()


async def test_a_wrong_token_is_refused(far: ApiTelegramOrg, ended: Run) -> None:
    code, said = await ended(TELEGRAM_BOT_TOKEN=_OTHER, TELEGRAM_API_BASE=far.url)
    assert code == 2
    assert "does not know this token" in said
    assert "another_secret" not in said


async def test_a_malformed_token_is_refused(far: ApiTelegramOrg, ended: Run) -> None:
    code, said = await ended(TELEGRAM_BOT_TOKEN=f"bot {TOKEN}", TELEGRAM_API_BASE=far.url)
    assert code == 2
    assert "no bot token" in said
    assert "real_looking" not in said
    assert far.telegram.calls == []


async def test_the_token_in_the_env_file(live: ApiTelegramOrg, ended: Run, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}   # of the second bot\nTELEGRAM_API_BASE={live.url}\nDATABASE_URL=x\n")
    code, said = await ended(env_file=file)
    assert (code, "@atlas_try_bot has a webhook" in said) == (2, True)


async def test_make_hands_its_variable_on(live: ApiTelegramOrg, tmp_path: Path) -> None:
    """As `make run TELEGRAM_BOT_TOKEN=...`; it reaches the run by its environment, on whose command line it is not."""
    arguments = f"--env-file /none --no-browser --real # {tmp_path}"
    python = "import os,sys; print('argv', sys.argv[1:]); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    shown = tmp_path / "python"
    shown.write_text(f"#!{sys.executable}\n{python}\n")
    shown.chmod(0o755)
    code, said = await _ended(
        *("make", "--no-print-directory", "-o", ".venv/.ready", "run", f"TELEGRAM_BOT_TOKEN={TOKEN}"),
        *(f"TELEGRAM_API_BASE={live.url}", f"ARGS={arguments}", f"PY={shown}"),
    )
    assert code == 2
    assert "@atlas_try_bot has a webhook" in said
    assert "argv ['-m', 'sandbox', 'run'" in said
    assert "real_looking" not in said


async def test_it_is_asked_for_at_a_terminal_and_not_shown(live: ApiTelegramOrg, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "sandbox",
            "--home",
            str(tmp_path / "state"),
            "run",
            "--real",
            "--env-file",
            str(_NONE),
        ),
        cwd=_ROOT,
        env=_environment(TELEGRAM_API_BASE=live.url),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    said = bytearray()
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: said.extend(os.read(ours, 4096)))
    try:
        await until(
            lambda: b"not shown): " in said and not termios.tcgetattr(ours)[3] & termios.ECHO, "the question", _S
        )
        os.write(ours, f"{TOKEN}\n".encode())
        await until(lambda: b"cut that bot off" in said, "the reason", _S)
        assert await asyncio.wait_for(process.wait(), _S) == 2
    finally:
        loop.remove_reader(ours)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        os.close(theirs)
        os.close(ours)
    assert b"@atlas_try_bot has a webhook" in said
    assert b"real_looking" not in said


async def test_without_a_terminal_no_question_is_asked(ended: Run) -> None:
    code, said = await ended(telegram="real")
    assert code == 2
    assert "no terminal to ask at" in said


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text(
        f"TELEGRAM_BOT_TOKEN={_OTHER}\nDISPLAY_TZ=UTC\nLOG_LEVEL=DEBUG\nADMIN_IDS=\nPATH=/x\nSUPPORT_URL=$HOME"
    )
    for name in ("TELEGRAM_API_BASE", "TELEGRAM_PROVIDER_TOKEN", "ADMIN_IDS", "DISPLAY_TZ", "SUPPORT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", " ")
    monkeypatch.setenv("LOG_LEVEL", "WARNING")
    given = read(file)
    assert (given.token, given.source) == (_OTHER, str(file))
    assert given.settings == {"DISPLAY_TZ": "UTC", "LOG_LEVEL": "WARNING", "SUPPORT_URL": "$HOME"}
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("TELEGRAM_PROVIDER_TOKEN", "284685063:TEST:x")
    given = read(file)
    assert (given.token, given.source) == (TOKEN, "the environment")
    assert given.settings["TELEGRAM_PROVIDER_TOKEN"] == "284685063:TEST:x"
    assert "real_looking" not in repr(given)
    assert "284685063" not in repr(given)
    assert read(file, stand_in=True).token == ""
    assert "TELEGRAM_PROVIDER_TOKEN" not in read(file, stand_in=True).settings


def test_an_env_file_that_is_none_is_told(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"TELEGRAM_BOT_TOKEN=\xff\xfe\n")
    with pytest.raises(EnvFileError, match="can't be read"):
        read(file)


async def test_a_line_that_gives_a_name_no_value_starts_nothing_and_is_not_shown(ended: Run, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"ADMIN_IDS=1\nTELEGRAM_BOT_TOKEN {TOKEN}\n")
    code, said = await ended(env_file=file)
    assert code == 2
    assert said == f"Nothing was started: settings are wrong.\n{file} can't be understood: no NAME=value in line 2.\n"


def test_a_mark_at_the_beginning_of_the_file_belongs_to_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY_TZ", raising=False)
    file = tmp_path / ".env"
    file.write_text("\ufeffDISPLAY_TZ=UTC\n")
    assert read(file, stand_in=True).settings["DISPLAY_TZ"] == "UTC"


def test_children_inherit_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("MAKEFLAGS", f" -- TELEGRAM_BOT_TOKEN={TOKEN}")
    hide_secrets()
    assert not [name for name, value in os.environ.items() if TOKEN in value]


def test_a_secret_reaches_the_functions_alone_that_need_it() -> None:
    given = {"TELEGRAM_PROVIDER_TOKEN": "284685063:TEST:x", "LOG_LEVEL": "INFO"}
    for row in function_table.load().functions.values():
        offers = row.name in {"telegram_webhook", "task_update", "sweep_payments"}
        assert ("TELEGRAM_PROVIDER_TOKEN" in settings_of(row, given)) == offers, row.name
        assert settings_of(row, given)["LOG_LEVEL"] == "INFO"
