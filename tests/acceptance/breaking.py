"""`make acceptance-sabotage`: break each property on purpose and expect its tests to turn red.

A sabotage (`sabotage/*.toml`) replaces a piece of text in a copy of the tree. Its ids' tests, which pass in the
unbroken tree, must then fail by their assertions: an error of collection or of a fixture proves nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.collect import proofs

ROOT = Path(__file__).resolve().parents[2]
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".local*", ".env", "__pycache__", ".mypy_cache", ".ruff_cache", "dist"
)
_TIMEOUT_S = 300
_TESTS_FAILED = 1


@dataclass(frozen=True)
class Sabotage:
    """One way to break a property: in `file`, `find` (exactly once) becomes `replace`."""

    identifier: str
    why: str
    file: str
    find: str
    replace: str


def load() -> list[Sabotage]:
    """All of them, in the file's order."""
    files = sorted((Path(__file__).parent / "sabotage").glob("*.toml"))
    documents = [tomllib.loads(path.read_text()) for path in files]
    return [Sabotage(identifier, **entry) for document in documents for identifier, entry in document.items()]


def _broken_copy(sabotage: Sabotage, folder: Path) -> None:
    shutil.copytree(ROOT, folder, ignore=_LEFT_OUT, dirs_exist_ok=True)
    path = folder / sabotage.file
    text = path.read_text()
    if text.count(sabotage.find) != 1:
        raise SystemExit(
            f"{sabotage.identifier}: {sabotage.file} holds the text {text.count(sabotage.find)} times, not once"
        )
    path.write_text(text.replace(sabotage.find, sabotage.replace))


def _run(folder: Path, tests: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout[-3000:]


def break_everything(wanted: set[str]) -> int:
    """Break the wanted ids one by one, or all; how many sabotages went unnoticed."""
    tests = proofs()
    unnoticed = []
    for sabotage in load():
        if wanted and sabotage.identifier not in wanted:
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="atlas-sabotage-") as name:
            folder = Path(name)
            _broken_copy(sabotage, folder)
            code, output = _run(folder, tests.get(sabotage.identifier, ["missing"]))
        # an error alone is a broken fixture, unless it is the invariants' own check after the test
        noticed = code == _TESTS_FAILED and (" failed" in output.rsplit("\n", 2)[-2] or "Violation(" in output)
        sys.stdout.write(
            f"{'red ' if noticed else 'NOT NOTICED'} {sabotage.identifier:28} {time.monotonic() - started:5.1f} s  {sabotage.why}\n"
        )
        sys.stdout.flush()
        if not noticed:
            unnoticed.append(sabotage.identifier)
            sys.stdout.write(output + "\n")
    sys.stdout.write(f"{len(unnoticed)} not noticed {unnoticed or ''}\n")
    return len(unnoticed)
