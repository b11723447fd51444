"""`pre_checkout_query`, `successful_payment` and `refunded_payment`: raw JSON, no aiogram, a reserved thread (Telegram waits 10 s)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lib import json_reader
from lib.db import idempotent
from lib.domain import accounts, checkout, inbox, updates
from lib.domain.checkout import Checkout, Refusal, Verdict
from lib.payments import telegram_charges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lib.db import Transaction
    from lib.domain.pricelist import PriceList
    from lib.domain.settlement import Event, Received
    from lib.domain.updates import Incoming

_LONGEST_ID = 256

# Said in the app's own pay sheet, as plain text. Not in the catalogues of `lib/texts`: their reader is a package that this answer
# need not wait for.
REFUSALS: Mapping[Refusal, Mapping[str, str]] = {
    Refusal.PAUSED: {
        "ru": "Оплата временно приостановлена. Деньги не списаны, попробуйте позже.",
        "en": "Payments are paused for now. You were not charged, please try again later.",
    },
    Refusal.BANNED: {
        "ru": "Ваш аккаунт заблокирован, заказы не принимаются. Причина — в боте: /profile",
        "en": "Your account is banned and no orders are taken. The bot says why: /profile",
    },
    Refusal.UNKNOWN: {
        "ru": "Этот счёт больше не действует. Откройте /buy и выберите тариф заново.",
        "en": "This invoice is no longer valid. Open /buy and pick a plan again.",
    },
    Refusal.NOT_YOURS: {
        "ru": "Этот счёт выписан другому человеку. Откройте /buy, чтобы купить для себя.",
        "en": "This invoice was made for someone else. Open /buy to buy for yourself.",
    },
    Refusal.PAID: {
        "ru": "Этот счёт уже оплачен, второй раз платить не нужно. Что куплено, видно в /profile.",
        "en": "This invoice is paid already, there is no need to pay again. See /profile for what you have.",
    },
    Refusal.BUSY: {
        "ru": "Этот счёт уже оплачивается. Если оплата не прошла, попробуйте ещё раз через минуту.",
        "en": "This invoice is being paid already. If that did not go through, try again in a minute.",
    },
    Refusal.OVER: {
        "ru": "Срок этого счёта вышел. Деньги не списаны: откройте /buy и выберите заново.",
        "en": "This invoice has run out. You were not charged: open /buy and choose again.",
    },
    Refusal.AMOUNT: {
        "ru": "Сумма не та, на которую выписан счёт. Откройте /buy и выберите заново.",
        "en": "This is not the amount that the invoice was made for. Open /buy and choose again.",
    },
    Refusal.CODE: {
        "ru": "Промокод этого счёта больше не действует. Откройте /buy и выберите заново.",
        "en": "The promo code of this invoice is no longer valid. Open /buy and choose again.",
    },
}
"""What a customer whose checkout is refused reads: why, and what to do."""


def read_charge(update: dict[str, Any], incoming: Incoming) -> Event | None:
    """The charge an update tells of, or the refund of one, in whatever kind of message, or None."""
    return telegram_charges.read_update(update, json.dumps(update).encode(), incoming.correlation_id)


@idempotent
def record_charge(tx: Transaction, incoming: Incoming, charge: Event, prices: PriceList) -> Received | None:
    """Record a charge and finish its update, in one transaction; None when the update was done before."""
    if updates.claim(tx, incoming).done:
        return None
    received = inbox.receive(tx, charge, prices)
    updates.finish(tx, incoming.update_id, [])
    return received


def read_checkout(query: Any) -> Checkout | None:
    """What a pre-checkout asks about; None when it can't be answered, for it has no id that could be."""
    if not isinstance(query, dict):
        return None
    query_id, currency, sender = query.get("id"), query.get("currency"), query.get("from")
    if not isinstance(query_id, str) or not json_reader.is_storable(query_id) or not 0 < len(query_id) <= _LONGEST_ID:
        return None
    known = currency if isinstance(currency, str) and json_reader.is_storable(currency) else ""
    return Checkout(
        query_id,
        telegram_charges.provider_of(known),
        telegram_charges.purchase_id(query.get("invoice_payload")),
        json_reader.id_or_zero(sender.get("id")) if isinstance(sender, dict) else 0,
        json_reader.id_or_zero(query.get("total_amount")),
        known,
    )


@idempotent
def answer_checkout(tx: Transaction, incoming: Incoming, query: Any) -> list[dict[str, Any]]:
    """Decide on a pre-checkout and keep the answer with its update: the call to make, or none for what asks nothing."""
    claimed = updates.claim(tx, incoming)
    if claimed.done:
        return claimed.reply or []
    asked = read_checkout(query)
    reply = [] if asked is None else [_answer(asked, checkout.decide(tx, asked), query)]
    updates.finish(tx, incoming.update_id, reply)
    return reply


def _answer(asked: Checkout, verdict: Verdict, query: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "method": "answerPreCheckoutQuery",
        "pre_checkout_query_id": asked.query_id,
        "ok": verdict.refusal is None,
    }
    if verdict.refusal is not None:
        answer["error_message"] = REFUSALS[verdict.refusal][verdict.language or _language(query.get("from"))]
    return answer


def _language(sender: Any) -> str:
    code = sender.get("language_code") if isinstance(sender, dict) else None
    return accounts.language_told(code if isinstance(code, str) else None) or accounts.DEFAULT_LANGUAGE
