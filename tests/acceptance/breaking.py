"""`make acceptance-sabotage`: break each property on purpose and expect its tests to turn red.

A sabotage (`sabotage/*.toml`) replaces a piece of text in a copy of the tree. Its ids' tests, which pass in the
unbroken tree, must then fail by their assertions: an error of collection or of a fixture proves nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tests.acceptance.collect import proofs

ROOT = Path(__file__).resolve().parents[2]
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".local*", ".env", "__pycache__", ".mypy_cache", ".ruff_cache", "dist"
)
_TIMEOUT_S = 900  # of one step of one id: a guard against a hang
_COST = (
    ("tests/unit", "tests/lint", "tests/docs", "tests/terraform"),
    ("tests/integration", "tests/sandbox"),
)
_SIZES = ("not full", "full")  # of a step's tests, the short ones first
_FAILED = re.compile(r"^\d+ failed\b", re.MULTILINE)  # pytest's last line: a test's own assertion
_TESTS_FAILED, _NO_TEST = 1, 5


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


def _run(folder: Path, tests: list[str], sizes: str) -> tuple[int, str]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", sizes, *tests],
            cwd=folder,
            env={"ATLAS_HISTORY": str(ROOT), **os.environ, "PYTHONPATH": str(folder)},  # the copy has no commits
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end within {_TIMEOUT_S} s"
    return done.returncode, done.stdout[-3000:]


def cheapest_first(tests: list[str]) -> list[list[str]]:
    """The tests of an id in steps, those that start nothing first: one red step is enough."""
    steps: dict[int, list[str]] = {}
    for test in tests:
        step = next((number for number, folders in enumerate(_COST) if test.startswith(folders)), len(_COST))
        steps.setdefault(step, []).append(test)
    return [steps[step] for step in sorted(steps)]


def share(sabotages: list[Sabotage], number: int, of: int) -> list[Sabotage]:
    """Every `of`-th one, from the `number`-th (counted from 1), so that the shares of all numbers are all of them."""
    return sabotages[number - 1 :: of]


def _red(sabotage: Sabotage, tests: list[str]) -> tuple[bool, str, float]:
    """Whether a test noticed, what pytest printed last, and the seconds it took."""
    started = time.monotonic()
    noticed, output = False, "it has no test\n"
    with tempfile.TemporaryDirectory(prefix="atlas-sabotage-") as name:
        folder = Path(name)
        _broken_copy(sabotage, folder)
        for step, sizes in product(cheapest_first(tests), _SIZES):
            code, said = _run(folder, step, sizes)
            if code == _NO_TEST:
                continue
            output = said
            # an error alone is a broken fixture, unless it is the invariants' own check after the test
            noticed = code == _TESTS_FAILED and (bool(_FAILED.search(output)) or "Violation(" in output)
            if noticed:
                break
    return noticed, output, time.monotonic() - started


def break_everything(wanted: set[str], shard: tuple[int, int] = (1, 1), at_once: int = 2) -> int:
    """Break the wanted ids, or all of a shard, some at once; how many sabotages no test noticed."""
    tests = proofs()
    chosen = [one for one in share(load(), *shard) if not wanted or one.identifier in wanted]
    unnoticed = []
    with ThreadPoolExecutor(at_once) as pool:
        results = pool.map(lambda one: _red(one, tests.get(one.identifier, [])), chosen)
        for sabotage, (noticed, output, took) in zip(chosen, results, strict=True):
            verdict = "red " if noticed else "NOT NOTICED"
            sys.stdout.write(f"{verdict} {sabotage.identifier:28} {took:5.1f} s  {sabotage.why}\n")
            sys.stdout.flush()
            if not noticed:
                unnoticed.append(sabotage.identifier)
                sys.stdout.write(output + "\n")
    sys.stdout.write(f"{len(unnoticed)} not noticed {unnoticed or ''}\n")
    return len(unnoticed)
