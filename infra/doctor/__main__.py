"""`python -m infra.doctor --env local|dev|prod [--json] [--only NAME ...]`; exit code 1 when anything is wrong, 2 when it can't be asked."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from infra.doctor import report
from infra.doctor.check import Finding, State
from infra.doctor.examine import examine
from infra.doctor.of_environment import deployment_of
from infra.doctor.registry import BY_NAME, CHECKS
from infra.environment import NAMES, Deployed, Environment, NoEnvironment, UnreadableProject, load
from infra.google.client import BadEndpoint, NotLoggedIn
from lib import interrupted


async def _all(environment: Environment, only: list[str]) -> tuple[list[Finding], float]:
    began = time.monotonic()
    deployment = deployment_of(environment)
    try:
        chosen = [check for check in CHECKS if not only or check.name in only]
        return await examine(deployment, chosen), time.monotonic() - began
    finally:
        await deployment.close()


def main(given: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        prog="make doctor", description="Look at everything that a running shop stands on."
    )
    parser.add_argument("--env", required=True, metavar="|".join(NAMES), help="which one")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--only", nargs="+", default=[], metavar="CHECK", help="these checks alone")
    options = parser.parse_args(given)
    problems = [f"there is no check {name}; docs/doctor.md lists them" for name in options.only if name not in BY_NAME]
    environment = None
    try:
        environment = load(options.env)
    except NoEnvironment as error:
        problems += str(error).splitlines()
    if problems or environment is None:
        for problem in problems:
            sys.stderr.write(f"doctor: {problem}\n")
        return 2
    try:
        if isinstance(environment, Deployed) and (remark := environment.instance_remark):
            sys.stderr.write(f"doctor: {remark}\n")
        findings, seconds = asyncio.run(_all(environment, options.only))
    except (NotLoggedIn, BadEndpoint, UnreadableProject) as error:
        sys.stderr.write(f"doctor: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("doctor: stopped; it changes nothing\n")
        return interrupted.EXIT
    if options.json:
        sys.stdout.write(f"{report.as_json(environment.name, findings, seconds)}\n")
    else:
        for line in report.lines(environment.name, findings, seconds):
            sys.stdout.write(f"{line}\n")
    return 1 if any(one.state is State.WRONG for one in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
