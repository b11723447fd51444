"""`pre_checkout_query` and `successful_payment`: raw JSON, no aiogram, a reserved thread (Telegram waits 10 s).

Neither Stars nor cards are offered yet, so a checkout is refused before anybody pays, and a charge that comes all the
same is recorded as unmatched: money that arrives is never refused.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from lib.db import keyed
from lib.domain import settlement, updates
from lib.domain.settlement import Event
from lib.settings import pricelist

if TYPE_CHECKING:
    from lib.db import Transaction
    from lib.domain.settlement import Received
    from lib.domain.updates import Incoming

_STARS = "XTR"
_LONGEST_KEY = 512
_REFUSAL = {
    "ru": "Этот счёт больше не действует. Откройте /buy и выберите тариф заново.",
    "en": "This invoice is no longer valid. Open /buy and pick a plan again.",
}


def read_charge(update: dict[str, Any], incoming: Incoming) -> Event | None:
    """The charge an update tells of, or None. Its key is `telegram_payment_charge_id`, as text of any length."""
    message = update.get("message")
    payment = message.get("successful_payment") if isinstance(message, dict) else None
    if not isinstance(payment, dict):
        return None
    charge_id = payment.get("telegram_payment_charge_id")
    if not isinstance(charge_id, str) or not charge_id:
        return None
    if len(charge_id) > _LONGEST_KEY:
        # longer than an index takes; its digest tells it apart as well, and the body keeps all of it
        charge_id = f"sha256:{hashlib.sha256(charge_id.encode('utf-8', 'surrogatepass')).hexdigest()}"
    provider = "stars" if payment.get("currency") == _STARS else "card"
    return Event(
        provider, charge_id, json.dumps(update).encode(), "update", incoming.correlation_id, None, "method not offered"
    )


@keyed
def record_charge(tx: Transaction, incoming: Incoming, charge: Event) -> Received | None:
    """Record a charge and finish its update, in one transaction; None when the update was done before."""
    if updates.claim(tx, incoming).done:
        return None
    received = settlement.receive(tx, charge, pricelist.load())
    updates.finish(tx, incoming.update_id, [])
    return received


@keyed
def refuse_checkout(tx: Transaction, incoming: Incoming, query: Any) -> list[dict[str, Any]]:
    """Answer a pre-checkout: there is no open order it could be for."""
    claimed = updates.claim(tx, incoming)
    if claimed.done:
        return claimed.reply or []
    reply: list[dict[str, Any]] = []
    if isinstance(query, dict) and isinstance(query.get("id"), str):
        sender = query.get("from")
        code = str(sender.get("language_code") or "ru") if isinstance(sender, dict) else "ru"
        reply.append(
            {
                "method": "answerPreCheckoutQuery",
                "pre_checkout_query_id": query["id"],
                "ok": False,
                "error_message": _REFUSAL["ru" if code.startswith("ru") else "en"],
            }
        )
    updates.finish(tx, incoming.update_id, reply)
    return reply
