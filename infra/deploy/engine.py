"""How a command goes: step by step, each looks first, says what it will change, asks, changes; then the next.

Nothing is remembered between steps but what is in the world (the cloud, the state, the two files of variables), so a command that was
stopped, by whatever, is started again: what is done is found done.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from lib import failpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.deploy.world import World


@dataclass(frozen=True)
class Change:
    """What a step is about to do.

    Attributes:
        lines: in words.
        carry_out: does it.
        asks: the person must agree; not so where what is done can be done again without a trace (a download, a wait).
    """

    lines: Sequence[str]
    carry_out: Callable[[], None] = field(repr=False)
    asks: bool = True


class Step(Protocol):
    """A module of this package."""

    NAME: str
    TITLE: str

    def look(self, world: World) -> Change | None:
        """What has to change; None: all is as it should be. Looking changes nothing.

        Raises:
            infra.deploy.problems.Refused: it can't be done; everything that is wrong is in it.
        """


def run(command: str, steps: Sequence[Step], world: World) -> None:
    """Every step in its order.

    Raises:
        Refused, Declined, and what the steps' ports raise: the command ended at the step that was said last.
    """
    try:
        for number, step in enumerate(steps, 1):
            started = time.monotonic()
            world.talk.say(f"[{number}/{len(steps)}] {step.TITLE}")
            _take(step, world, started)
            failpoints.reach(f"{command}.{step.NAME}")
    finally:
        world.discard_plans()


def _take(step: Step, world: World, started: float) -> None:
    change = step.look(world)
    if change is None:
        world.talk.say(f"    as it should be ({time.monotonic() - started:.1f} s)")
        return
    for line in change.lines:
        world.talk.say(f"    {line}")
    if change.asks:
        world.talk.agree("Go on?")
    change.carry_out()
    world.talk.say(f"    done ({time.monotonic() - started:.1f} s)")
