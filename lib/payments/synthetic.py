"""Provider `test`: money that a command says came, for the purchase that proves a deploy. None of production's (`registry`).

It has no invoices and no page, so customers are never offered it; its clearing account holds nothing real.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lib import currencies, json_reader
from lib.domain.settlement import Event, Money

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from lib.domain.inbox import StoredEvent

NAME = "test"
VIA = "command"
_UNREADABLE = "not what the command writes"


def charge(charge_id: str, *, purchase_id: UUID, amount: int, currency: str, correlation_id: str) -> Event:
    """The news that so much came for a purchase; `amount` in minor units of prices. One charge id is one charge."""
    said = {"charge_id": charge_id, "purchase_id": str(purchase_id), "amount": amount, "currency": currency}
    return _event(json.dumps(said).encode(), charge_id, VIA, correlation_id)


def read(stored: StoredEvent) -> Event:
    """See `Provider.read`."""
    return _event(stored.body, stored.external_id, stored.via, stored.correlation_id)


def connect(_http: Callable[[], httpx.AsyncClient]) -> None:
    """See `Provider.connect`: there is nothing to ask."""


def _event(body: bytes, charge_id: str, via: str, correlation_id: str) -> Event:
    try:
        money = _money(json_reader.read_object(body))
    except json_reader.UnreadableJson as error:
        return Event(NAME, charge_id, body, via, correlation_id, None, str(error))
    return Event(NAME, charge_id, body, via, correlation_id, money, "" if money else _UNREADABLE)


def _money(said: dict[str, Any]) -> Money | None:
    charge_id, amount, currency = (
        said.get("charge_id"),
        json_reader.id_or_zero(said.get("amount")),
        said.get("currency"),
    )
    if not isinstance(charge_id, str) or not amount or not isinstance(currency, str) or currency not in currencies.ALL:
        return None
    try:
        purchase_id = UUID(str(said.get("purchase_id")))
    except ValueError:
        return None
    return Money(amount, currency, charge_id, purchase_id)
