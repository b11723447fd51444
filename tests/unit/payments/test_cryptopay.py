"""What Crypto Pay's messages mean: signatures, events, amounts. No float, no exception that is not ours."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.domain import ledger
from lib.domain.inbox import StoredEvent
from lib.payments import cryptopay, cryptopay_news, provider, registry
from lib.payments.provider import ProviderError
from lib.settings.plain import CryptoPaySettings

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "31337:AAtoken"
PURCHASE = UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
INVOICE: dict[str, Any] = {
    "invoice_id": 528,
    "status": "paid",
    "currency_type": "fiat",
    "fiat": "RUB",
    "amount": "149",
    "payload": str(PURCHASE),
    "paid_asset": "USDT",
    "paid_amount": "1.8625",
    "paid_fiat_rate": "80.0",
    "fee_asset": "USDT",
    "fee_amount": "0.055875",
    "bot_invoice_url": "https://t.me/CryptoBot?start=IV1",
}


def webhook(invoice: object, **top: Any) -> bytes:
    return json.dumps({"update_id": 1, "update_type": "invoice_paid", "payload": invoice} | top).encode()


def signature(body: bytes, token: str = TOKEN) -> str:
    return hmac.new(hashlib.sha256(token.encode()).digest(), body, hashlib.sha256).hexdigest()


# Signatures -------------------------------------------------------------------------------------------------------


@pytest.mark.proves("N-3")
def test_the_documented_recipe_signs() -> None:
    body = webhook(INVOICE)
    assert cryptopay_news.signed_by(body, signature(body), [TOKEN])
    assert cryptopay_news.signed_by(body, signature(body).upper(), [TOKEN])
    assert cryptopay_news.signed_by(body, f" {signature(body)} ", ["31337:next", TOKEN])


@pytest.mark.proves("N-3")
@pytest.mark.parametrize(
    "given",
    [
        "",
        "0" * 64,
        "подпись",
        "\udcff",
        "x" * 100_000,
        hmac.new(TOKEN.encode(), webhook(INVOICE), "sha256").hexdigest(),
    ],
)
def test_anything_else_does_not(given: str) -> None:
    assert not cryptopay_news.signed_by(webhook(INVOICE), given, [TOKEN])


@pytest.mark.proves("N-3")
def test_neither_another_token_nor_another_byte_nor_no_token_at_all() -> None:
    body = webhook(INVOICE)
    assert not cryptopay_news.signed_by(body, signature(body, "31337:other"), [TOKEN])
    assert not cryptopay_news.signed_by(body + b"\n", signature(body), [TOKEN])
    assert not cryptopay_news.signed_by(body, signature(body), [])


# Events -----------------------------------------------------------------------------------------------------------


def test_a_paid_invoice_is_money_in_minor_units() -> None:
    event = cryptopay_news.read_webhook(webhook(INVOICE), "c-1")
    assert (event.provider, event.external_id, event.via, event.reason) == ("cryptobot", "528", "webhook", "")
    assert event.money is not None
    assert (event.money.amount, event.money.currency) == (14900, "RUB")
    assert (event.money.purchase_id, event.money.invoice_id) == (PURCHASE, "528")
    assert (event.money.paid_asset, event.money.paid_amount, event.money.fee_amount) == ("USDT", "1.8625", "0.055875")


@pytest.mark.proves("S3-HR-2")
def test_the_key_is_the_invoice_whichever_way_the_news_comes_and_however_often() -> None:
    listed = cryptopay_news.event_of(INVOICE, b"{}", "sweep", "c-2")
    keys = {
        cryptopay_news.read_webhook(webhook(INVOICE, update_id=number), "c").external_id for number in (1, 2, 2**40)
    }
    assert keys == {listed.external_id}


@pytest.mark.parametrize(
    ("amount", "minor"),
    [
        ("149", 14900),
        ("149.0", 14900),
        ("149.00", 14900),
        ("0.01", 1),
        ("1E+2", 10000),
        (149, 14900),
        ("999999999999.99", 99999999999999),
    ],
)
def test_amounts_are_exact(amount: object, minor: int) -> None:
    money = cryptopay_news.event_of(INVOICE | {"amount": amount}, b"{}", "sweep", "c").money
    assert money is not None
    assert money.amount == minor


@pytest.mark.parametrize(
    "amount",
    [
        "",
        "x",
        "NaN",
        "sNaN",
        "Infinity",
        "-149",
        "0",
        "0.001",
        "149.001",
        149.0,
        True,
        None,
        [],
        {},
        "1e999999999",
        "1e-999999999",
        "1" * 5000,
    ],
)
def test_what_is_no_amount_pays_for_nothing_and_what_moved_is_money(amount: object) -> None:
    event = cryptopay_news.event_of(INVOICE | {"amount": amount}, b"{}", "sweep", "c")
    assert event.reason
    assert event.money is not None
    assert (event.money.amount, event.money.currency, event.money.fee_amount) == (1_862_500, "USDT", "0.055875")
    untold = INVOICE | {"amount": amount, "paid_asset": None}
    assert cryptopay_news.event_of(untold, b"{}", "sweep", "c").money is None


@pytest.mark.parametrize("name", ["paid_amount", "fee_amount", "paid_fiat_rate"])
@pytest.mark.parametrize("value", ["1e-999999999", "1e999999999", "x", [], None, -1, "NaN"])
def test_what_was_moved_is_left_out_when_it_makes_no_sense(name: str, value: object) -> None:
    money = cryptopay_news.event_of(INVOICE | {name: value}, b"{}", "sweep", "c").money
    assert money is not None
    assert {"paid_amount": money.paid_amount, "fee_amount": money.fee_amount, "paid_fiat_rate": money.paid_rate}[
        name
    ] is None


@pytest.mark.parametrize("asset", ["usdt", "U", "TOOLONGASSET1", "US DT", "USD\x00", "ЮАНЬ", 7, None])
def test_an_asset_is_a_code(asset: object) -> None:
    money = cryptopay_news.event_of(INVOICE | {"paid_asset": asset}, b"{}", "sweep", "c").money
    assert money is not None
    assert money.paid_asset is None


@pytest.mark.parametrize("payload", ["", "x", 5, None, [], {}, "\x00", str(PURCHASE)[:-1]])
def test_a_purchase_id_is_a_uuid_or_none(payload: object) -> None:
    money = cryptopay_news.event_of(INVOICE | {"payload": payload}, b"{}", "sweep", "c").money
    assert money is not None
    assert money.purchase_id is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 500_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"update_type": "rain"}',
        b'{"update_type": "rain", "update_id": "1"}',
        b'{"update_type": "rain", "update_id": true}',
        b'{"update_type": "rain", "update_id": 99999999999999999999}',
        webhook(None),
        webhook([]),
        webhook({}),
        webhook(INVOICE | {"invoice_id": 0}),
        webhook(INVOICE | {"invoice_id": True}),
        webhook(INVOICE | {"invoice_id": 2**63}),
        webhook(INVOICE | {"invoice_id": 10**4200}),
    ],
)
def test_what_has_no_key_is_an_event_of_its_bytes(body: bytes) -> None:
    """A signed event is never refused for its shape: so many refusals switch a webhook off."""
    event = cryptopay_news.read_webhook(body, "c")
    assert (event.kind, event.money, event.body) == ("other", None, body)
    assert event.concerns_money is (b"rain" not in body), "another kind of update alarms no operator"
    assert event.external_id == cryptopay_news.read_webhook(body, "d").external_id


@pytest.mark.parametrize("notation", ['"528"', "528", "528.0", "5.28e2", '"0528"'])
def test_an_invoice_id_is_the_same_key_in_every_notation(notation: str) -> None:
    body = webhook(INVOICE).replace(b'"invoice_id": 528', f'"invoice_id": {notation}'.encode())
    event = cryptopay_news.read_webhook(body, "c")
    assert (event.kind, event.external_id) == ("charge", "528")
    assert event.money is not None


@pytest.mark.proves("G-14")
@pytest.mark.parametrize(
    "amount",
    ['"149.00"', "149.0", "149", "149.00", '"149"', "1.49e2", "1490E-1", '"149.0000000"', f'"149.{"0" * 40}"'],
)
@pytest.mark.parametrize("fee", ['"0.055875"', "0.055875", "5.5875e-2"])
def test_money_is_read_exactly_in_every_notation(amount: str, fee: str) -> None:
    body = webhook(INVOICE | {"amount": "AMOUNT", "fee_amount": "FEE"}).decode()
    event = cryptopay_news.read_webhook(body.replace('"AMOUNT"', amount).replace('"FEE"', fee).encode(), "c")
    assert event.money is not None
    assert event.money.amount == 14900
    assert event.money.fee_amount is not None
    assert ledger.minor_units(event.money.fee_amount, 6) == 55_875


@given(st.decimals(min_value="0.01", max_value="99999999999999.99", places=2))
def test_no_amount_loses_a_kopeck_on_its_way_through_json(amount: Decimal) -> None:
    body = webhook(INVOICE | {"amount": "AMOUNT"}).decode()
    for notation in (f'"{amount}"', str(amount)):
        money = cryptopay_news.read_webhook(body.replace('"AMOUNT"', notation).encode(), "c").money
        assert money is not None
        assert money.amount == int(amount * 100)


@pytest.mark.parametrize(
    "amount",
    ["NaN", "Infinity", '"١٤٩"', '"1_49"', '" 149"', "true", "null", "[149]", '"-149"', "-149", "1e400", '"0x95"'],
)
def test_what_is_no_amount_is_none(amount: str) -> None:
    body = webhook(INVOICE | {"amount": "AMOUNT"}).decode().replace('"AMOUNT"', amount).encode()
    event = cryptopay_news.read_webhook(body, "c")
    assert event.reason
    moved = None if event.money is None else event.money.currency
    assert moved == (None if amount in {"NaN", "Infinity"} else "USDT"), (
        "what moved is not what was agreed; those are no JSON"
    )
    assert event.concerns_money, "an operator has to look"


def test_an_unknown_kind_is_an_event_without_money_or_alarm_told_apart_by_its_content() -> None:
    """Crypto Pay's update_id is documented as not unique."""
    one = cryptopay_news.read_webhook(b'{"update_type": "rain", "update_id": 1, "mm": 3}', "c")
    two = cryptopay_news.read_webhook(b'{"update_type": "rain", "update_id": 1, "mm": 4}', "c")
    assert (one.money, one.reason, one.concerns_money) == (None, "unknown kind of update", False)
    assert one.external_id != two.external_id
    paid = json.loads(webhook(INVOICE)) | {"update_type": "invoice_paid_twice"}
    assert cryptopay_news.read_webhook(json.dumps(paid).encode(), "c").concerns_money, "an operator has to look"


