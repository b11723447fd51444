"""A purchase that proves the release, given back; none in prod, where nothing but money buys anything."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from infra.deploy import variable_files
from infra.deploy.engine import Change
from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "purchase"
TITLE = "A purchase, and its way back"


def look(world: World) -> Change | None:
    """One a release: once it was given back, it is found so.

    Raises:
        Refused: it is not known what runs.
    """
    if world.environment == "prod":
        world.talk.say("    none in prod: nothing but money buys anything there")
        return None
    release = variable_files.release(world.folder)
    if release is None:
        raise Refused(Problem("it is not known here what runs", f"make deploy ENV={world.environment}"))
    return Change(
        ["buys with provider `test` for the first operator, and gives it back"],
        lambda: _buy(world, release.id),
        asks=False,
    )


def _buy(world: World, release: str) -> None:
    run = subprocess.run(  # noqa: S603 -- the arguments are this module's
        [sys.executable, "-m", "infra.release_purchase", "--env", world.environment, "--release", release],
        cwd=world.checkout,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
    )
    for line in run.stdout.splitlines():
        world.talk.say(f"    {line}")
    if run.returncode:
        raise Refused(
            Problem(
                "the release serves, and a purchase did not go its whole way, for what is said above",
                f"make doctor ENV={world.environment}, then make deploy ENV={world.environment} again",
            )
        )
