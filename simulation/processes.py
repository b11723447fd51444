"""What runs a function in place of a process of its own: it can be killed at any point where it meets the outside.

A killed process does nothing more: its `finally` blocks unwind as Python has it, but no statement, call or task of theirs gets through,
as if the machine had gone.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


class Killed(BaseException):
    """The process is gone. No `except Exception` may survive it."""


@dataclass(slots=True, eq=False)
class Process:
    """One request's.

    Attributes:
        target: the function that it serves.
        dead: it was killed.
        may_die: at the points it reaches; what only looks on may not.
    """

    target: str
    dead: bool = False
    may_die: bool = True

    def die(self) -> Killed:
        """From now on nothing of it gets through; what to raise."""
        self.dead = True
        return Killed(self.target)


current: ContextVar[Process | None] = ContextVar("process", default=None)
"""Whose code runs now; None: the world's own."""


def assert_alive() -> None:
    """Raises: Killed: this process is gone."""
    process = current.get()
    if process is not None and process.dead:
        raise Killed(process.target)
