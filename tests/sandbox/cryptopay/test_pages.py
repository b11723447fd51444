"""The invoice page, pressed as a person would, without a browser."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.cryptopay import Standing
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.sandbox.cryptopay.conftest import Shop


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
        "a minute late",
        "first attempt lost",
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
    assert "name='how'" not in page


async def test_a_late_webhook_comes_a_minute_later(shop: Shop) -> None:
    await shop.invoice()
    assert "1 more on the way" in (await press(shop, "pay", asset="TON", how="late")).text
    shop.clock.travel(timedelta(seconds=59))
    await shop.pay.idle()
    assert not shop.application.got
    shop.clock.travel(timedelta(seconds=1))
    await shop.pay.idle()
    assert len(shop.application.got) == 1


async def test_a_lost_attempt_is_told_and_made_again(shop: Shop) -> None:
    await shop.invoice()
    await press(shop, "pay", asset="TON", how="lost")
    await shop.pay.idle()
    assert "attempt 1: lost on the way" in await show(shop)
    assert not shop.application.got
    shop.clock.travel(timedelta(seconds=5))
    await shop.pay.idle()
    assert "attempt 2: answered 200" in await show(shop)


async def test_what_the_payer_chose_is_in_the_invoice(shop: Shop) -> None:
    await shop.invoice(
        swap_to="BTC", hidden_message="the <key>", paid_btn_name="openBot", paid_btn_url="https://a.b/?c&d"
    )
    page = await show(shop)
    assert "the &lt;key&gt;" not in page  # not before it is paid
    assert "Open bot" not in page
    await press(shop, "pay", asset="TON", how="never", comment="thanks", anonymously="0", swap="0")
    paid = shop.pay.invoices[1]
    assert (paid["comment"], paid["paid_anonymously"], paid["is_swapped"]) == ("thanks", False, False)
    page = await show(shop)
    assert "the &lt;key&gt;" in page
    assert "<a href='https://a.b/?c&amp;d' target='_blank' rel='noopener noreferrer'>Open bot</a>" in page
    assert "Not swapped to BTC" in page


async def test_the_form_offers_only_what_the_invoice_allows(shop: Shop) -> None:
    await shop.invoice(allow_comments=False, allow_anonymous=False)
    page = await show(shop)
    assert "name='comment'" not in page
    assert "name='anonymously'" not in page
    assert (await press(shop, "pay", asset="TON", comment="hi")).status_code == 409
    await press(shop, "pay", asset="TON")
    assert shop.pay.invoices[1]["paid_anonymously"] is False


async def test_a_paid_invoices_webhook_can_be_sent_again(shop: Shop) -> None:
    await shop.invoice()
    assert (await press(shop, "webhook")).status_code == 409  # not paid yet
    await press(shop, "pay", asset="TON", how="never")
    assert "The webhook never comes" in await show(shop)
    await press(shop, "webhook")
    await shop.pay.idle()
    assert len(shop.application.got) == 1
    assert "The webhook never comes" not in await show(shop)


async def test_a_disabled_webhook_is_told_and_switched_on_again(make_shop: Callable[..., Any]) -> None:
    shop = await make_shop(retry_after=[])
    shop.application.default = 503
    await shop.invoice()
    await press(shop, "pay", asset="TON", how="once")
    await shop.pay.idle()
    index = (await shop.http.get("/")).text
    assert "role='alert'" in index
    assert "1 attempts to tell about invoice 1 failed, the last one with 503" in index
    assert "Webhooks are disabled" in await show(shop)
    assert "Send the webhook again" not in await show(shop)
    action = re.search(r"action='([^']+)'><button[^>]*>Enable webhooks again<", index)
    assert action
    index = (await shop.http.post(action[1], follow_redirects=True)).text
    assert "Webhooks are disabled" not in index
    assert "role='alert'" in index  # the message stays until it is dismissed
    assert "role='alert'" not in (await shop.http.post("/notices/clear", follow_redirects=True)).text
    shop.application.default = 200
    await press(shop, "webhook")
    await shop.pay.idle()
    assert shop.pay.deliveries[-1].status == 200


async def test_webhooks_are_held_and_released_by_buttons(shop: Shop) -> None:
    await shop.http.post("/webhooks/hold")
    for number in (1, 2):
        await shop.invoice()
        await shop.pay.pay(number)
    index = (await shop.http.get("/")).text
    assert "0 on the way, 2 held" in index
    assert "1 held until you release them" in await show(shop)
    assert "refresh" not in await show(shop)
    await shop.http.post("/webhooks/release")
    await shop.pay.idle()
    assert [delivery.invoice_id for delivery in shop.pay.deliveries] == [2, 1]
    assert "Hold new webhooks" in (await shop.http.get("/")).text


async def test_switches_of_the_account(shop: Shop) -> None:
    def switched() -> tuple[bool, bool, bool]:
        pay = shop.pay
        return pay.suspended, pay.methods.transfers_enabled, pay.webhooks.disabled_at is not None

    for path in ("/account/suspend", "/transfers/enable", "/webhooks/disable"):
        assert (await shop.http.post(path)).status_code == 303
    assert switched() == (True, True, True)
    for path in ("/account/resume", "/transfers/disable", "/webhooks/enable"):
        assert (await shop.http.post(path)).status_code == 303
    assert switched() == (False, False, False)
    assert (await shop.http.post("/webhooks/explode")).status_code == 404
    assert (await shop.http.get("/webhooks/disable")).status_code in {404, 405}
    assert switched() == (False, False, False)


async def test_standing_faults_are_set_in_percent(shop: Shop) -> None:
    form = {"copies": "2", "lost": "10", "unanswered": "0.5", "late_s": "60", "refused": "5"}
    form |= {"missing": "20", "short": "30", "foreign": "40", "slow_s": "1.5"}
    index = (await shop.http.post("/faults", data=form, follow_redirects=True)).text
    assert shop.pay.faults.standing == Standing(
        copies=2,
        lost=0.1,
        unanswered=0.005,
        late_s=60,
        refused=0.05,
        missing=0.2,
        short=0.3,
        foreign=0.4,
        slow_s=1.5,
    )
    shown = dict(re.findall(r"name='(\w+)' value='([^']+)'", index))
    assert {name: shown[name] for name in form} == form
    for wrong in ({"copies": "0"}, {"lost": "101"}, {"late_s": "x"}, {"refused": "nan"}, {"slow_s": "601"}):
        assert (await shop.http.post("/faults", data=form | wrong)).status_code == 409
    assert shop.pay.faults.standing.copies == 2


async def test_a_check_is_taken_on_its_page(shop: Shop) -> None:
    await shop.call("createInvoice", asset="USDT", amount="100")
    await shop.pay.pay(1)
    made = await shop.call("createCheck", asset="USDT", amount="10", pin_to_user_id=7)
    assert "87 USDT (and 10 on hold)" in (await shop.http.get("/")).text
    url = made["bot_check_url"]
    assert "Take the coins" in (await shop.http.get(url)).text
    assert (await shop.http.post(f"{url}/activate", data={"user_id": "8"})).status_code == 409
    assert (await shop.http.post(f"{url}/activate", data={"user_id": "anna"})).status_code == 409
    answer = await shop.http.post(f"{url}/activate", data={"user_id": "7", "username": ""}, follow_redirects=True)
    assert "<b>Activated</b>" in answer.text
    assert (await shop.http.get("/check/CQnothing")).status_code == 404
    assert (await shop.http.post("/check/CQnothing/activate")).status_code == 404


async def test_pages_run_no_script_set_no_cookie_and_are_never_framed(shop: Shop) -> None:
    made = await shop.invoice()
    for path in ("/", f"/invoice/{made['hash']}", "/invoice/IVnothing"):
        answer = await shop.http.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "set-cookie" not in answer.headers
        assert not re.search(r"<script|<style| style=| on\w+=", answer.text)
    style = await shop.http.get("/page.css")
    assert style.headers["content-type"].startswith("text/css")


async def test_one_origin_may_frame_every_page(shop: Shop) -> None:
    made = await shop.invoice()
    shop.pay.framed_by = "http://127.0.0.1:8080"
    for path in ("/", f"/invoice/{made['hash']}", "/invoice/IVnothing"):
        policy = (await shop.http.get(path)).headers["content-security-policy"]
        assert policy.endswith("frame-ancestors http://127.0.0.1:8080")


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


async def test_each_copy_of_a_webhook_has_a_name_and_is_counted_once(shop: Shop) -> None:
    shop.application.answers = [503, 503]
    shop.application.gate.clear()
    await shop.invoice()
    await press(shop, "pay", asset="USDT", how="twice")
    await until(lambda: len(shop.application.got) == 2)
    page = await show(shop)
    assert re.findall(r"<li>(.+?)</li>", page) == [f"copy {copy}, attempt 1: under way" for copy in (1, 2)]
    assert "more on the way" not in page
    assert "http-equiv='refresh'" in page
    shop.application.gate.set()
    await shop.pay.idle()
    assert "2 more on the way" in await show(shop)
    shop.clock.travel(timedelta(seconds=5))
    await shop.pay.idle()
    attempts = re.findall(r"<li>(.+?): answered", await show(shop))
    assert sorted(attempts) == [f"copy {copy}, attempt {attempt}" for copy in (1, 2) for attempt in (1, 2)]


async def test_times_are_told_to_the_minute_and_in_one_shape(make_shop: Callable[..., Any]) -> None:
    shop = await make_shop(retry_after=[])
    shop.application.default = 503
    await shop.invoice(expires_in=60)
    pages = [await show(shop)]
    await shop.pay.pay(1)
    await shop.pay.idle()  # disabled by now, and the owner told
    await shop.invoice()
    await shop.pay.expire(2)
    await shop.call("createInvoice", asset="USDT", amount="100")
    await shop.pay.pay(3)
    check = await shop.call("createCheck", asset="USDT", amount="10")
    await shop.pay.activate_check(1, 7, None)
    pages += [await show(shop, 1), await show(shop, 2)]
    pages += [(await shop.http.get(url)).text for url in ("/", check["bot_check_url"])]
    for page in pages:
        assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", page)
        assert not re.search(r"\d\d:\d\d:\d\d", page)


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


async def test_a_page_of_another_port_is_turned_away_and_the_own_one_is_not(shop: Shop) -> None:
    foreign = await shop.http.post("/account/suspend", headers={"Origin": "http://127.0.0.1:1"})
    assert (foreign.status_code, shop.pay.suspended) == (403, False)
    own = await shop.http.post("/account/suspend", headers={"Origin": "http://127.0.0.1"})
    assert (own.status_code, shop.pay.suspended) == (303, True)


async def test_what_the_application_wrote_is_escaped(shop: Shop) -> None:
    await shop.invoice(description="<script>alert(1)</script>")
    for page in (await show(shop), (await shop.http.get("/")).text):
        assert "<script" not in page
        assert "&lt;script&gt;" in page


async def test_unknown_deleted_and_oversized_get_an_answer(shop: Shop) -> None:
    assert (await shop.http.get("/invoice/IVnothing")).status_code == 404
    assert (await shop.http.post("/invoice/IVnothing/pay")).status_code == 404
    made = await shop.invoice()
    assert (await shop.http.post(f"/invoice/{made['hash']}/pay", content=b"x" * 30_000)).status_code == 413
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
