"""What Atlas logs of its own errors: an exception that no one foresaw is a finding, whatever became of it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from lib import log
from lib.db import DatabaseError, OutcomeUnknown
from lib.tasks.queue import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORESEEN: Final = (DatabaseError, OutcomeUnknown, QueueUnavailable, TimeoutError)
"""With faults about: a database that is away, a queue that refuses, a process that stood still for longer than its time."""


class LogWatch(logging.Handler):
    """Keeps the unforeseen: event, exception, and where it was raised."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.unforeseen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None or isinstance(error, _FORESEEN):
            return
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        at = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace is not None else "?"
        self.unforeseen.append(log.redact(f"{record.getMessage()}: {type(error).__name__}: {error} at {at}")[:300])


@contextmanager
def watching() -> Iterator[LogWatch]:
    """Of this process, in place of any other output."""
    root = logging.getLogger()
    watch, before, level = LogWatch(), root.handlers[:], root.level
    watch.setFormatter(log._JsonLine())  # noqa: SLF001 -- so that `log.configure` finds its handler there
    root.handlers[:] = [watch]
    root.setLevel(logging.ERROR)
    try:
        yield watch
    finally:
        root.handlers[:] = before
        root.setLevel(level)
