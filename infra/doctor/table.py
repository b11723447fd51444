"""The table of docs/doctor.md, made of the list of checks: `python -m infra.doctor.table` prints it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from infra.doctor.registry import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterator


def table() -> Iterator[str]:
    """Its lines."""
    yield "| check | is ok when | page |"
    yield "|---|---|---|"
    subject = ""
    for check in CHECKS:
        if check.subject != subject:
            subject = check.subject
            yield f"| **{subject}** | | |"
        page, _, place = check.page.partition("#")
        link = f"#{place}" if page == "doctor.md" else check.page
        shown = place.replace("-", " ") or page.removeprefix("runbooks/").removesuffix(".md")
        yield f"| `{check.name}` | {check.asks} | [{shown}]({link}) |"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table())
