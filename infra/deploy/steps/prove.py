"""The doctor, over everything."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from infra.deploy.engine import Change
    from infra.deploy.world import World

NAME = "prove"
TITLE = "The doctor"
_NOT_ASKED = 2


def look(world: World) -> Change | None:
    """Nothing is changed here: the doctor only reads.

    Raises:
        Refused: something is wrong; the release serves all the same.
    """
    run = subprocess.run(  # noqa: S603 -- the arguments are this module's
        [sys.executable, "-m", "infra.doctor", "--env", world.environment],
        cwd=world.checkout,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
    )
    for line in run.stdout.splitlines():
        world.talk.say(f"    {line}")
    if run.returncode == _NOT_ASKED:
        raise Refused(
            Problem(
                "the release serves, and the doctor could not ask, for what is said above",
                f"mend that, then make doctor ENV={world.environment}",
            )
        )
    if run.returncode:
        raise Refused(
            Problem(
                "the release serves, and the doctor found what is marked WRONG above",
                f"mend it as each line says, then make doctor ENV={world.environment}",
            )
        )
    return None
