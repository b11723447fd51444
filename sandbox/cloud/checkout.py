"""A copy of this repository whose code runs in the local system: this one, or an earlier commit's beside it (`make bench`)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from lib import function_table

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Checkout:
    """Functions, their table, migrations and node service of one commit. The stand-ins around them are this process's own.

    Attributes:
        root: the folder with `main.py`.
        python: has the packages that this commit pins.
    """

    root: Path
    python: Path

    @property
    def framework(self) -> str:
        """The command that serves a function."""
        return str(self.python.with_name("functions-framework"))

    @property
    def table(self) -> function_table.Table:
        """Its functions and queues."""
        return function_table.load(self.root) if self != HERE else function_table.load()


HERE = Checkout(ROOT, Path(sys.executable))
