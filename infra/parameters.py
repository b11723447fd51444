"""Words that several commands take: a number of a row or a person, the name under which something is done once, the reason why."""

from __future__ import annotations

import re

BIGGEST_ID = 2**63 - 1
LEAST_REASON, MOST_REASON = 10, 500
_NUMBER = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_ONCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:#-]{2,59}", re.ASCII)


def is_number(text: str, most: int = BIGGEST_ID) -> bool:
    """Whether it is a whole number from 1 to `most`, in plain digits."""
    return _NUMBER.fullmatch(text) is not None and int(text) <= most


def is_once(text: str) -> bool:
    """Whether it can name what is to be done once: 3 to 60 letters, digits and . _ : # -."""
    return _ONCE.fullmatch(text) is not None


def is_reason(text: str) -> bool:
    """Whether it is a line that the audit log keeps."""
    return LEAST_REASON <= len(text) <= MOST_REASON and text.isprintable()


def problems_of_reason(text: str) -> list[str]:
    """What is wrong with a reason, as a command tells it."""
    if is_reason(text):
        return []
    return [f"REASON must say in {LEAST_REASON} to {MOST_REASON} characters why; the audit log keeps it"]
