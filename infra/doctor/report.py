"""What the doctor says: lines for a person, JSON for a machine."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING

from infra.doctor.check import State
from infra.doctor.examine import by_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra.doctor.check import Finding

PAGES = "docs"
_STATE_WIDTH, _NAME_WIDTH = 12, 24
_SHORT = 60
"""Characters of a reason that is said at each check that has it; a longer one is said once."""


def lines(name: str, findings: Sequence[Finding], seconds: float) -> Iterator[str]:
    """Each check a line, under its subject; what is wrong with what it means and how it is mended."""
    yield f"Atlas, {name}"
    told: set[str] = set()
    for subject, group in groupby(findings, lambda one: one.check.subject):
        yield ""
        yield subject
        for finding in group:
            yield from _of(finding, repeated=finding.said in told and len(finding.said) > _SHORT)
            told.add(finding.said)
    count = {state: len(found) for state, found in by_state(findings).items()}
    yield ""
    yield (
        f"{count[State.OK]} ok, {count[State.WRONG]} wrong, {count[State.NOT_CHECKED]} not checked, in {seconds:.1f} s"
    )


def _of(finding: Finding, *, repeated: bool) -> Iterator[str]:
    check = finding.check
    head = f"  {finding.state:<{_STATE_WIDTH}}{check.name:<{_NAME_WIDTH}}"
    if finding.state is not State.WRONG:
        said = "as above" if repeated else finding.said
        yield f"{head}{check.asks}" + (f" ({said})" if said else "")
        return
    yield f"{head}{finding.problems[0]}"
    margin = " " * (2 + _STATE_WIDTH + _NAME_WIDTH)
    for problem in finding.problems[1:]:
        yield f"{margin}{problem}"
    yield f"{margin}Customers: {check.customers}"
    yield f"{margin}Mend: {check.mend} {PAGES}/{check.page}"


def as_json(name: str, findings: Sequence[Finding], seconds: float) -> str:
    """The same for machines."""
    return json.dumps(
        {
            "environment": name,
            "ok": not by_state(findings)[State.WRONG],
            "seconds": round(seconds, 2),
            "checks": [
                {
                    "name": one.check.name,
                    "subject": one.check.subject,
                    "state": str(one.state),
                    "asks": one.check.asks,
                    "problems": list(one.problems),
                    "said": one.said,
                    "customers": one.check.customers,
                    "mend": one.check.mend,
                    "page": f"{PAGES}/{one.check.page}",
                    "seconds": round(one.seconds, 3),
                }
                for one in findings
            ],
        },
        indent=1,
    )
