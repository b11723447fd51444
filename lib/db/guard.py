"""Test guards of the rule "a transaction calls no one outside" (docs/architecture.md, rule 1).

With `ATLAS_TEST_GUARDS=1` in a local environment, every process of Atlas

- raises when a thread that is inside a transaction function opens a socket, resolves a name, starts a process or reads a file of
  data (a module may still be imported there: that happens once);
- fails the first attempt of every transaction with SQLSTATE 40001 and compares its result with the second's;
- checks that a function marked `@idempotent` really begins by consuming a key.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lib.db.errors import ExternalCallInTransaction

if TYPE_CHECKING:
    from collections.abc import Iterator

ENABLED = os.environ.get("ATLAS_TEST_GUARDS") == "1" and os.environ.get("ENVIRONMENT") == "local"

_FORBIDDEN = frozenset(
    {"socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind", "subprocess.Popen", "os.system"}
)


class _Inside(threading.local):
    active = False


_inside = _Inside()
_installed = threading.Event()


# What a file of data is called; modules and the zones of the system are loaded like code.
_DATA = (".ftl", ".toml", ".json", ".sql", ".txt", ".csv", ".env")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _inside.active and event in _FORBIDDEN:
        raise ExternalCallInTransaction(f"{event} inside a transaction")
    if _inside.active and event == "open" and str(arguments[0]).endswith(_DATA):
        raise ExternalCallInTransaction(f"a file is read inside a transaction: {arguments[0]}")


def install() -> None:
    """Watch this process from now on. An audit hook can't be taken back, which is what a guard should be like."""
    if not _installed.is_set():
        _installed.set()
        sys.addaudithook(_audit)


@contextmanager
def inside_transaction() -> Iterator[None]:
    """Mark the running thread as inside a transaction function."""
    _inside.active = True
    try:
        yield
    finally:
        _inside.active = False


# What differs between two runs of the same transaction although both are right: ids from sequences, UUIDs, times
# (in a customer's text to the minute, which may end between the two).
_VOLATILE = re.compile(
    r"\d{2}(?:\.\d{2}\.| [A-Z][a-z]{2} )\d{4} \d{2}:\d{2}|UUID\('[^']*'\)|datetime\.datetime\([^)]*\)|datetime\.timedelta\([^)]*\)"
    r"|\b(?:id|\w+_id|version)=\d+|'(?:id|\w+_id|version)': \d+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)
_CONSUMES = re.compile(r"insert\s+into\s.*\bon\s+conflict\b", re.IGNORECASE | re.DOTALL)


def comparable(result: object) -> str:
    """A result with everything that may differ between two runs masked."""
    return _VOLATILE.sub("~", repr(result))


def consumes_key(statement: str | None) -> bool:
    """Whether a statement takes an idempotency key: an insert that stands aside when the key is there."""
    return statement is not None and _CONSUMES.search(statement) is not None
