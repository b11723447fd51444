"""Named places where a test, or a person at the control page, stops a process on purpose.

A place is armed by creating a file of its name in the folder `ATLAS_FAILPOINTS`; the process that removes the file is
the one that acts, so a place fires once over all processes. What it does is the file's content:

- `kill` (or nothing): SIGKILL of this very process, as a crash or an evicted instance would.
- `sleep SECONDS`: hold here, as a frozen or slow instance would.
- `raise`: an ordinary exception.
- `loop`: never come back, and use all the CPU there is.
- `deadlock`: never come back, waiting for what this very thread would have to do.

Off (one attribute look-up) unless the variable is set, and refused outside `ENVIRONMENT=local`.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

_FOLDER = (
    Path(os.environ["ATLAS_FAILPOINTS"])
    if os.environ.get("ATLAS_FAILPOINTS") and os.environ.get("ENVIRONMENT") == "local"
    else None
)


class FailpointRaised(RuntimeError):
    """An armed failpoint of kind `raise` was reached."""


def armed(name: str) -> bool:
    """Whether `name` would fire now; for the one caller that has to prepare for it."""
    return _FOLDER is not None and (_FOLDER / name).exists()


def reach(name: str) -> None:
    """Say that the code is at place `name`; blocks the thread or ends the process when it is armed.

    Raises:
        FailpointRaised: the place was armed with `raise`.
    """
    if _FOLDER is None:
        return
    token = _FOLDER / name
    try:
        action = token.read_text().strip() or "kill"
        token.unlink()
    except FileNotFoundError:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    verb, _, argument = action.partition(" ")
    if verb == "sleep":
        time.sleep(float(argument))
    elif verb == "loop":
        while True:
            pass
    elif verb == "deadlock":
        os.read(os.pipe()[0], 1)  # whose other end this very process holds, and will never write to
    elif verb == "raise":
        raise FailpointRaised(name)
    else:
        raise ValueError(f"failpoint {name}: unknown action {action!r}")
