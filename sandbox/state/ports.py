"""Free ports of 127.0.0.1 that no other local system has chosen.

A port is chosen seconds before its server listens. Two systems that start together would choose among the same ports, and some
days choose the same one. So a process that chooses locks the byte of that number in a file all of them share, until its process
ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_RANGE = range(20_000, 32_000)
"""Below every system's ephemeral range, so that no outgoing connection takes one meanwhile."""

_TRIES = 300
_ours: set[int] = set()
_file: int | None = None  # open while the process lives: to close it would give up every lock on it


class NoPortError(RuntimeError):
    """Every port that was tried is in use, or it can't be told which are; the text says which of the two."""


def free_port(besides: Collection[int] = ()) -> int:
    """A port for this process and what it starts; never the same one twice.

    Args:
        besides: ports that are kept for something else, whether or not they were claimed yet.

    Raises:
        NoPortError: see there.
    """
    taken = _ours.union(besides)
    for port in random.sample(_RANGE, _TRIES):
        if port not in taken and claim(port):
            return port
    raise NoPortError("no free port on 127.0.0.1")


def claim(port: int) -> bool:
    """Whether this process may listen on a port that it knows from before; if so, no other is given it from now on.

    Raises:
        NoPortError: the file that all systems share can't be had.
    """
    if not _is_free(port):
        return False
    shared = _shared_file()
    try:
        fcntl.lockf(shared, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _ours.add(port)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _shared_file() -> int:
    """One for each user: no user can be made to wait for, or to write to, another user's file."""
    global _file  # noqa: PLW0603 -- one for the process, as the locks are
    if _file is None:
        path = Path(tempfile.gettempdir()) / f"atlas-ports-{os.getuid()}"
        try:
            opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise NoPortError(
                f"{path}: {error.strerror}. Local systems keep their ports apart in it; remove it"
            ) from None
        if os.fstat(opened).st_uid != os.getuid():
            os.close(opened)
            raise NoPortError(f"{path} belongs to another user. Local systems keep their ports apart in it; remove it")
        _file = opened
    return _file
