"""Ctrl-C ends every `python -m` command of this repository with one sentence and exit code 130, wherever it is, its imports included.

Each package imports `lib` first, and `lib` this: from then on an interrupt that nothing else caught is said in words. What a
command has to let go of it lets go of on the way, as after any exception.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

EXIT: Final = 130
"""As shells have it: 128 and the number of SIGINT."""
_PACKAGES: Final = frozenset({"bench", "infra", "lib", "sandbox", "simulation", "tests"})


def say_in_words() -> None:
    """Take over what Python says of an interrupt, in a process that was started as `python -m` of one of our packages."""
    module = _module()
    if module.partition(".")[0] in _PACKAGES:
        sys.excepthook = _hook


def _module() -> str:
    given = sys.orig_argv
    return given[given.index("-m") + 1] if "-m" in given[:-1] else ""


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stdout.flush()
    sys.stderr.write(f"{_module()}: stopped before its end; the same command may be given again\n")
    sys.stderr.flush()
    os._exit(EXIT)  # returned to, Python would end itself by the signal, and `make` would tell no code
