"""The invoice page, pressed as a person would, without a browser."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx

    from tests.sandbox_cryptopay.conftest import Shop


async def press(shop: Shop, button: str, **form: str) -> httpx.Response:
    address = shop.pay.invoices[1]["bot_invoice_url"].removeprefix("http://127.0.0.1")
    return await shop.http.post(f"{address}/{button}", data=form, follow_redirects=True)


async def show(shop: Shop, number: int = 1) -> str:
    answer = await shop.http.get(shop.pay.invoices[number]["bot_invoice_url"])
    assert answer.status_code == 200
    return answer.text


async def test_the_page_offers_each_accepted_asset_with_its_price(shop: Shop) -> None:
    await shop.invoice(accepted_assets="TON,USDT", description="plus, 30 days", expires_in=60)
    page = await show(shop)
    assert re.findall(r"name='asset' value='(\w+)'", page) == ["TON", "USDT"]
    for text in (
        "299 RUB",
        "plus, 30 days",
        ">Pay<",
        "webhook twice",
        "webhook never comes",
        ">Expire<",
        "To be paid before",
    ):
        assert text in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("how", "webhooks", "told"),
    [
        ("once", 1, "answered 200"),
        ("twice", 2, "answered 200"),
        ("never", 0, "The webhook never comes"),
    ],
)
async def test_each_button_pays_and_the_page_says_what_happened(shop: Shop, how: str, webhooks: int, told: str) -> None:
    await shop.invoice()
    answer = await press(shop, "pay", asset="TON", how=how)
    assert answer.status_code == 200
    await shop.pay.idle()
    assert len(shop.application.got) == webhooks
    page = await show(shop)
    assert "<b>Paid</b> with" in page
    assert " TON" in page
    assert page.count("<li>") == webhooks
    assert told in page
    assert "<form" not in page


async def test_failed_webhooks_are_shown_with_what_is_to_come(shop: Shop) -> None:
    shop.application.answers = [503]
    await shop.invoice()
    await press(shop, "pay", asset="USDT", how="once")
    await shop.pay.idle()
    page = await show(shop)
    assert "attempt 1: answered 503" in page
    assert "1 more on the way" in page
    assert "http-equiv='refresh'" in page
    shop.clock.travel(timedelta(seconds=5))
    await shop.pay.idle()
    page = await show(shop)
    assert "attempt 2: answered 200" in page
    assert "refresh" not in page


async def test_expire_and_then_pay_is_refused_in_words(shop: Shop) -> None:
    await shop.invoice()
    assert "<b>Expired</b>" in (await press(shop, "expire")).text
    answer = await press(shop, "pay", asset="TON", how="once")
    assert answer.status_code == 409
    assert "invoice 1 is expired" in answer.text
    assert not shop.application.got


@pytest.mark.parametrize("form", [{"asset": "BTC"}, {"asset": ""}, {}, {"asset": "TON", "how": "thrice"}])
async def test_a_forged_form_changes_nothing(shop: Shop, form: dict[str, str]) -> None:
    await shop.invoice(accepted_assets="TON")
    assert (await press(shop, "pay", **form)).status_code == 409
    assert shop.pay.invoices[1]["status"] == "active"


async def test_another_sites_form_is_turned_away(shop: Shop) -> None:
    made = await shop.invoice()
    address = f"/invoice/{made['hash']}/pay"
    answer = await shop.http.post(address, data={"asset": "TON"}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert shop.pay.invoices[1]["status"] == "active"


async def test_what_the_application_wrote_is_escaped(shop: Shop) -> None:
    await shop.invoice(description="<script>alert(1)</script>")
    for page in (await show(shop), (await shop.http.get("/")).text):
        assert "<script" not in page
        assert "&lt;script&gt;" in page


async def test_unknown_deleted_and_oversized_get_an_answer(shop: Shop) -> None:
    assert (await shop.http.get("/invoice/IVnothing")).status_code == 404
    assert (await shop.http.post("/invoice/IVnothing/pay")).status_code == 404
    made = await shop.invoice()
    assert (await shop.http.post(f"/invoice/{made['hash']}/pay", content=b"x" * 20_000)).status_code == 413
    await shop.call("deleteInvoice", invoice_id=1)
    assert (await shop.http.get(f"/invoice/{made['hash']}")).status_code == 404


async def test_the_list_shows_all_newest_first(shop: Shop) -> None:
    assert "No invoice yet" in (await shop.http.get("/")).text
    await shop.invoice()
    await shop.call("createInvoice", asset="TON", amount="1.5")
    await shop.pay.pay(1)
    page = (await shop.http.get("/")).text
    assert re.findall(r"'>(\d)</a></td><td>([^<]+)</td><td>(\w+)", page) == [
        ("2", "1.5 TON", "active"),
        ("1", "299 RUB", "paid"),
    ]