@pytest.mark.parametrize("status", ["active", "expired", None, "PAID", 1])
def test_an_invoice_that_is_not_paid_tells_of_no_money(status: object) -> None:
    event = cryptopay_news.read_webhook(webhook(INVOICE | {"status": status}), "c")
    assert (event.external_id, event.money) == ("528", None)
    assert event.concerns_money is (status not in {"active", "expired"}), "a word that is not known may tell of money"


@pytest.mark.parametrize("via", ["webhook", "sweep", "update"])
def test_a_stored_event_is_read_again_as_it_was(via: str) -> None:
    body = webhook(INVOICE) if via == "webhook" else json.dumps(INVOICE).encode()
    event = registry.read_again(StoredEvent("cryptobot", "528", body, via, "c-9", "new"))
    assert (event.external_id, event.via, event.correlation_id) == ("528", via, "c-9")
    assert event.money is not None
    assert event.money.amount == 14900


def test_an_event_of_a_provider_that_is_gone_is_for_a_person() -> None:
    event = registry.read_again(StoredEvent("seashells", "1", b"{}", "webhook", "c", "new"))
    assert (event.money, event.reason) == (None, "unknown provider")


# Calls ------------------------------------------------------------------------------------------------------------


def client(answer: httpx.Response | Exception) -> cryptopay.CryptoPay:
    def respond(_request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    settings = CryptoPaySettings((TOKEN,), "https://pay.example", ("USDT",))
    transport = httpx.MockTransport(respond)
    calls = httpx.AsyncClient(transport=transport)
    return cryptopay.CryptoPay(lambda: calls, settings, invoice_seconds=1800)


@pytest.mark.proves("G-3")
async def test_an_invoice_that_is_not_listed_is_no_answer() -> None:
    """Deleted, of the token before, or a hole in the listing: who takes it for unpaid would delete what was paid."""
    one = {"invoice_id": 1, "status": "active"}
    listed = httpx.Response(200, json={"ok": True, "result": {"items": [one]}})
    assert await provider.ask(client(listed), "1", via="update", correlation_id="c") is None
    with pytest.raises(ProviderError, match="not listed"):
        await provider.ask(client(listed), "2", via="update", correlation_id="c")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, text="oops"),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"ok": False, "error": {"code": 400, "name": "TOKEN_INVALID"}}),
        httpx.Response(200, json={"ok": True, "result": None}),
        httpx.Response(200, json={"ok": True, "result": {"items": {}}}),
        httpx.Response(401, json={"ok": False, "error": "no"}),
        httpx.ConnectTimeout("31337:AAtoken in a message"),
    ],
)
async def test_every_failure_is_one_error_that_names_no_token(answer: httpx.Response | Exception) -> None:
    with pytest.raises(ProviderError) as raised:
        await client(answer).look(["1"])
    assert "AAtoken" not in str(raised.value)


