"""How long a person waits for the bot's first answer: after a fresh clone, on an empty state folder, and when all is warm.

They do what the README says, `make run`, and write /start in the chat the moment it is up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from bench.figures import Outcome, Row
from bench.places import scratch
from sandbox.cloud.instances import ROOT
from sandbox.processes.child import bare_environment
from sandbox.state.home import Home

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_LOOK_S = 0.02
_UP_WITHIN_S = 90.0
_INSTALLED_WITHIN_S = 900.0
_STOPPED_WITHIN_S = 30.0
_NO_BROWSER = "--no-browser"
# pip's own cache would make this machine's second clone look like a stranger's first one.
_AS_A_STRANGER = {"PIP_NO_CACHE_DIR": "1"}


class NotUpError(RuntimeError):
    """A command failed or took too long; the text ends with what it printed last."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Seconds from the command: until the chat was there, and until /start was answered."""

    up: float
    answered: float


async def measure(*, fresh: bool, again: bool) -> Outcome:
    """Raises: NotUpError."""
    with scratch() as place:
        return await (_fresh(place) if fresh else _installed(place, again=again))


async def _installed(place: Path, *, again: bool) -> Outcome:
    command = [sys.executable, "-m", "sandbox", "--home", str(place / "home"), "run", _NO_BROWSER, "--stand-in"]
    first = await _run(command, ROOT, place / "home", place / "log")
    rows = [_row("`make run` to the first message in the chat, installed, first run", first)]
    measured = {"first_run_s": _told(first)}
    if again:
        warm = await _run(command, ROOT, place / "home", place / "log")
        rows.append(_row("the same, warm", warm))
        measured["warm_s"] = _told(warm)
    return Outcome("first-message", tuple(rows), measured)


async def _fresh(place: Path) -> Outcome:
    clone = place / "atlas"
    began = time.perf_counter()
    await _done(["git", "clone", "--quiet", ROOT.as_uri(), str(clone)], place, place / "log")
    cloned = time.perf_counter() - began
    await _done(["make", "setup"], clone, place / "log", _AS_A_STRANGER)
    installed = time.perf_counter() - began - cloned
    command = ["make", "run", f"ARGS={_NO_BROWSER}"]
    first = await _run(command, clone, clone / ".local", place / "log")
    warm = await _run(command, clone, clone / ".local", place / "log")
    whole = cloned + installed + first.answered
    steps = f"clone {cloned:.1f} s, install {installed:.1f} s, start {first.up:.1f} s, /start {first.answered - first.up:.2f} s"
    rows = (
        Row("", "fresh clone to the first message in the chat", whole, "s", steps),
        _row("`make run` to the first message in the chat, warm", warm),
    )
    measured = {"clone_s": cloned, "install_s": installed, "first_run_s": _told(first), "warm_s": _told(warm)}
    return Outcome("first-message", rows, measured)


def _row(work: str, run: _Run) -> Row:
    return Row("", work, run.answered, "s", f"up {run.up:.1f} s, /start {run.answered - run.up:.2f} s")


def _told(run: _Run) -> dict[str, float]:
    return {"up": round(run.up, 3), "answered": round(run.answered, 3)}


async def _done(argv: Sequence[str], folder: Path, log: Path, more: Mapping[str, str] | None = None) -> None:
    process = await _started(argv, folder, log, more)
    try:
        async with asyncio.timeout(_INSTALLED_WITHIN_S):
            code = await process.wait()
    finally:
        await _ended(process)
    if code:
        raise NotUpError(f"{' '.join(argv)}: {_tail(log)}")


async def _run(argv: Sequence[str], folder: Path, home: Path, log: Path) -> _Run:
    """Start, chat, stop."""
    began = time.perf_counter()
    # MAKELEVEL: the runner looks whether its parent lives, as it does under make, and does not outlive a killed bench
    process = await _started(argv, folder, log, {"MAKELEVEL": "1"})
    try:
        async with asyncio.timeout(_UP_WITHIN_S):
            chat = await _chat(process, home, log)
            up = time.perf_counter() - began
            await _start_is_answered(chat)
            return _Run(up, time.perf_counter() - began)
    except (TimeoutError, httpx.HTTPError) as error:
        raise NotUpError(f"{' '.join(argv)}: {error!r} {_tail(log)}") from error
    finally:
        await _ended(process)


async def _chat(process: asyncio.subprocess.Process, home: Path, log: Path) -> str:
    """The address of the chat page, announced when a person could write."""
    while True:
        if process.returncode is not None:
            raise NotUpError(_tail(log))
        chat = _announced(home)
        if chat:
            return chat
        await asyncio.sleep(_LOOK_S)


def _announced(home: Path) -> str:
    try:
        return str(Home(home).running().get("chat", ""))
    except json.JSONDecodeError:
        return ""


async def _start_is_answered(chat: str) -> None:
    async with httpx.AsyncClient(base_url=chat, trust_env=False, timeout=_UP_WITHIN_S) as client:
        made = await client.post("api/users", json={"first_name": "Anna", "language_code": "en"})
        user_id = made.raise_for_status().json()["id"]
        (await client.post(f"api/users/{user_id}/send", json={"text": "/start"})).raise_for_status()
        async with client.stream("GET", f"api/events?user={user_id}") as events:
            async for line in events.aiter_lines():
                if line.startswith("data: ") and _bot_wrote(json.loads(line.removeprefix("data: "))):
                    return
    raise NotUpError("the chat's events ended before the bot answered")


def _bot_wrote(state: dict[str, Any]) -> bool:
    return any(message["from"]["is_bot"] for chat in state["chats"].values() for message in chat["messages"])


async def _started(
    argv: Sequence[str], folder: Path, log: Path, more: Mapping[str, str] | None
) -> asyncio.subprocess.Process:
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *argv,
            cwd=folder,
            env=bare_environment(more or {}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # its group is what is ended
        )


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):  # then it is killed
            async with asyncio.timeout(_STOPPED_WITHIN_S):
                await process.wait()
                return


def _tail(log: Path) -> str:
    return log.read_text("utf-8", errors="replace")[-2000:]
