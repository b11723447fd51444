"""What is wrong, with what mends it: all of it at once, before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that stops the command.

    Attributes:
        what: what is wrong, a sentence without a secret's value.
        mend: the command, or the words, that mend it.
    """

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}\n      -> {self.mend}"


class Refused(Exception):
    """The command ends here; what it did so far stays and is found again by the next run.

    Attributes:
        problems: why, every one that is known.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Declined(Exception):
    """The person said no; nothing of this step was changed."""
