"""A shop on aiocryptopay: everything it can do, done for real against the address it is given."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiocryptopay import AioCryptoPay
from aiocryptopay.exceptions import CodeErrorFactory
from aiocryptopay.models.update import Update

from tests.sandbox.cryptopay.clients.talk import TOKEN, URL, hear, tell


def told(invoice: Any) -> dict[str, Any]:
    return {
        "id": invoice.invoice_id,
        "currency": invoice.fiat or invoice.asset,
        "amount": invoice.amount,
        "status": invoice.status,
        "url": invoice.bot_invoice_url,
        "paid": [invoice.paid_asset, invoice.paid_amount, invoice.fee_amount],
        "payload": invoice.payload,
    }


async def refusal(call: Any) -> list[Any]:
    try:
        await call
    except CodeErrorFactory as error:
        return [error.code, error.name]
    return []


async def shop(client: Any) -> None:
    me = await client.get_me()
    crypto = await client.create_invoice(2.6, "TON", payload="crypto")
    fiat = await client.create_invoice(
        299.5,
        currency_type="fiat",
        fiat="RUB",
        accepted_assets=["USDT", "TON"],
        description="Тариф «plus» / 30",
        payload="fiat",
        expires_in=1800,
    )
    tell(
        bot=me.payment_processing_bot_username,
        crypto=told(crypto),
        fiat=told(fiat),
        active=[invoice.invoice_id for invoice in await client.get_invoices(status="active")],
        transfer_off=await refusal(client.transfer(7, "TON", 1, "s-1")),
    )

    heard = hear()
    verified = client.check_signature(heard["body"], heard["signature"])
    forged = client.check_signature(heard["body"].replace('"paid"', '"PAID"'), heard["signature"])
    extra = await client.create_invoice(1, "TON")
    deleted = await client.delete_invoice(extra.invoice_id)
    check = await client.create_check("TON", 0.5)
    balance = await client.get_balance()
    sent = await client.transfer(7, "TON", 1, "s-1", "thanks")
    again = await client.transfer(7, "TON", 1, "s-1", "thanks")
    rates = await client.get_exchange_rates()
    stats = await client.get_stats()
    tell(
        webhook=[told(Update(**json.loads(heard["body"])).payload)],
        verified=verified,
        forged=forged,
        crypto=told(await client.get_invoices(invoice_ids=crypto.invoice_id)),
        fiat=told(await client.get_invoices(invoice_ids=fiat.invoice_id)),
        paid=[invoice.invoice_id for invoice in await client.get_invoices(status="paid")],
        deleted=deleted,
        gone=await client.get_invoices(invoice_ids=[extra.invoice_id]) is None,
        balance={row.currency_code: [row.available, row.onhold] for row in balance},
        rate=next(row.rate for row in rates if (row.source, row.target) == ("TON", "RUB")),
        currencies=[row.code for row in await client.get_currencies()],
        sent=[sent.transfer_id, again.transfer_id, sent.amount],
        transfers=[transfer.transfer_id for transfer in await client.get_transfers()],
        check=[check.amount, check.status],
        checks=[one.check_id for one in await client.get_checks()],
        check_deleted=await client.delete_check(check.check_id),
        stats=[stats.created_invoice_count, stats.paid_invoice_count, stats.volume],
    )

    hear()
    suspended = await refusal(client.get_me())
    async with AioCryptoPay("1:wrong", URL) as stranger:
        tell(suspended=suspended, wrong_token=await refusal(stranger.get_balance()))


async def main() -> None:
    async with AioCryptoPay(TOKEN, URL) as client:  # built in a running loop, as it wants
        await shop(client)


asyncio.run(main())
