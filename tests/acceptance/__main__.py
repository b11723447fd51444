"""`python -m tests.acceptance list [--issue ISSUE]`, `python -m tests.acceptance sabotage [--shard K/N] [ID ...]`."""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path

from tests.acceptance.breaking import break_everything, load
from tests.acceptance.collect import proofs

ROOT = Path(__file__).resolve().parents[2]


def show(wanted: str | None) -> int:
    """Print the list; how many ids of finished (or wanted) issues lack a test, or a required sabotage."""
    document = tomllib.loads((ROOT / "docs" / "acceptance.toml").read_text())
    must = {wanted} if wanted else set(document["finished"])
    need_sabotage = tuple(document["sabotage_required"])
    found = proofs()
    sabotaged = {sabotage.identifier for sabotage in load()}
    lacking = 0
    for issue, ids in document.items():
        if not isinstance(ids, dict) or issue == "not_applicable" or (wanted and issue != wanted):
            continue
        for identifier in ids:
            tests = found.pop(identifier, [])
            problem = ""
            if issue in must and not tests:
                problem = "MISSING "
            elif issue in must and identifier.startswith(need_sabotage) and identifier not in sabotaged:
                problem = "NO SABOTAGE "
            lacking += bool(problem)
            names = ", ".join(test.rsplit("/", 1)[-1] for test in tests) or "-"
            sys.stdout.write(f"{identifier:34} {issue:6} {len(tests):3}  {problem}{names}\n")
    known = {name for ids in document.values() if isinstance(ids, dict) for name in ids}
    strangers = sorted(set(found) - known)
    for identifier in strangers:
        sys.stdout.write(f"{identifier:34} is proved by a test but is not in docs/acceptance.toml\n")
    for identifier, reason in document["not_applicable"].items():
        sys.stdout.write(f"{identifier:34} n/a         {reason}\n")
    sys.stdout.write(f"{lacking} lacking\n")
    return lacking + len(strangers)


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError("K/N with 1 <= K <= N")
    return int(number), int(of)


def main() -> int:
    """Exit 1 when something is lacking, or a sabotage was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="the acceptance list with its tests")
    listing.add_argument("--issue", help="of one issue only")
    breaking = commands.add_parser("sabotage", help="break each property; its tests must turn red")
    breaking.add_argument("ids", nargs="*", help="these ids only")
    breaking.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="K/N", help="the K-th of N shares, for N machines"
    )
    breaking.add_argument("--at-once", type=int, default=2, help="how many are tried side by side")
    chosen = parser.parse_args()
    if chosen.command == "list":
        return 1 if show(chosen.issue) else 0
    failures = break_everything(set(chosen.ids), chosen.shard, chosen.at_once)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
