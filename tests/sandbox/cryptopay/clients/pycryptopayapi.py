"""A shop on pyCryptoPayAPI: everything it can do, done for real against the address it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyCryptoPayAPI import api, pyCryptoPayAPI, pyCryptoPayException
from pyCryptoPayAPI.webhooks import CryptoPayWebhookSignatureError

from tests.sandbox.cryptopay.clients.talk import TOKEN, URL, hear, tell

if TYPE_CHECKING:
    from collections.abc import Callable

api.MAIN_API_URL = f"{URL}/api/"


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


def refusal(call: Callable[[], Any]) -> list[Any]:
    try:
        call()
    except pyCryptoPayException as error:
        return [error.code, error.name]
    return []


def verified(client: Any, body: bytes, signature: str) -> bool:
    try:
        client.process_webhook(body, signature)
    except CryptoPayWebhookSignatureError:
        return False
    return True


def shop(client: Any) -> None:
    me = client.get_me()
    crypto = client.create_invoice("TON", "2.60", payload="crypto")
    fiat = client.create_invoice(
        currency_type="fiat",
        fiat="RUB",
        amount="299.50",
        accepted_assets="USDT,TON",
        description="Тариф «plus» / 30",
        payload="fiat",
        expires_in=1800,
    )
    tell(
        bot=me.payment_processing_bot_username,
        crypto=told(crypto),
        fiat=told(fiat),
        active=[invoice.invoice_id for invoice in client.get_invoices(status="active")],
        transfer_off=refusal(lambda: client.transfer(7, "TON", "1", "s-1")),
    )

    heard = hear()
    body, signature = heard["body"].encode(), heard["signature"]
    update = client.process_webhook(body, signature)
    extra = client.create_invoice("TON", "1")
    deleted = client.delete_invoice(extra.invoice_id)
    check = client.create_check("TON", "0.50")
    balance = client.get_balance()
    sent = client.transfer(7, "TON", "1", "s-1", "thanks")
    again = client.transfer(7, "TON", "1", "s-1", "thanks")
    (paid_crypto,) = client.get_invoices(invoice_ids=str(crypto.invoice_id))
    (paid_fiat,) = client.get_invoices(invoice_ids=str(fiat.invoice_id))
    stats = client.get_stats()
    tell(
        webhook=[told(update.payload)],
        verified=True,
        forged=verified(client, body.replace(b'"paid"', b'"PAID"'), signature),
        crypto=told(paid_crypto),
        fiat=told(paid_fiat),
        paid=[invoice.invoice_id for invoice in client.get_invoices(status="paid")],
        deleted=deleted,
        gone=client.get_invoices(invoice_ids=str(extra.invoice_id)) == [],
        balance={row.currency_code: [row.available, row.onhold] for row in balance},
        rate=next(row.rate for row in client.get_exchange_rates() if (row.source, row.target) == ("TON", "RUB")),
        currencies=[row.code for row in client.get_currencies()],
        sent=[sent.transfer_id, again.transfer_id, sent.amount],
        spend_ids=[transfer.spend_id for transfer in client.get_transfers()],
        check=[check.amount, check.status],
        checks=[one.check_id for one in client.get_checks()],
        check_deleted=client.delete_check(check.check_id),
        stats=[stats.created_invoice_count, stats.paid_invoice_count, stats.volume],
    )

    hear()
    suspended = refusal(client.get_me)
    stranger = pyCryptoPayAPI("1:wrong", result_as_class=True)
    tell(suspended=suspended, wrong_token=refusal(stranger.get_balance))


shop(pyCryptoPayAPI(TOKEN, result_as_class=True))
