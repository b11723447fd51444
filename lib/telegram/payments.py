"""`pre_checkout_query`, `successful_payment` and `refunded_payment`: raw JSON, no aiogram, a reserved thread (Telegram waits 10 s).

Neither Stars nor cards are offered yet, so a checkout is refused before the customer pays, and a charge that comes all the
same is recorded as unmatched: money that arrives is never refused.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from lib import json_reader
from lib.db import idempotent
from lib.domain import accounts, inbox, updates
from lib.domain.settlement import Event

if TYPE_CHECKING:
    from lib.db import Transaction
    from lib.domain.pricelist import PriceList
    from lib.domain.settlement import Received
    from lib.domain.updates import Incoming

_STARS = "XTR"
_MONEY = (("successful_payment", "charge"), ("refunded_payment", "refund"))
_LONGEST_KEY = 512
_REFUSAL = {
    "ru": "Этот счёт больше не действует. Откройте /buy и выберите тариф заново.",
    "en": "This invoice is no longer valid. Open /buy and pick a plan again.",
}


def read_charge(update: dict[str, Any], incoming: Incoming) -> Event | None:
    """The charge an update tells of, or the refund of one, in whatever kind of message, or None.

    Its key is `telegram_payment_charge_id`, the same for a charge and its refund, which are told apart by their kind.
    """
    found = next(
        (
            (message, message[name], kind)
            for message in update.values()
            if isinstance(message, dict)
            for name, kind in _MONEY
            if isinstance(message.get(name), dict) and message[name]
        ),
        None,
    )
    if found is None:
        return None
    message, payment, kind = found
    provider = "stars" if payment.get("currency") == _STARS else "card"
    body = json.dumps(update).encode()
    return Event(
        provider,
        _key(payment),
        body,
        "update",
        incoming.correlation_id,
        None,
        "method not offered",
        kind=kind,
        payer_telegram_id=_payer(message),
    )


def _payer(message: dict[str, Any]) -> int | None:
    """The person who paid; None when the message does not name one."""
    sender = message.get("from")
    return json_reader.id_or_zero(sender.get("id")) or None if isinstance(sender, dict) else None


def _key(payment: dict[str, Any]) -> str:
    """The charge's id, or a digest that tells it apart as well.

    Digested is what is too long for an index or can't be held by Postgres, and the whole payment when it has no id. The body keeps
    all of it.
    """
    charge_id = payment.get("telegram_payment_charge_id")
    if not isinstance(charge_id, str) or not charge_id:
        charge_id = json.dumps(payment, sort_keys=True)
    elif len(charge_id) <= _LONGEST_KEY and json_reader.is_storable(charge_id):
        return charge_id
    return f"sha256:{hashlib.sha256(charge_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


@idempotent
def record_charge(tx: Transaction, incoming: Incoming, charge: Event, prices: PriceList) -> Received | None:
    """Record a charge and finish its update, in one transaction; None when the update was done before."""
    if updates.claim(tx, incoming).done:
        return None
    received = inbox.receive(tx, charge, prices)
    updates.finish(tx, incoming.update_id, [])
    return received


@idempotent
def refuse_checkout(tx: Transaction, incoming: Incoming, query: Any) -> list[dict[str, Any]]:
    """Answer a pre-checkout: there is no open order it could be for."""
    claimed = updates.claim(tx, incoming)
    if claimed.done:
        return claimed.reply or []
    reply: list[dict[str, Any]] = []
    if isinstance(query, dict) and isinstance(query.get("id"), str):
        sender = query.get("from")
        code = sender.get("language_code") if isinstance(sender, dict) else None
        language = accounts.language_told(code if isinstance(code, str) else None) or accounts.DEFAULT_LANGUAGE
        reply.append(
            {
                "method": "answerPreCheckoutQuery",
                "pre_checkout_query_id": query["id"],
                "ok": False,
                "error_message": _REFUSAL[language],
            }
        )
    updates.finish(tx, incoming.update_id, reply)
    return reply
