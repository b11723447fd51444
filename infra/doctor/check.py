"""What a check is, and what it may say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from infra.doctor.deployment import Deployment

TIMEOUT_S = 12.0
"""What a check may take by itself, waiting for a connection of the doctor's own included."""


class State(StrEnum):
    """What a line of the answer begins with."""

    OK = "ok"
    WRONG = "WRONG"
    NOT_CHECKED = "not checked"


class WrongError(Exception):
    """The thing is not as it must be; each argument is one problem, in words, without any secret."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem."""
        return tuple(str(one) for one in self.args)


class NotCheckedError(Exception):
    """It can't be looked at here; the text says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at.

    Attributes:
        name: kebab-case, unique.
        part: the acceptance id that proves it is `N-60.<part>`; a subject's checks have one.
        subject: what it belongs to; lines are grouped by it.
        asks: what is so when it is well, in a few words.
        customers: what it means for customers when it is not.
        mend: what to do then, in a sentence.
        page: the runbook, or a place on docs/doctor.md, below docs/.
        look: looks; says what it saw, in a few words or none. Raises WrongError, NotCheckedError.
        after: names of checks without which this one could say nothing.
        timeout_s: how long `look` may take; longer is wrong, too.
    """

    name: str
    part: str
    subject: str
    asks: str
    customers: str
    mend: str
    page: str
    look: Callable[[Deployment], Awaitable[str]]
    after: tuple[str, ...] = ()
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one check: `said` is what it saw when it is ok, or why it was not made; `seconds` is what it took."""

    check: Check
    state: State
    problems: tuple[str, ...] = ()
    said: str = ""
    seconds: float = 0.0


def insist(problems: list[str]) -> None:
    """Nothing when there is no problem.

    Raises:
        WrongError: there is.
    """
    if problems:
        raise WrongError(*problems)
