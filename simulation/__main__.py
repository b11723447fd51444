"""`make simulate`: run a seed, say what was found, and how to have it again."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from simulation.report import page
from simulation.run import Outcome, Plan, simulate
from simulation.shrink import shrunk
from simulation.world import postgres


def _commit() -> str:
    """Of the tree that runs; with a `+` when it has changes."""
    found = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False)  # noqa: S607 -- found by name
    return found.stdout.strip() or "?"


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--customers", type=int, default=100)
    parser.add_argument("--days", type=float, default=10.0)
    parser.add_argument("--severity", type=float, default=1.0, help="of what goes wrong; 0: nothing")
    parser.add_argument("--log", type=Path, help="where to write every event")
    parser.add_argument("--report", type=Path, help="where to write the page")
    parser.add_argument("--shrink", action="store_true", help="look for a smaller run that finds it")
    parser.add_argument("--json", action="store_true", help="one line of JSON in place of words")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """0: all held. 1: something was found."""
    asked = _arguments(given)
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set of texts must be the same in each process
        os.execve(sys.executable, [sys.executable, "-m", "simulation", *given], {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606 -- this very command
    with tempfile.TemporaryDirectory(prefix="atlas-simulation-") as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        folder.chmod(0o755)  # run by root, the server is another user, who must get through
        server = stack.enter_context(postgres(folder / "postgres"))
        copy = stack.enter_context(asked.log.open("w")) if asked.log else None
        outcome = simulate(
            Plan(asked.seed, asked.customers, asked.days, asked.severity), server, folder / "first", copy
        )
        if outcome.found and asked.shrink:
            outcome = shrunk(outcome, _apart)
    if asked.report:
        asked.report.parent.mkdir(parents=True, exist_ok=True)
        asked.report.write_text(page(outcome, _commit()))
    sys.stdout.write((outcome.as_json() if asked.json else _words(outcome)) + "\n")
    return 1 if outcome.found else 0


def _apart(plan: Plan) -> Outcome:
    """Run it in a process of its own: what this one has made it keeps."""
    size = [f"--{name}={getattr(plan, name)}" for name in ("seed", "customers", "days", "severity")]
    done = subprocess.run(  # noqa: S603 -- this very command, with numbers
        [sys.executable, "-m", "simulation", "--json", *size], capture_output=True, text=True, check=False
    )
    return Outcome.from_json(done.stdout.splitlines()[-1])


def _words(outcome: Outcome) -> str:
    plan = outcome.plan
    per_minute = outcome.customer_days / outcome.took_s * 60
    lines = [
        f"seed {plan.seed}@{_commit()}: {plan.customers} customers, {outcome.at_s / 86_400:.1f} days, {outcome.events} events",
        f"{outcome.calls} calls of functions, {outcome.deaths} died, {outcome.ticks} ticks, {outcome.looks} looks",
        f"met: {', '.join(f'{kind} {count}' for kind, count in sorted(outcome.met.items())) or 'nothing'}",
        f"log {outcome.digest[:16]}, {outcome.took_s:.0f} s, {per_minute:.0f} customer-days a minute",
    ]
    if outcome.found:
        lines += ["", *outcome.last[-40:], "", f"FOUND after {outcome.customer_days:.0f} customer-days:"]
        lines += [f"- {one.check}: {one.what}" for one in outcome.found[:20]]
        lines.append(
            f"again: git checkout {_commit()} && make simulate SEED={plan.seed} CUSTOMERS={plan.customers} DAYS={plan.days:g}"
            + ("" if plan.severity == 1 else f' ARGS="--severity {plan.severity:g}"')
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
