"""Which providers there are: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib import json_reader
from lib.domain.settlement import Event
from lib.payments import cryptopay

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.domain.inbox import StoredEvent


def _cryptopay_event(stored: StoredEvent) -> Event:
    if stored.via == "webhook":
        return cryptopay.read_webhook(stored.body, stored.correlation_id)
    return cryptopay.event_of(
        json_reader.read_object(stored.body, exact=True), stored.body, stored.via, stored.correlation_id
    )


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
