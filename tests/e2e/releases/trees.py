"""Trees of other releases than this one: the recorded release before, and one after, made of this one.

`git archive`, not a working tree of git's own: a killed test leaves nothing behind in the repository.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from infra.bundle import names
from lib.db import schema
from sandbox.cloud.checkout import HERE, Checkout

RECORD = HERE.root / "infra" / "releases.toml"
PLANTED = Path(__file__).with_name("planted")
_NODE = "xray_api"


def recorded() -> str:
    """The commit of the release before."""
    return str(tomllib.loads(RECORD.read_text())["before"]["commit"])


def before(folder: Path) -> Checkout:
    """The tree of the release before, below `folder`; it runs with the packages that are installed here.

    A clone without that commit is a skip by name, and in CI, where clones are whole, a failure. A copy without a history is told
    by ATLAS_HISTORY whose it is.
    """
    commit = recorded()
    history = os.environ.get("ATLAS_HISTORY") or str(HERE.root)
    tree = subprocess.run(["git", "archive", commit], cwd=history, capture_output=True, check=False)
    if tree.returncode:
        what = f"release before: this clone lacks {commit} ({tree.stderr.decode(errors='replace').strip()})"
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(what)
        pytest.skip(what)
    root = folder / "before"
    with tarfile.open(fileobj=io.BytesIO(tree.stdout)) as archive:
        archive.extractall(root, filter="data")
    return Checkout(root, Path(sys.executable))


def files(folder: Path) -> Path:
    """The migrations of the release after this one: this tree's and the planted ones."""
    copied = folder / "migrations"
    shutil.copytree(schema.FOLDER, copied)
    for planted in PLANTED.glob("*.sql"):
        shutil.copy(planted, copied)
    return copied


def after(folder: Path) -> Checkout:
    """The release after this one: what would be deployed of this tree, and its node service, with the planted migrations."""
    root = folder / "after"
    for name in names(HERE.root):
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE.root / name, target)
    shutil.copytree(HERE.root / _NODE, root / _NODE, ignore=shutil.ignore_patterns("__pycache__"))
    for planted in PLANTED.glob("*.sql"):
        shutil.copy(planted, root / schema.FOLDER.relative_to(HERE.root))
    return Checkout(root, Path(sys.executable))
