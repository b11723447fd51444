"""The API: forms of parameters, checks and error names, the invoice's shape, finding, deleting, faults."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cryptopay import InvoiceError
from sandbox.cryptopay.rates import ASSETS, FIATS, amount_for, parse_amount, price, text_of
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.cryptopay.conftest import Shop


async def test_every_form_of_parameters_is_taken(shop: Shop) -> None:
    asked = {"asset": "TON", "amount": "2.60", "description": "ä & Ж"}
    url = "/api/createInvoice"
    answers = [
        await shop.http.get(url, params=asked),
        await shop.http.post(url, params=asked),
        await shop.http.post(url, json=asked),
        await shop.http.post(url, data=asked),
        await shop.http.post(url, files={name: (None, value) for name, value in asked.items()}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 5
    made = [answer.json()["result"] for answer in answers]
    assert {(invoice["asset"], invoice["amount"], invoice["description"]) for invoice in made} == {
        ("TON", "2.6", "ä & Ж")
    }
    assert [invoice["invoice_id"] for invoice in made] == [1, 2, 3, 4, 5]
    assert [call.method for call in shop.pay.calls] == ["createInvoice"] * 5
    assert all(call.status == 200 and call.params == asked for call in shop.pay.calls)


@pytest.mark.parametrize("token", [None, "", "12345:wrong", "12345:AAtest-toke", "ключ"])
async def test_a_wrong_token_is_refused(shop: Shop, token: str | None) -> None:
    del shop.http.headers["Crypto-Pay-API-Token"]
    headers: dict[bytes, bytes] = {} if token is None else {b"Crypto-Pay-API-Token": token.encode()}
    answer = await shop.http.post("/api/getMe", headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {"ok": False, "error": {"code": 401, "name": "UNAUTHORIZED"}}


async def test_each_of_several_tokens_is_good(shop: Shop) -> None:
    shop.http.headers["Crypto-Pay-API-Token"] = "12345:old"
    assert (await shop.call("getMe"))["app_id"] == 12345


async def test_unknown_and_disabled_methods(shop: Shop) -> None:
    assert await shop.refused("nonsense") == (405, "METHOD_NOT_FOUND")
    assert await shop.refused("transfer") == (403, "METHOD_DISABLED")


async def test_a_fiat_invoice_is_complete(shop: Shop) -> None:
    shop.pay.public_url = "http://127.0.0.1:4242"
    made = await shop.invoice(accepted_assets="USDT,TON", expires_in=1800, description="30 days")
    assert made == {
        "invoice_id": 1,
        "hash": made["hash"],
        "currency_type": "fiat",
        "fiat": "RUB",
        "amount": "299",
        "accepted_assets": ["USDT", "TON"],
        "bot_invoice_url": f"http://127.0.0.1:4242/invoice/{made['hash']}",
        "mini_app_invoice_url": f"http://127.0.0.1:4242/invoice/{made['hash']}?mode=compact",
        "web_app_invoice_url": f"http://127.0.0.1:4242/invoice/{made['hash']}?mode=web",
        "pay_url": f"http://127.0.0.1:4242/invoice/{made['hash']}",
        "description": "30 days",
        "status": "active",
        "created_at": made["created_at"],
        "allow_comments": True,
        "allow_anonymous": True,
        "expiration_date": made["expiration_date"],
        "payload": "order-1",
    }
    for name in ("created_at", "expiration_date"):
        assert len(made[name]) == len("2026-01-01T00:00:00.000Z")
        assert made[name].endswith("Z")
    lasts = datetime.fromisoformat(made["expiration_date"]) - datetime.fromisoformat(made["created_at"])
    assert lasts == timedelta(seconds=1800)


async def test_a_crypto_invoice_accepts_its_asset_only(shop: Shop) -> None:
    made = await shop.call("createInvoice", asset="USDT", amount="5")
    assert (made["currency_type"], made["asset"], made["amount"]) == ("crypto", "USDT", "5")
    assert not {"fiat", "accepted_assets", "expiration_date"} & set(made)
    with pytest.raises(InvoiceError, match="only USDT"):
        await shop.pay.pay(made["invoice_id"], "TON")
    paid = await shop.pay.pay(made["invoice_id"])
    assert (paid["paid_asset"], paid["paid_amount"]) == ("USDT", "5")
    assert "paid_fiat_rate" not in paid


async def test_payment_books_rate_amount_and_fee_as_decimal_strings(shop: Shop) -> None:
    made = await shop.invoice()
    paid = await shop.pay.pay(made["invoice_id"], "TON", comment="thanks", anonymously=False)
    assert paid["status"] == "paid"
    rate, amount = Decimal(paid["paid_fiat_rate"]), Decimal(paid["paid_amount"])
    assert rate == price("TON", "RUB")
    assert 299 <= rate * amount < 299 + rate * Decimal("0.000000001")
    assert Decimal(paid["fee_amount"]) == (amount * 3 / 100).quantize(Decimal("0.00000001"))
    assert (paid["paid_asset"], paid["fee_asset"], paid["comment"], paid["paid_anonymously"]) == (
        "TON",
        "TON",
        "thanks",
        False,
    )
    for name in ("paid_fiat_rate", "paid_amount", "fee_amount", "fee_in_usd", "paid_usd_rate"):
        assert isinstance(paid[name], str)
    assert paid["paid_at"].endswith("Z")
    balance = {row["currency_code"]: row["available"] for row in await shop.call("getBalance")}
    assert Decimal(balance["TON"]) == amount - Decimal(paid["fee_amount"])
    assert balance["BTC"] == "0"


BAD: dict[str, tuple[dict[str, Any], tuple[int, str]]] = {
    "accepted assets as an array": ({"accepted_assets": ["USDT"]}, (500, "APP_ERROR")),
    "accepted assets unknown": ({"accepted_assets": "USDT,GOLD"}, (400, "ACCEPTED_ASSETS_INVALID")),
    "expires in 0": ({"expires_in": 0}, (400, "EXPIRES_IN_INVALID")),
    "expires in too long": ({"expires_in": 2_678_401}, (400, "EXPIRES_IN_INVALID")),
    "expires in words": ({"expires_in": "soon"}, (400, "EXPIRES_IN_INVALID")),
    "expires in a fraction": ({"expires_in": 1.5}, (400, "EXPIRES_IN_INVALID")),
    "amount missing": ({"amount": None}, (400, "AMOUNT_INVALID")),
    "amount zero": ({"amount": "0.00"}, (400, "AMOUNT_INVALID")),
    "amount negative": ({"amount": "-1"}, (400, "AMOUNT_INVALID")),
    "amount with exponent": ({"amount": "1e9"}, (400, "AMOUNT_INVALID")),
    "amount not a number": ({"amount": "NaN"}, (400, "AMOUNT_INVALID")),
    "amount in Arabic digits": ({"amount": "١٢"}, (400, "AMOUNT_INVALID")),
    "fiat unknown": ({"fiat": "XXX"}, (400, "FIAT_INVALID")),
    "currency type unknown": ({"currency_type": "gold"}, (400, "CURRENCY_TYPE_INVALID")),
    "asset missing": ({"currency_type": "crypto"}, (400, "ASSET_INVALID")),
    "asset a list": ({"currency_type": "crypto", "asset": ["TON"]}, (400, "ASSET_INVALID")),
    "description long": ({"description": "д" * 1025}, (400, "DESCRIPTION_INVALID")),
    "description an object": ({"description": {"a": 1}}, (400, "DESCRIPTION_INVALID")),
    "hidden message long": ({"hidden_message": "x" * 2049}, (400, "HIDDEN_MESSAGE_INVALID")),
    "payload long in bytes": ({"payload": "д" * 2049}, (400, "PAYLOAD_INVALID")),
    "button unknown": ({"paid_btn_name": "dance", "paid_btn_url": "https://a.example"}, (400, "PAID_BTN_NAME_INVALID")),
    "button without url": ({"paid_btn_name": "openBot"}, (400, "PAID_BTN_URL_INVALID")),
    "button url scheme": ({"paid_btn_name": "openBot", "paid_btn_url": "tg://x"}, (400, "PAID_BTN_URL_INVALID")),
    "flag": ({"allow_comments": "perhaps"}, (400, "ALLOW_COMMENTS_INVALID")),
}


@pytest.mark.parametrize("kind", BAD)
async def test_bad_invoices_are_refused_by_name(shop: Shop, kind: str) -> None:
    changed, expected = BAD[kind]
    asked = {"currency_type": "fiat", "fiat": "RUB", "amount": "299"} | changed
    assert await shop.refused("createInvoice", **asked) == expected
    assert not shop.pay.invoices


@pytest.mark.parametrize("name", ["description", "hidden_message", "payload", "paid_btn_url"])
async def test_half_a_surrogate_pair_is_refused_and_keeps_no_other_call_from_its_answer(shop: Shop, name: str) -> None:
    asked = {"asset": "TON", "amount": "1", "paid_btn_name": "openBot", "paid_btn_url": "https://a.example/"}
    body = json.dumps(asked | {name: "https://a.example/\ud800"})
    answer = await shop.http.post("/api/createInvoice", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["name"]) == (400, f"{name.upper()}_INVALID")
    assert (await shop.call("getInvoices"))["items"] == []
    assert (await shop.http.get("/")).status_code == 200


async def test_the_longest_values_are_taken(shop: Shop) -> None:
    made = await shop.invoice(
        description="д" * 1024, payload="д" * 2048, hidden_message="x" * 2048, expires_in=2_678_400
    )
    assert len(made["payload"].encode()) == 4096


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"\xff=\xff", "application/x-www-form-urlencoded"),
        (b"nothing", "multipart/form-data; boundary=x"),
        (b"nothing", "multipart/form-data"),
        (b"--x\r\n\r\nvalue\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    ],
)
async def test_a_body_that_is_not_what_it_says_is_a_400(shop: Shop, body: bytes, kind: str) -> None:
    answer = await shop.http.post("/api/getMe", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["ok"]) == (400, False)


async def test_an_oversized_body_is_a_413(shop: Shop) -> None:
    answer = await shop.http.post("/api/getMe", content=b"x" * (1024 * 1024 + 1))
    assert answer.status_code == 413


async def test_invoices_are_found_by_id_state_currency_and_page(shop: Shop) -> None:
    for _ in range(3):
        await shop.invoice()
    await shop.call("createInvoice", asset="TON", amount="1")
    await shop.pay.pay(2)

    async def ids(**asked: Any) -> list[int]:
        return [invoice["invoice_id"] for invoice in (await shop.call("getInvoices", **asked))["items"]]

    assert await ids() == [4, 3, 2, 1]
    assert await ids(invoice_ids="1, 2,77") == [2, 1]
    assert await ids(invoice_ids=3) == [3]
    assert await ids(status="paid") == [2]
    assert await ids(status="active", fiat="RUB") == [3, 1]
    assert await ids(asset="TON") == [4]
    assert await ids(offset=1, count=2) == [3, 2]
    assert await ids(count="1000") == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"count": 0}, "COUNT_INVALID"),
        ({"count": 1001}, "COUNT_INVALID"),
        ({"offset": -1}, "OFFSET_INVALID"),
        ({"status": "expired"}, "STATUS_INVALID"),
        ({"invoice_ids": "1,x"}, "INVOICE_IDS_INVALID"),
        ({"invoice_ids": ""}, "INVOICE_IDS_INVALID"),
    ],
)
async def test_bad_searches_are_refused(shop: Shop, asked: dict[str, Any], name: str) -> None:
    assert await shop.refused("getInvoices", **asked) == (400, name)


async def test_a_hundred_invoices_come_by_default(shop: Shop) -> None:
    for _ in range(101):
        await shop.invoice()
    assert len((await shop.call("getInvoices"))["items"]) == 100
    wanted = ",".join(str(number) for number in range(1, 102))
    assert len((await shop.call("getInvoices", invoice_ids=wanted, count=1000))["items"]) == 101


async def test_an_invoice_expires_by_the_sandbox_clock_and_then_cannot_be_paid(shop: Shop) -> None:
    await shop.invoice(expires_in=1800)
    shop.clock.travel(timedelta(seconds=1790))
    assert shop.pay.invoices[1]["status"] == "active"
    shop.clock.travel(timedelta(seconds=10))
    assert (await shop.call("getInvoices", invoice_ids="1"))["items"][0]["status"] == "expired"
    with pytest.raises(InvoiceError, match="expired"):
        await shop.pay.pay(1)
    with pytest.raises(InvoiceError, match="expired"):
        await shop.pay.expire(1)
    await shop.pay.idle()
    assert not shop.application.got


async def test_expire_now(shop: Shop) -> None:
    await shop.invoice()
    assert (await shop.pay.expire(1))["status"] == "expired"
    with pytest.raises(InvoiceError, match="expired"):
        await shop.pay.pay(1)


async def test_a_deleted_invoice_is_absent_unpayable_and_its_id_is_not_used_again(shop: Shop) -> None:
    await shop.invoice()
    assert await shop.call("deleteInvoice", invoice_id=1) is True
    assert await shop.refused("deleteInvoice", invoice_id=1) == (400, "INVOICE_NOT_FOUND")
    assert await shop.refused("deleteInvoice", invoice_id="x") == (400, "INVOICE_ID_INVALID")
    assert (await shop.call("getInvoices", invoice_ids="1"))["items"] == []
    with pytest.raises(InvoiceError, match="no invoice"):
        await shop.pay.pay(1)
    assert (await shop.invoice())["invoice_id"] == 2


async def test_a_paid_invoice_can_be_neither_deleted_nor_paid_again(shop: Shop) -> None:
    await shop.invoice()
    await shop.pay.pay(1)
    assert await shop.refused("deleteInvoice", invoice_id=1) == (400, "INVOICE_ALREADY_PAID")
    with pytest.raises(InvoiceError, match="paid"):
        await shop.pay.pay(1)


async def test_rates_and_currencies_cover_everything_accepted(shop: Shop) -> None:
    rates = {(row["source"], row["target"]): row["rate"] for row in await shop.call("getExchangeRates")}
    assert set(rates) == {(asset, fiat) for asset in ASSETS for fiat in FIATS}
    assert all(isinstance(rate, str) and Decimal(rate) > 0 for rate in rates.values())
    assert {row["code"] for row in await shop.call("getCurrencies")} == set(ASSETS) | set(FIATS)


async def test_failures_on_demand(shop: Shop) -> None:
    shop.pay.fail_next("getMe", 429, "TOO_MANY_REQUESTS", times=2)
    assert await shop.refused("getMe") == (429, "TOO_MANY_REQUESTS")
    assert await shop.refused("getMe") == (429, "TOO_MANY_REQUESTS")
    await shop.call("getMe")
    shop.pay.fail_next("createInvoice", done=True)  # an orphan: made, but the answer was lost
    assert await shop.refused("createInvoice", asset="TON", amount="1", payload="mine") == (500, "APP_ERROR")
    (orphan,) = (await shop.call("getInvoices"))["items"]
    assert orphan["payload"] == "mine"
    assert [call.error for call in shop.pay.calls if call.error] == ["TOO_MANY_REQUESTS"] * 2 + ["APP_ERROR"]


async def test_hanging_calls_are_answered_when_released(shop: Shop) -> None:
    shop.pay.hang_next("getMe")
    hanging = asyncio.create_task(shop.refused("getMe"))
    await until(lambda: shop.pay.calls)
    await shop.call("getMe")  # others are served meanwhile
    assert not hanging.done()
    shop.pay.release()
    assert await hanging == (500, "APP_ERROR")


async def test_latency_delays_every_call(shop: Shop) -> None:
    shop.pay.latency = 0.05
    await shop.call("getMe")
    assert (shop.pay.calls[-1].duration or 0) >= 0.05


async def test_invoices_survive_a_restart(make_shop: Callable[..., Any], tmp_path: Path) -> None:
    store = tmp_path / "pay.sqlite"
    first = await make_shop(store=store)
    for _ in range(3):
        await first.invoice()
    await first.pay.pay(1)
    await first.call("deleteInvoice", invoice_id=3)
    before = first.pay.invoices
    await first.pay.stop()
    second = await make_shop(store=store)
    assert second.pay.invoices == before
    assert (await second.invoice())["invoice_id"] == 4


async def test_foreign_hosts_and_origins_are_turned_away(shop: Shop) -> None:
    for headers in ({"Host": "rebound.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert (await shop.http.post("/api/getMe", headers=headers)).status_code == 403
        assert (await shop.http.get("/", headers=headers)).status_code == 403


@pytest.mark.parametrize(("number", "amount"), [("1e-7", "0.0000001"), ("12.5E1", "125"), ("2.60", "2.6")])
async def test_a_json_number_is_the_same_amount_in_every_notation(shop: Shop, number: str, amount: str) -> None:
    body = f'{{"asset": "BTC", "amount": {number}}}'
    answer = await shop.http.post("/api/createInvoice", content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["result"]["amount"] == amount


@pytest.mark.parametrize("number", ["1e999999999", "1e-999999999", "1e19", "1e-19", "NaN", "Infinity"])
async def test_a_json_number_that_is_no_amount_is_refused(shop: Shop, number: str) -> None:
    body = f'{{"asset": "BTC", "amount": {number}}}'
    answer = await shop.http.post("/api/createInvoice", content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["error"] == {"code": 400, "name": "AMOUNT_INVALID"}


@given(said=st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.decimals()))
def test_only_plain_positive_numbers_are_amounts(said: object) -> None:
    amount = parse_amount(said)
    if amount is not None:
        assert amount > 0
        assert amount.is_finite()
        assert not isinstance(said, bool | float)
        assert Decimal(text_of(amount)) == amount
        assert "E" not in text_of(amount)


@given(
    asset=st.sampled_from(sorted(ASSETS)),
    fiat=st.sampled_from(sorted(FIATS)),
    amount=st.decimals("0.01", "1000000", places=2),
)
def test_what_is_paid_is_worth_what_was_asked(asset: str, fiat: str, amount: Decimal) -> None:
    paid = amount_for(asset, fiat, amount)
    smallest = Decimal(1).scaleb(-ASSETS[asset][1])
    assert paid * price(asset, fiat) >= amount
    assert (paid - smallest) * price(asset, fiat) < amount + price(asset, fiat) * Decimal("1e-18")
