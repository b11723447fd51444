"""What a person does beside a running system: run a sweep, look into the database, follow the logs; and forget it all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import httpx
import pg8000.native

from lib.db import prompt
from sandbox.state.home import Home, InUseError, all_homes

if TYPE_CHECKING:
    from pathlib import Path

_FOLLOW_S = 0.2


def sweep(folder: Path, name: str) -> int:
    """Run one sweep now and print its answer."""
    found = _running(folder)
    if found is None:
        return 2
    _, running = found
    if not name:
        return _complain("Which sweep? For example: make sweep NAME=expiry")
    try:
        response = httpx.post(f"{running['url']}/sweep/{name}", json={}, timeout=200, trust_env=False)
    except httpx.HTTPError as error:
        return _complain(f"The control page at {running['url']} does not answer: {type(error).__name__}.")
    answer = response.json()
    if response.is_error:
        return _complain(str(answer.get("error")))
    _say(json.dumps(answer))
    return 0


def psql(folder: Path) -> int:
    """The real psql when this machine has one, else a small prompt."""
    found = _running(folder)
    if found is None:
        return 2
    _, running = found
    url = running["database"]
    if (program := shutil.which("psql")) is not None:
        parts = urlsplit(url)
        # Not the URL: a command line is for every account of this machine to read.
        environment = os.environ | {
            "PGHOST": str(parts.hostname),
            "PGPORT": str(parts.port),
            "PGUSER": unquote(parts.username or ""),
            "PGPASSWORD": unquote(parts.password or ""),
            "PGDATABASE": parts.path.lstrip("/"),
            "PGOPTIONS": "-c search_path=atlas",
        }
        sys.stdout.flush()
        os.execve(program, [program, *prompt.psql_options()], environment)  # noqa: S606 - becomes psql, no shell in between
    return _prompt(url)


def logs(folder: Path) -> int:
    """Print what every log says from now on, each line under the name of its file, until Ctrl-C."""
    found = _running(folder)
    if found is None:
        return 2
    home, _ = found
    positions: dict[Path, int] = {path: path.stat().st_size for path in _log_files(home)}
    with contextlib.suppress(KeyboardInterrupt):
        while home.is_taken():
            for path in _log_files(home):
                positions[path] = _print_from(path, positions.get(path, 0))
            time.sleep(_FOLLOW_S)
        _say("The system has stopped.")
    return 0


def reset(folder: Path) -> int:
    """Forget everything, real bots' state as well; refused while a system is up."""
    homes = [Home(path) for path in all_homes(folder)]
    for home in homes:
        if home.is_taken():
            return _complain(f"Not while it is up: {home.path}. Stop it with Ctrl-C first.")
    for home in homes:
        try:
            home.empty()
        except InUseError as error:  # it was started meanwhile
            return _complain(f"Not while it is up: {error}. Stop it with Ctrl-C first.")
        with contextlib.suppress(OSError):  # the folder of real bots, when this was the last one
            if home.path != folder.resolve():
                home.path.parent.rmdir()
        _say(f"{home.path} is empty.")
    return 0


def _running(folder: Path) -> tuple[Home, dict[str, Any]] | None:
    up = [(home, home.running()) for home in map(Home, all_homes(folder)) if home.is_taken()]
    up = [(home, facts) for home, facts in up if "url" in facts]
    if not up:
        _complain("The system is not up; `make run` starts it.")
        return None
    if len(up) > 1:
        places = " or ".join(f"--home {home.path}" for home, _ in up)
        _complain(f"Several systems are up; say which one: python -m sandbox {places} ...")
        return None
    return up[0]


def _log_files(home: Home) -> list[Path]:
    return sorted(path for path in home.path.rglob("*.log") if "data" not in path.relative_to(home.path).parts)


def _print_from(path: Path, position: int) -> int:
    """Print the whole lines after `position`; where the next look starts."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(min(position, size))
        text = file.read()
    whole = text.rfind(b"\n") + 1
    for line in text[:whole].decode(errors="replace").splitlines():
        _say(f"{path.stem:>20} | {line}")
    return min(position, size) + whole


def _prompt(url: str) -> int:
    parts = urlsplit(url)
    session = pg8000.native.Connection(
        unquote(parts.username or ""),
        host=parts.hostname,
        port=parts.port,
        password=unquote(parts.password or ""),
        database=parts.path.lstrip("/"),
        startup_params={"search_path": "atlas"},
    )
    with contextlib.closing(session):
        return prompt.run(session)


def _complain(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 2


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
