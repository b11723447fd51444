"""An earlier commit beside this one: checked out, built, ready to be run; gone afterwards."""

from __future__ import annotations

import filecmp
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.cloud.checkout import ROOT, Checkout

if TYPE_CHECKING:
    from collections.abc import Iterator

_PINNED = ("requirements.txt", "requirements-dev.txt", "xray_api/requirements.txt")


class NoSuchCommitError(ValueError):
    """The repository does not have it; the text is git's."""


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Checkout]:
    """A working tree of the commit below `folder`, with the packages that it pins.

    Where those are this checkout's, its environment serves both; else `make setup` makes one there, from the package index.

    Raises:
        NoSuchCommitError: see there.
        subprocess.CalledProcessError: `make setup` failed; it has printed why.
    """
    tree = folder / "checkout"
    added = _git("worktree", "add", "--detach", str(tree), commit)
    if added.returncode:
        raise NoSuchCommitError(added.stderr.strip())
    try:
        yield Checkout(tree, _python(tree))
    finally:
        _git("worktree", "remove", "--force", str(tree))


def _python(tree: Path) -> Path:
    if all(filecmp.cmp(ROOT / name, tree / name, shallow=False) for name in _PINNED):
        return Path(sys.executable)
    command = ["make", "setup"]
    subprocess.run(command, cwd=tree, check=True)
    return tree / ".venv" / "bin" / "python"


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
