"""Where things are, and a place for what a run needs only meanwhile."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCH = Path(__file__).resolve().parent
PROGRAMS = BENCH / "programs"
RESULTS = BENCH / "results"


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder, deleted afterwards. Not under /tmp, which may be memory: a database's commits go to a disk.

    Others may pass through it: Postgres runs as another user when we are root.
    """
    folder = Path(tempfile.mkdtemp(prefix="atlas-bench-", dir="/var/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
