"""Waiting for what Google does in its own time: look, pause, look again, within a limit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from infra.google.client import endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_STAND_IN_PAUSE_S = 0.005
"""A stand-in moves on by looks, not by time."""


class TookTooLong(Exception):
    """It had not ended within its limit; it may yet. The text says what, and how long was waited."""


def until(
    look: Callable[[], T], is_done: Callable[[T], bool], *, what: str, within_s: float, every_s: float = 3.0
) -> T:
    """The first look that is done.

    Args:
        look: asks once.
        is_done: whether that is the end.
        what: is waited for, in words.
        within_s: for so long at most, from now.
        every_s: pause between two looks.

    Raises:
        TookTooLong
    """
    began = time.monotonic()
    while not is_done(seen := look()):
        if time.monotonic() - began > within_s:
            raise TookTooLong(f"{what} has not ended after {within_s:.0f} s; it may yet")
        time.sleep(_STAND_IN_PAUSE_S if endpoint() else every_s)
    return seen