async def test_an_invoice_is_adopted_by_purchase_id_and_amount_together() -> None:
    async def found(**changes: Any) -> bool:
        listed = httpx.Response(200, json={"ok": True, "result": {"items": [INVOICE | changes]}})
        return await provider.find(client(listed), PURCHASE, 14900, "RUB") is not None

    assert await found()
    assert await found(amount="149.00", status="active")
    assert not await found(amount="148")
    assert not await found(amount="149.001")
    assert not await found(fiat="USD")
    assert not await found(fiat=["RUB"])
    assert not await found(payload="6f9619ff-8b86-4d01-b42d-00cf4fc964fe")
    assert not await found(bot_invoice_url=None), "it could not be shown"
    assert not await found(payload=None)
    assert Decimal(INVOICE["amount"]) == 149


def test_the_webhook_loads_what_it_reads_with_and_no_client() -> None:
    """A cold webhook pays for each import: invoices are made and asked about elsewhere."""
    code = "import sys, functions.public.cryptobot_webhook; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, timeout=60, check=True, capture_output=True, text=True
    )
    loaded = {name for name in done.stdout.split() if name.startswith("lib.payments")}
    assert loaded == {"lib.payments", "lib.payments.cryptopay_news", "lib.payments.reporting"}
    assert {"httpx", "aiohttp", "aiogram", "pydantic"}.isdisjoint(done.stdout.split())
