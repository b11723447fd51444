"""Ctrl-C during any `python -m` command: one sentence, exit code 130, no traceback; also while it still imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
OURS = ("bench", "infra", "lib", "sandbox", "simulation", "tests")
COMMANDS = sorted(
    {name for name in re.findall(r"-m ([a-z_.]+)", (ROOT / "Makefile").read_text()) if name.partition(".")[0] in OURS}
)
# The signal arrives while the command's own module is about to be run: as soon as Python looks for what that imports next.
_INTERRUPTED = """
import builtins, sys
real = builtins.__import__
def imported(name, globals=None, *more, **others):
    frame = globals or {}
    if frame.get("__name__") == "__main__" and "lib" in sys.modules and name != "__future__":
        raise KeyboardInterrupt
    return real(name, globals, *more, **others)
builtins.__import__ = imported
"""


def test_there_are_commands() -> None:
    assert {"infra.deploy", "infra.rotate", "infra.psql", "lib.migrate", "sandbox", "bench"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupt_during_its_imports_is_one_sentence(command: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_INTERRUPTED)
    run = subprocess.run(
        [sys.executable, "-m", command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (130, "")
    assert run.stderr.splitlines() == [f"{command}: stopped before its end; the same command may be given again"]


def test_another_error_is_told_as_ever(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_INTERRUPTED.replace("KeyboardInterrupt", "RuntimeError('broken')"))
    run = subprocess.run(
        [sys.executable, "-m", "infra.lock"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "RuntimeError: broken" in run.stderr
