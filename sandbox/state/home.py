"""The folder that a local system lives in: its secrets, its ports, its logs, and the lock that makes it one person's."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Any

from sandbox.state.ports import claim, free_port
from sandbox.state.private_json import write_private_json

if TYPE_CHECKING:
    from pathlib import Path

_REAL = "-real"


class InUseError(RuntimeError):
    """Another process has this folder's system up; the text says which one and where."""


def of_bot(path: Path, bot_id: int) -> Path:
    """Where the state of a real bot is kept: beside the stand-in's, since the same people have other chats there."""
    return path.with_name(f"{path.name}{_REAL}") / str(bot_id)


def all_homes(path: Path) -> list[Path]:
    """The stand-in's folder, and those of real bots that there are."""
    beside = path.with_name(f"{path.name}{_REAL}")
    return [path, *(sorted(beside.iterdir()) if beside.is_dir() else ())]


class Home:
    """State of one local system below `path`, kept between runs; deleting the folder forgets everything."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._kept = self.path / "home.json"
        self._run = self.path / "run.json"
        self._lock: int | None = None

    # -- who has it ----------------------------------------------------------------------------------------------------

    def take(self) -> None:
        """Make the folder ours until this process ends, however it ends.

        Raises:
            InUseError: another process has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            run = self.running()
            where = f" (process {run['pid']}, {run['url']})" if run.get("url") else ""
            raise InUseError(f"the system of {self.path} is up already{where}") from None
        self._lock = descriptor
        self.announce({})

    def let_go(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            self._run.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def announce(self, facts: dict[str, Any]) -> None:
        """Tell `make sweep` and the others where we are."""
        write_private_json(self._run, {"pid": os.getpid(), **facts})

    def running(self) -> dict[str, Any]:
        """What the process that has the folder announced last; stale when no process has it."""
        return _read(self._run)

    def is_taken(self) -> bool:
        """Whether a live process has the folder."""
        if not (self.path / "lock").exists():
            return False
        try:
            self.take()
        except InUseError:
            return True
        self.let_go()
        return False

    def empty(self) -> None:
        """Delete everything.

        Raises:
            InUseError: it is up.
        """
        if not self.path.exists():
            return
        self.take()
        try:
            shutil.rmtree(self.path)
        finally:
            self.let_go()

    # -- what it keeps -------------------------------------------------------------------------------------------------

    def secret(self, name: str, *, prefix: str = "") -> str:
        """A made-up secret, the same one at every call, in letters, digits, `-` and `_`."""
        kept = _read(self._kept)
        if name not in kept.setdefault("secrets", {}):
            kept["secrets"][name] = prefix + secrets.token_urlsafe(24)
            write_private_json(self._kept, kept)
        return str(kept["secrets"][name])

    def port(self, name: str) -> int:
        """A free port of 127.0.0.1 for this purpose: the one of last time when it is still free."""
        kept = _read(self._kept)
        ports: dict[str, int] = kept.setdefault("ports", {})
        if name not in ports or not claim(ports[name]):
            ports[name] = free_port(besides=ports.values())
            write_private_json(self._kept, kept)
        return ports[name]

    def folder(self, name: str, *, private: bool = True) -> Path:
        """A folder below, made when it is not there; a private one, of the last run too, is closed to other users."""
        place = self.path / name
        place.mkdir(parents=True, exist_ok=True)
        if private:
            place.chmod(0o700)
        return place

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.folder("logs")


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return content
