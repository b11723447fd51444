"""`python -m tests.side_by_side`: the whole suite in two runs of pytest at once, one for each core.

They take about as long as each other, and both wait for processes most of their time. Each run is in an order that never changes,
which a distribution of tests over workers would not keep: some tests must come after others (the search of all logs).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FIRST = ("bench", "deploy", "e2e", "sandbox/bridge")
_NO_TESTS = 5  # of these arguments none is in this run; the other one has them


def _folders() -> tuple[list[str], list[str]]:
    """The test folders of the two runs: everything that is not named above is in the second one."""
    tests = ROOT / "tests"
    folders = [*tests.iterdir(), *(tests / "sandbox").iterdir()]
    names = sorted(
        str(path.relative_to(tests))
        for path in folders
        if path.is_dir() and path.name != "sandbox" and any(path.rglob("test_*.py"))
    )
    if missing := set(_FIRST) - set(names):
        raise SystemExit(f"no such folders below tests: {', '.join(sorted(missing))}")
    return [f"tests/{name}" for name in _FIRST], [f"tests/{name}" for name in names if name not in _FIRST]


def main(arguments: list[str]) -> int:
    """0 when both runs passed. The first one's output is shown as it comes, the second one's when both have ended."""
    first_half, others = _folders()
    pytest = [sys.executable, "-m", "pytest", "-q", *arguments]
    with tempfile.TemporaryFile() as output:
        second = subprocess.Popen(
            [*pytest, "-p", "no:cacheprovider", *others], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            first = subprocess.run([*pytest, *first_half], cwd=ROOT, check=False).returncode
            second.wait()
        except KeyboardInterrupt:  # both were told by the terminal
            second.wait()
            return 130
        output.seek(0)
        sys.stdout.write(f"\n{' '.join(others)}\n{output.read().decode(errors='replace')}")
    codes = {first, second.returncode}
    return 0 if 0 in codes and codes <= {0, _NO_TESTS} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
