"""One way to say in the log what became of money, whichever source told of it (docs/runbooks, payment-*)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib import log

if TYPE_CHECKING:
    from lib.domain.settlement import Received

# An operator has to look: money that fits no order, that could not be settled, was paid twice, or of which something else is
# said than was settled.
_FOR_AN_OPERATOR = frozenset({"unmatched", "kept", "duplicate", "differs", "second_debit"})


def report(provider: str, via: str, received: Received) -> None:
    """Log `payment_<outcome>` after the commit it tells of."""
    unbooked = received.outcome == "settled" and received.reason  # paid for, but its side of the books stays open
    line = log.error if received.outcome in _FOR_AN_OPERATOR or unbooked else log.info
    line(
        f"payment_{received.outcome}",
        provider=provider,
        via=via,
        event_id=received.event_id,
        order_id=received.order_id,
        reason=received.reason,
        error=received.error,
    )
