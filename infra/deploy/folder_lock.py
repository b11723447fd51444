"""One command at a time in an environment's folder: each reads which secrets are in force and which release runs, and writes it back.

Two at once would lose what the other wrote: a database password that was changed, and no number that says so. The lock is on the folder
itself and ends with the process, however it ends. Other machines are kept apart by the lock of Terraform's state and by the record.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder for this process alone. One that is not there is held by no other; who needs its files says that it lacks them.

    Raises:
        Refused: another command is at work in it; nothing was looked at.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)  # no program that is started inherits it
    except (FileNotFoundError, NotADirectoryError):
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                Problem(
                    f"another deploy, rollback, destroy, rotate or restore is at work in {folder}",
                    "wait for its end, or end it where it asks something; then this command again",
                )
            ) from None
        yield
    finally:
        os.close(descriptor)
