"""Queries the bot must answer: clicks and pre-checkouts. Each can be answered once and only in time."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.telegram.protocol.errors import ApiError, bad_request

if TYPE_CHECKING:
    from sandbox.stand_in.clock import Clock


@dataclass(frozen=True)
class Answer:
    """What a user saw after a click: a toast, an alert, or, with an empty text, only the end of the spinner.

    `query_id` names the click: the id it was first sent with.
    """

    query_id: str
    text: str = ""
    show_alert: bool = False
    url: str = ""


def too_late() -> ApiError:
    """The server's one text for an unknown, answered or expired query."""
    return bad_request("query is too old and response timeout expired or query ID is invalid")


class Queries:
    """Open queries of one kind: whose each is, and until when it can be answered (seconds of the sandbox's clock)."""

    def __init__(self, clock: Clock, deadline: float) -> None:
        self._clock = clock
        self.deadline = deadline
        self._open: dict[str, tuple[int, float]] = {}

    def ask(self, user_id: int, query_id: str = "") -> str:
        """A new open query; the answer is its id."""
        query_id = query_id or str(secrets.randbits(62) | 1 << 62)
        self._open[query_id] = (user_id, self._clock.now().timestamp() + self.deadline)
        return query_id

    def answer(self, query_id: str) -> int:
        """Close a query; the answer is the id of the user who asked.

        Raises:
            ApiError: unknown, answered before, or too old.
        """
        user_id, until = self._open.pop(query_id, (0, 0.0))
        if until <= self._clock.now().timestamp():
            raise too_late()
        return user_id
