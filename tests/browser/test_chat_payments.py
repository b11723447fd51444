"""The pay sheet: paid, refused by the bot, paid twice, too poor, by a card, by a link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from playwright.async_api import expect

from sandbox.cryptopay import CryptoPay
from sandbox.stand_in.clock import Clock
from sandbox.stand_in.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Locator

    from tests.browser.bot import Chat

CARD = "381764678:TEST:1"
OFFER: dict[str, Any] = {"title": "30 days", "description": "Three devices", "payload": "order-1", "currency": "XTR"}


async def offered(chat: Chat, stars: int = 250) -> Locator:
    """Anna has an invoice and its sheet is open."""
    await chat.started()
    await chat.bot.call("sendInvoice", chat_id=1001, prices=[{"label": "30 days", "amount": stars}], **OFFER)
    await chat.open(1001)
    await chat.pane().get_by_role("button", name="Pay").focus()
    await chat.page.keyboard.press("Enter")
    sheet = chat.page.get_by_role("dialog", name="Payment")
    await expect(sheet).to_contain_text("Three devices")
    return sheet


def paid(chat: Chat) -> list[dict[str, Any]]:
    """What the bot was told was paid."""
    messages = [update.get("message", {}) for update in chat.bot.updates]
    return [message["successful_payment"] for message in messages if "successful_payment" in message]


async def test_an_invoice_is_paid_by_keyboard_and_leaves_a_receipt(chat: Chat) -> None:
    sheet = await offered(chat)
    await chat.page.keyboard.press("Enter")
    await expect(sheet.get_by_role("status")).to_contain_text("Paid")
    await chat.page.keyboard.press("Enter")
    await expect(sheet).to_have_count(0)
    receipt = chat.pane().get_by_role("button", name="Receipt")
    await expect(receipt).to_be_focused()
    await expect(chat.pane().locator(".status")).to_contain_text("9,750")
    await chat.bot.telegram.idle()
    (payment,) = paid(chat)
    await receipt.click()
    await expect(chat.page.get_by_role("dialog", name="Receipt")).to_contain_text(payment["telegram_payment_charge_id"])


async def test_what_the_bot_refuses_is_said_and_may_be_tried_again(chat: Chat) -> None:
    chat.bot.checkout = "Sold out"
    sheet = await offered(chat)
    await chat.page.keyboard.press("Enter")
    await expect(sheet.get_by_role("status")).to_contain_text("Sold out")
    assert paid(chat) == []
    chat.bot.checkout = ""
    await sheet.get_by_role("button", name="Pay").click()
    await expect(sheet.get_by_role("status")).to_contain_text("Paid")


async def test_the_money_can_be_taken_twice(chat: Chat) -> None:
    sheet = await offered(chat)
    await sheet.get_by_label("Take the money twice").check()
    await sheet.get_by_role("button", name="Pay").click()
    await expect(sheet.get_by_role("status")).to_contain_text("Paid 2 times")
    await chat.bot.telegram.idle()
    ids = {payment["telegram_payment_charge_id"] for payment in paid(chat)}
    assert len(ids) == 2
    assert set(await sheet.locator("code").all_inner_texts()) == ids


async def test_who_has_too_few_stars_is_told_so(chat: Chat) -> None:
    chat.bot.telegram.user(1001).account.stars = 1
    sheet = await offered(chat)
    await sheet.get_by_role("button", name="Pay").click()
    await expect(sheet.get_by_role("status")).to_contain_text("Not enough Stars")
    assert paid(chat) == []


async def test_a_link_is_paid_by_any_user(chat: Chat) -> None:
    await chat.started(1002)
    link = await chat.bot.call("createInvoiceLink", prices=[{"label": "30 days", "amount": 99}], **OFFER)
    keyboard = {"inline_keyboard": [[{"text": "Offer", "url": link}]]}
    await chat.bot.call("sendMessage", chat_id=1002, text="Buy", reply_markup=keyboard)
    await chat.open(1002)
    await chat.pane(1002).get_by_role("button", name="Offer").click()
    sheet = chat.page.get_by_role("dialog", name="Payment")
    await expect(sheet).to_contain_text("30 days")
    await sheet.get_by_role("button", name="Pay").click()
    await expect(sheet.get_by_role("status")).to_contain_text("Paid")
    await expect(chat.pane(1002).locator(".service")).to_contain_text("Boris paid")


async def test_a_card_is_asked_for_an_email_and_may_be_declined(chat: Chat) -> None:
    await chat.started()
    card = OFFER | {"currency": "RUB", "provider_token": CARD, "need_email": True, "send_email_to_provider": True}
    link = await chat.bot.call("createInvoiceLink", prices=[{"label": "30 days", "amount": 14_900}], **card)
    keyboard = {"inline_keyboard": [[{"text": "Pay by card", "url": link}]]}
    await chat.bot.call("sendMessage", chat_id=1001, text="Buy", reply_markup=keyboard)
    await chat.open(1001)
    await chat.pane().get_by_role("button", name="Pay by card").click()
    sheet = chat.page.get_by_role("dialog", name="Payment")
    pay = sheet.get_by_role("button", name="Pay RUB\u00a0149.00")
    email = sheet.get_by_label("Email for the receipt")
    await expect(email).to_have_value("user1001@example.com")
    await email.fill("anna@")
    await pay.click()
    await expect(sheet.get_by_role("status")).to_contain_text("Email for the receipt: not one that the app takes")
    await expect(email).to_be_focused()
    await email.fill(" anna@example.org ")
    await sheet.get_by_label("Declined card").check()
    await pay.click()
    await expect(sheet.get_by_role("status")).to_contain_text("the card was declined")
    assert paid(chat) == []
    await sheet.get_by_label("Test card").check()
    await pay.click()
    await expect(sheet.get_by_role("status")).to_contain_text("RUB\u00a0149.00")
    await chat.bot.telegram.idle()
    (payment,) = paid(chat)
    assert payment["order_info"] == {"email": "anna@example.org"}
    [charge] = chat.bot.telegram.payments.charges
    assert charge.to_provider == {"email": "anna@example.org"}


async def test_escape_closes_the_crypto_pay_sheet_after_a_payment_in_its_frame(chat: Chat) -> None:
    pay = CryptoPay(["1:token"], clock=Clock(), retry_after=[])
    server = Server(pay.app)
    await server.start()
    await pay.start()
    try:
        pay.public_url, pay.framed_by = server.url, chat.bot.server.url
        chat.bot.telegram.framed = (server.url,)
        made = await pay.call("createInvoice", {"asset": "USDT", "amount": "3"})
        await chat.started()
        keyboard = {"inline_keyboard": [[{"text": "Pay by coins", "url": made["bot_invoice_url"]}]]}
        await chat.bot.call("sendMessage", chat_id=1001, text="Buy", reply_markup=keyboard)
        await chat.open(1001)
        opener = chat.pane().get_by_role("button", name="Pay by coins")
        await opener.click()
        sheet = chat.page.get_by_role("dialog", name="Crypto Pay")
        inside = sheet.frame_locator("iframe")
        await inside.get_by_role("button", name="Pay", exact=True).focus()
        await chat.page.keyboard.press("Enter")
        await expect(inside.get_by_role("status")).to_contain_text("Paid")
        await expect(sheet.get_by_role("button", name="Close")).to_be_focused()
        await inside.get_by_role("link", name="All invoices").focus()
        await chat.page.keyboard.press("Tab")
        await expect(sheet.get_by_role("link", name="Open in a tab")).to_be_focused()
        await chat.page.keyboard.press("Escape")
        await expect(sheet).to_have_count(0)
        await expect(opener).to_be_focused()
    finally:
        await pay.stop()
        await server.stop()


async def test_a_star_subscription_is_canceled_and_resumed(chat: Chat) -> None:
    await chat.started()
    period = {"subscription_period": 2_592_000}
    link = await chat.bot.call("createInvoiceLink", prices=[{"label": "a month", "amount": 99}], **OFFER, **period)
    assert (await chat.bot.telegram.user(1001).pay_link(link)).status == "paid"
    await chat.open(1001)
    await chat.pane().get_by_role("button", name="More").click()
    await chat.page.get_by_role("menuitem", name="Star subscriptions").click()
    sheet = chat.page.get_by_role("dialog", name="Star subscriptions")
    await expect(sheet).to_contain_text("then renewed")
    await sheet.get_by_role("button", name="Cancel").focus()
    await chat.page.keyboard.press("Enter")
    await expect(sheet).to_contain_text("canceled")
    await expect(sheet.get_by_role("button", name="Resume")).to_be_focused()
    await chat.page.keyboard.press("Enter")
    await expect(sheet).to_contain_text("then renewed")
    await chat.bot.telegram.idle()
    states = [update["subscription"]["state"] for update in chat.bot.updates if "subscription" in update]
    assert states == ["canceled", "active"]
