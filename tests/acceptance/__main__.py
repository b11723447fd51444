"""`python -m tests.acceptance [ISSUE]`: a line an id, with its tests; exit 1 when a finished issue's id has none."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

from tests.acceptance.collect import proofs

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Print the list."""
    document = tomllib.loads((ROOT / "docs" / "acceptance.toml").read_text())
    wanted = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ISSUE") or None
    must = {wanted} if wanted else set(document["finished"])
    found = proofs()
    missing = 0
    for issue, ids in document.items():
        if not isinstance(ids, dict) or issue == "not_applicable" or (wanted and issue != wanted):
            continue
        for identifier in ids:
            tests = found.pop(identifier, [])
            owed = not tests and issue in must
            missing += owed
            names = ", ".join(test.rsplit("/", 1)[-1] for test in tests) or ("MISSING" if owed else "-")
            sys.stdout.write(f"{identifier:34} {issue:6} {len(tests):3}  {names}\n")
    known = {i for ids in document.values() if isinstance(ids, dict) for i in ids}
    strangers = sorted(set(found) - known)
    for identifier in strangers:
        sys.stdout.write(f"{identifier:34} is proved by a test but is not in docs/acceptance.toml\n")
    for identifier, reason in document["not_applicable"].items():
        sys.stdout.write(f"{identifier:34} n/a         {reason}\n")
    sys.stdout.write(f"{missing} without a test\n")
    return 1 if missing or strangers else 0


if __name__ == "__main__":
    sys.exit(main())
