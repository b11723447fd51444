"""Telegram's last question before it charges: may this order be paid now (product.md#payment-methods)?

It moves no money and holds nothing back. What comes although it was refused, or after its minute, still settles.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lib.domain import flags

if TYPE_CHECKING:
    from uuid import UUID

    from lib.db import Transaction

LEASE_S = 60
"""So long one accepted checkout keeps every other one of its order out: two at once could both be charged."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """What Telegram asks about.

    Attributes:
        query_id: Telegram's; a question that is delivered again carries the same.
        provider: whose money it would be.
        purchase_id: ours, as the invoice carried it; None when it carried something else.
        payer_telegram_id: who pressed Pay.
        amount: minor units of `currency`, tips included.
    """

    query_id: str
    provider: str
    purchase_id: UUID | None
    payer_telegram_id: int
    amount: int
    currency: str


class Refusal(StrEnum):
    """Why a checkout is refused: the customer is told what to do about it."""

    PAUSED = "paused"
    BANNED = "banned"
    UNKNOWN = "unknown"
    NOT_YOURS = "not-yours"
    PAID = "paid"
    BUSY = "busy"
    OVER = "over"
    AMOUNT = "amount"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer.

    Attributes:
        refusal: None: go on.
        language: of the customer, where they are known.
    """

    refusal: Refusal | None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """The order as it is, and how it stands to the question. A code that the price was made by must still be reserved."""

    id: int
    is_payers: bool
    is_banned: bool
    status: str
    in_time: bool
    as_agreed: bool
    code_holds: bool
    accepted_before: bool
    other_accepted: bool


_LANGUAGE = "select language from accounts where telegram_id = :telegram_id"

# Locked, so that two questions about one order, or a question and a settlement, come one after the other.
_FIND = """
select o.id, a.telegram_id is not distinct from cast(:payer as bigint) as is_payers,
       a.banned_at is not null as is_banned, o.status,
       o.expires_at > atlas.now() as in_time,
       o.price = cast(:amount as bigint) and o.currency = :currency as as_agreed,
       o.discount is distinct from 'promo'
           or exists (select from promo_uses u where u.order_id = o.id and u.status = 'reserved') as code_holds,
       coalesce(o.checkout_until > atlas.now() and o.checkout_query_id = :query_id, false) as accepted_before,
       coalesce(o.checkout_until > atlas.now() and o.checkout_query_id <> :query_id, false) as other_accepted
from orders o join accounts a on a.id = o.account_id
where o.provider = :provider and o.purchase_id = cast(:purchase_id as uuid) and o.parent_id is null
for no key update of o
"""

_ACCEPT = """
update orders set checkout_query_id = :query_id, checkout_until = atlas.now() + make_interval(secs => :lease_s) where id = :id
"""


def decide(tx: Transaction, asked: Checkout) -> Verdict:
    """Accept a checkout of an open order of its owner, at the amount agreed, one at a time for `LEASE_S`; else say why not.

    A question that was accepted is accepted again when it is delivered again, without a new minute.
    """
    language = tx.value(_LANGUAGE, telegram_id=asked.payer_telegram_id)
    order = tx.row(
        _Asked,
        _FIND,
        payer=asked.payer_telegram_id,
        amount=asked.amount,
        currency=asked.currency,
        query_id=asked.query_id,
        provider=asked.provider,
        purchase_id=asked.purchase_id,
    )
    refusal = _refusal(tx, order)
    if refusal is None and order is not None and not order.accepted_before:
        tx.execute(_ACCEPT, id=order.id, query_id=asked.query_id, lease_s=LEASE_S)
    return Verdict(refusal, language)


def _refusal(tx: Transaction, order: _Asked | None) -> Refusal | None:
    """The first that applies: what the customer can do nothing about comes first."""
    if order is None:
        return Refusal.UNKNOWN
    found = (
        (not order.is_payers, Refusal.NOT_YOURS),
        (order.is_banned, Refusal.BANNED),
        (order.status == "paid", Refusal.PAID),
        (not order.as_agreed, Refusal.AMOUNT),
        (order.other_accepted, Refusal.BUSY),
        (not order.accepted_before and (order.status != "open" or not order.in_time), Refusal.OVER),
        (not order.accepted_before and not order.code_holds, Refusal.CODE),
    )
    if (refusal := next((why for applies, why in found if applies), None)) is not None or order.accepted_before:
        return refusal
    return None if flags.enabled(tx, flags.PAYMENTS) else Refusal.PAUSED
