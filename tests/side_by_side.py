"""`python -m tests.side_by_side [--all] [arguments of pytest]`: the suite on two workers, the order drawn from a printed seed.

Without `--all`: no test marked `full`, and of the stand-ins' breadth only the parts that changed since it passed (`tests/breadth.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lib as _lib  # noqa: F401 -- Ctrl-C, from here on, is told in words (lib/interrupted.py)
from tests import breadth, order

ROOT = Path(__file__).resolve().parents[1]
WORKERS = "2"


def main(arguments: list[str]) -> int:
    """Run pytest and return its exit code. A whole run that passed is recorded for the parts it covered."""
    whole = "--all" in arguments
    chosen = [one for one in arguments if one != "--all"]
    due = list(breadth.PARTS) if whole else breadth.unproved()
    idle = [f"breadth_{name}" for name in breadth.PARTS if name not in due]
    left_out = ([] if whole else ["full"]) + idle
    sys.stdout.write(
        f"order: {order.SEED}={order.seed()}    breadth of: {', '.join(due) or 'nothing, no stand-in changed'}\n"
    )
    sys.stdout.flush()
    command = [sys.executable, "-m", "pytest", "-q", "-n", os.environ.get("ATLAS_TEST_WORKERS", WORKERS)]
    if left_out:
        command += ["-m", " and ".join(f"not {name}" for name in left_out)]
    code = subprocess.run([*command, *chosen], cwd=ROOT, check=False).returncode
    if code == 0 and due and not chosen:
        breadth.record(due)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
