"""Imports of many modules without the garbage collector, which would look at all of their objects again and again."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def undisturbed() -> Iterator[None]:
    """Import, or build what stays for good, inside this.

    A tenth of the first answer's time went into collections that could find nothing. What is loaded now is left out of
    later ones too, so no request of this process waits for a look at every class there is.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
