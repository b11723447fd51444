"""A finding with less around it: fewer customers, fewer days, fewer kinds of fault, as long as the same check finds something."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulation.run import Outcome, Plan

_LEAST_DAYS = 0.5


def _smaller(plan: Plan, outcome: Outcome) -> Iterator[Plan]:
    """Plans with less, the boldest first. What customers draw does not depend on how many they are."""
    ends = outcome.at_s / 86_400
    if plan.customers > 1:
        yield replace(plan, customers=max(1, plan.customers // 2))
        yield replace(plan, customers=plan.customers - 1)
    if ends + _LEAST_DAYS < plan.days:
        yield replace(plan, days=ends + _LEAST_DAYS)
    if plan.severity:
        yield replace(plan, severity=0.0)
        yield replace(plan, severity=plan.severity / 2)


def shrunk(outcome: Outcome, run: Callable[[Plan], Outcome], most: int = 20) -> Outcome:
    """The smallest run that still finds it, of at most so many tries.

    Args:
        outcome: that found something.
        run: runs a plan.
        most: tries.
    """
    checks = {one.check for one in outcome.found}
    tries, best = 0, outcome
    progress = True
    while progress and tries < most:
        progress = False
        for plan in _smaller(best.plan, best):
            if tries == most:
                break
            tries += 1
            tried = run(plan)
            if checks & {one.check for one in tried.found}:
                best, progress = tried, True
                break
    return best
