"""A shop on aiosend: everything it can do, done for real against the address it is given."""

from __future__ import annotations

import asyncio
from typing import Any

from aiosend import CryptoPay
from aiosend.client import Network
from aiosend.enums import Asset, CurrencyType, Fiat, InvoiceStatus
from aiosend.exceptions import APIError, SuspendedError

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
    except APIError as error:
        return [error.error.code, error.error.name]
    except SuspendedError:
        return [423]
    return []


async def shop(client: Any) -> None:
    me = await client.get_me()
    crypto = await client.create_invoice(2.6, Asset.TON, payload="crypto")
    fiat = await client.create_invoice(
        299.5,
        currency_type=CurrencyType.FIAT,
        fiat=Fiat.RUB,
        accepted_assets=[Asset.USDT, Asset.TON],
        description="Тариф «plus» / 30",
        payload="fiat",
        expires_in=1800,
    )
    tell(
        bot=me.payment_processing_bot_username,
        crypto=told(crypto),
        fiat=told(fiat),
        active=[invoice.invoice_id for invoice in await client.get_invoices(status=InvoiceStatus.ACTIVE)],
        transfer_off=await refusal(client.transfer(7, Asset.TON, 1, "s-1")),
    )

    heard = hear()
    events: list[Any] = []
    client.invoice_paid()(events.append)
    body, headers = heard["body"].encode(), {"crypto-pay-api-signature": heard["signature"]}
    verified = await client.feed_update(body, headers)
    forged = await client.feed_update(body.replace(b'"paid"', b'"PAID"'), headers)
    await crypto.update()
    extra = await client.create_invoice(1, Asset.TON)
    deleted = await extra.delete()
    check = await client.create_check(0.5, Asset.TON)
    balance = await client.get_balance()
    sent = await client.transfer(7, Asset.TON, 1, "s-1", "thanks")
    again = await client.transfer(7, Asset.TON, 1, "s-1", "thanks")
    rates = await client.get_exchange_rates()
    stats = await client.get_stats()
    tell(
        webhook=[told(event) for event in events],
        verified=verified,
        forged=forged,
        crypto=told(crypto),
        fiat=told(await client.get_invoice(fiat.invoice_id)),
        paid=[invoice.invoice_id for invoice in await client.get_invoices(status=InvoiceStatus.PAID)],
        deleted=deleted,
        gone=await client.get_invoice(extra.invoice_id) is None,
        balance={row.currency_code: [row.available, row.onhold] for row in balance},
        rate=next(row.rate for row in rates if (row.source, row.target) == ("TON", "RUB")),
        currencies=[row.code for row in await client.get_currencies()],
        sent=[sent.transfer_id, again.transfer_id, sent.amount],
        spend_ids=[transfer.spend_id for transfer in await client.get_transfers()],
        check=[check.amount, check.status],
        checks=[one.check_id for one in await client.get_checks()],
        check_deleted=await client.delete_check(check.check_id),
        stats=[stats.created_invoice_count, stats.paid_invoice_count, stats.volume],
    )

    hear()
    suspended = await refusal(client.get_me())
    # Not by its constructor: refused, that one asks the real service on the internet whose token it is.
    client._token = "1:wrong"
    tell(suspended=suspended, wrong_token=await refusal(client.get_balance()))


asyncio.run(shop(CryptoPay(TOKEN, Network("LOCAL", f"{URL}/api/{{method}}"))))
