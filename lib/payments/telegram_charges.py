"""What Telegram tells of money, by Stars and by card: one reader of its messages.

The key of Stars is `telegram_payment_charge_id`, which Telegram's own list has as well; of a card it is the id at its provider, which the
provider's statement has and Telegram's id it has not (decision 0029).

Plain Python: Telegram's updates of money are read without aiogram.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lib import currencies, json_reader
from lib.domain.settlement import Event, Money

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lib.domain.inbox import StoredEvent

STARS, CARD = "stars", "card"
VIA = "update"
_STAR = "XTR"
_MONEY = (("successful_payment", "charge"), ("refunded_payment", "refund"))
_LONGEST_KEY = 512
_NO_MESSAGE = "not a message about money"


@dataclass(frozen=True, slots=True)
class _Stored:
    body: bytes
    correlation_id: str
    via: str


def provider_of(currency: object) -> str:
    """Whose money an amount in this currency is: Stars are Telegram's own, everything else comes by card."""
    return STARS if currency == _STAR else CARD


def read_update(update: Mapping[str, Any], body: bytes, correlation_id: str, via: str = VIA) -> Event | None:
    """The charge that an update tells of, or the refund of one, in whatever kind of message; None when it tells of neither.

    A charge and its refund have one key; they are told apart by their kind.
    """
    for message in update.values():
        if isinstance(message, dict):
            for name, kind in _MONEY:
                payment = message.get(name)
                if isinstance(payment, dict) and payment:
                    return _event(message, payment, kind, _Stored(body, correlation_id, via))
    return None


def read(stored: StoredEvent) -> Event:
    """The news of a stored update, as it was when it came; of whatever else was stored, an event without money."""
    try:
        event = read_update(json_reader.read_object(stored.body), stored.body, stored.correlation_id, stored.via)
        reason = _NO_MESSAGE
    except json_reader.UnreadableJson as error:
        event, reason = None, str(error)
    return event or unreadable(stored, reason)


def unreadable(stored: StoredEvent, reason: str) -> Event:
    """The event of a body that says nothing which could be worked with."""
    return Event(
        stored.provider,
        stored.external_id,
        stored.body,
        stored.via,
        stored.correlation_id,
        None,
        reason,
        kind=stored.kind,
    )


def purchase_id(payload: object) -> UUID | None:
    """Our purchase id, as invoices carry it; None for whatever else a payload is."""
    try:
        return UUID(payload) if isinstance(payload, str) else None
    except ValueError:
        return None


def key(charge_id: object, said: Mapping[str, Any]) -> str:
    """The charge's id, or a digest that tells it apart as well.

    Digested is what is too long for an index or can't be held by Postgres, and all that was said when there is no id. The body keeps
    all of it.
    """
    if not isinstance(charge_id, str) or not charge_id:
        charge_id = json.dumps(said, sort_keys=True)
    elif len(charge_id) <= _LONGEST_KEY and json_reader.is_storable(charge_id):
        return charge_id
    return f"sha256:{hashlib.sha256(charge_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def charged(amount: object, currency: object, payload: object) -> tuple[Money | None, str]:
    """What was charged, in minor units of prices, and why it is no money that could be booked if it is none."""
    if not isinstance(currency, str) or not json_reader.id_or_zero(amount):
        return None, "no amount or currency"
    if currency not in currencies.ALL:
        return None, "a currency that we don't know"
    return Money(json_reader.id_or_zero(amount), currency, "", purchase_id(payload)), ""


def _event(message: Mapping[str, Any], payment: Mapping[str, Any], kind: str, stored: _Stored) -> Event:
    provider = provider_of(payment.get("currency"))
    said = payment.get("provider_payment_charge_id") if provider == CARD else None
    charge_id = key(said if isinstance(said, str) and said else payment.get("telegram_payment_charge_id"), payment)
    money, reason = charged(payment.get("total_amount"), payment.get("currency"), payment.get("invoice_payload"))
    if money is not None and kind == "refund":
        money = replace(money, purchase_id=None)  # a refund is of its charge, whatever else is said
    return Event(
        provider,
        charge_id,
        stored.body,
        stored.via,
        stored.correlation_id,
        money,
        reason,
        kind=kind,
        payer_telegram_id=_payer(message),
        charge_id=charge_id if kind == "refund" else "",
    )


def _payer(message: Mapping[str, Any]) -> int | None:
    """The person who paid; None when the message does not name one."""
    sender = message.get("from")
    return json_reader.id_or_zero(sender.get("id")) or None if isinstance(sender, dict) else None
