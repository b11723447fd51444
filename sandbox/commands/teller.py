"""Lines of `make demo` as they come, each with the time it took."""

from __future__ import annotations

import os
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_GREEN, _RED, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"


class Teller:
    """Prints the story; colours only on a terminal."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.failed: str | None = None

    def line(self, text: str = "") -> None:
        """Print a line at once."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def setting_up(self, step: str, seconds: float) -> None:
        """A part of the system is up."""
        self.line(f"       {seconds:6.2f} s  {step}")

    @asynccontextmanager
    async def step(self, what: str) -> AsyncIterator[list[str]]:
        """One step of the story; what is put into the list is told beside it."""
        notes: list[str] = []
        began = time.monotonic()
        try:
            yield notes
        except BaseException:
            self.failed = what
            self.line(f"{self._coloured(_RED, 'FAILED')} {time.monotonic() - began:6.2f} s  {what}")
            raise
        told = f"{what}: {'; '.join(notes)}" if notes else what
        self.line(f"{self._coloured(_GREEN, '    ok')} {time.monotonic() - began:6.2f} s  {told}")

    def seconds(self) -> float:
        """Since the story began."""
        return time.monotonic() - self._began

    def _coloured(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours else text
