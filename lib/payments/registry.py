"""Which providers there are: one line each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lib.domain.settlement import Event, StoredEvent
from lib.payments import cryptopay

if TYPE_CHECKING:
    from collections.abc import Callable


def _cryptopay_event(stored: StoredEvent) -> Event:
    if stored.via == "webhook":
        return cryptopay.read_webhook(stored.body, stored.correlation_id)
    return cryptopay.event_of(json.loads(stored.body), stored.body, stored.via, stored.correlation_id)


_READERS: dict[str, Callable[[StoredEvent], Event]] = {
    cryptopay.NAME: _cryptopay_event,
}


def read_again(stored: StoredEvent) -> Event:
    """The event of a stored body, by the reader of its provider.

    A provider that is not (or no longer) known gives an event without money: recorded as unmatched, for a person.
    """
    reader = _READERS.get(stored.provider)
    if reader is None:
        return Event(
            stored.provider,
            stored.external_id,
            stored.body,
            stored.via,
            stored.correlation_id,
            None,
            "unknown provider",
        )
    return reader(stored)
