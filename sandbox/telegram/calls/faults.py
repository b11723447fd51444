"""What goes wrong with calls of the Bot API on purpose: the next ones, and a share of all while it is on."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from sandbox.telegram.calls.refusals import draw, may_be_refused
from sandbox.telegram.protocol.errors import ApiError, too_many_requests

HANG: Final = "hang"
_FLOODED_FOR_S: Final = 1


@dataclass
class Fault:
    """What a call meets. `executed`: it takes effect, and only its answer is lost. `method` `*` is any."""

    method: str
    code: int | str
    refusal: ApiError
    times: int = 1
    executed: bool = False


@dataclass
class CallFaults:
    """All of them; nothing goes wrong unless asked for.

    Attributes:
        flooded: share of calls that are answered 429 with a second to wait and not executed.
        refused: share of calls that say something to a customer and are refused, with a documented text or an unknown one.
        slow_s: longest pause before an answer, and as long a one inside it, in real seconds; the call takes effect before both.
        dice: draws; seed it to have a run again.
    """

    flooded: float = 0.0
    refused: float = 0.0
    slow_s: float = 0.0
    dice: random.Random = field(default_factory=random.Random)
    _next: list[Fault] = field(default_factory=list)

    def fail_next(
        self,
        method: str,
        code: int | str,
        description: str | None,
        *,
        retry_after: int | None,
        times: int,
        executed: bool,
    ) -> None:
        """Answer the next calls of a method with a failure; see `Telegram.fail_next`."""
        parameters = None if retry_after is None else {"retry_after": retry_after}
        described = description or _default_description(code, retry_after)
        refusal = ApiError(0 if code == HANG else int(code), described, parameters)
        self._next.append(Fault(method.lower(), code, refusal, times, executed))

    def forget_failures(self) -> None:
        """Let none of what was asked for fail any more."""
        self._next.clear()

    def of_next(self, method: str) -> Fault | None:
        """What this call meets; `method` in small letters."""
        for fault in self._next:
            if fault.method in {method, "*"}:
                fault.times -= 1
                if fault.times <= 0:
                    self._next.remove(fault)
                return fault
        if self.flooded and self.dice.random() < self.flooded:
            return Fault(method, 429, too_many_requests(_FLOODED_FOR_S))
        if self.refused and may_be_refused(method) and self.dice.random() < self.refused:
            refusal = draw(method, self.dice)
            return Fault(method, refusal.code, refusal.error())
        return None


def _default_description(code: int | str, retry_after: int | None) -> str:
    if retry_after is not None:
        return f"Too Many Requests: retry after {retry_after}"
    return "Internal Server Error" if code == 500 else f"Error {code}"  # noqa: PLR2004 - HTTP's own number
