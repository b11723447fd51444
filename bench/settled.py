"""Open orders in numbers, and the news that one of them is paid: what P3 and P9 settle. No provider is asked for invoices."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.system.system import System

_FIRST_PERSON = 50_000_000
_PRICE, _AMOUNT = 14900, "149"
_AT_ONCE = 5_000
"""Orders of one statement: many more would take longer than a statement may."""

# As the bot opens them, with the invoice that Crypto Pay would have made: its number is the order's.
_ORDERS = """
with people as (
    insert into accounts (telegram_id, first_name, language, language_chosen)
    select :person + n, 'Anna', 'en', false from generate_series(cast(:first as bigint), cast(:last as bigint)) as n
    returning id, telegram_id
)
insert into orders (account_id, kind, tariff, period_days, list_price, price, currency, value, provider, expires_at, invoice_id, invoice_url)
select id, 'subscription', 'basic', 30, :price, :price, 'RUB', :price, 'cryptobot', atlas.now() + interval '1 hour',
       cast(telegram_id - :person as text), 'https://pay.example/' || cast(telegram_id - :person as text)
from people
"""


async def open_orders(system: System, first: int, count: int) -> None:
    """So many orders of as many new customers, whose invoices have the numbers from `first` on."""
    for some in range(first, first + count, _AT_ONCE):
        last = min(some + _AT_ONCE, first + count) - 1
        await system.sql(_ORDERS, person=_FIRST_PERSON, first=some, last=last, price=_PRICE)
    await system.sql("analyze accounts, orders")


def body(number: int) -> bytes:
    """What Crypto Pay sends of a paid invoice."""
    invoice = {
        "invoice_id": number,
        "status": "paid",
        "currency_type": "fiat",
        "fiat": "RUB",
        "amount": _AMOUNT,
        "paid_asset": "USDT",
        "paid_amount": "1.8625",
        "paid_fiat_rate": "80.00",
        "fee_asset": "USDT",
        "fee_amount": "0.055875",
        "paid_at": "2026-11-30T12:00:00.000Z",
    }
    told = {"update_id": number, "update_type": "invoice_paid", "request_date": invoice["paid_at"], "payload": invoice}
    return json.dumps(told).encode()


def signature(token: str, told: bytes) -> dict[str, str]:
    """The header that proves it."""
    key = hashlib.sha256(token.encode()).digest()
    return {"crypto-pay-api-signature": hmac.new(key, told, hashlib.sha256).hexdigest()}
