"""Writing, buttons, pictures, links: what a person does in a chat, mostly with the keyboard alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.sandbox.telegram.conftest import png

if TYPE_CHECKING:
    from tests.browser.bot import Chat


async def test_a_command_is_found_and_sent_by_keyboard_alone(chat: Chat) -> None:
    await chat.started()
    await chat.open(1001)
    field = chat.pane().get_by_role("textbox", name="Message")
    await expect(field).to_be_focused()
    await chat.page.keyboard.type("/")
    options = chat.pane().get_by_role("option")
    await expect(options).to_have_text(["/startFrom the beginning", "/buyWhat it costs", "/helpAnswers"])
    await chat.page.keyboard.press("ArrowDown")
    await expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    assert await field.get_attribute("aria-activedescendant") == await options.nth(1).get_attribute("id")
    await chat.page.keyboard.press("Escape")
    await expect(options).to_have_count(0)
    await chat.page.keyboard.type("h")
    await expect(options).to_have_text(["/helpAnswers"])
    await chat.page.keyboard.press("Enter")
    await expect(chat.messages().last).to_contain_text("You wrote: /help")
    await expect(field).to_have_value("")
    await expect(field).to_be_focused()


async def test_a_slash_says_that_there_are_no_commands(chat: Chat) -> None:
    await chat.bot.call("deleteMyCommands")
    await chat.started()
    await chat.open(1001)
    told = chat.pane().get_by_text("This bot has not set any commands")
    await expect(chat.pane().get_by_role("textbox", name="Message")).to_be_focused()
    await expect(told).to_be_hidden()
    await chat.page.keyboard.type("/")
    await expect(told).to_be_visible()
    await chat.page.keyboard.press("Escape")
    await expect(told).to_be_hidden()
    await chat.page.keyboard.type("help")
    await expect(told).to_be_visible()
    await chat.page.keyboard.press("Enter")
    await expect(chat.messages().last).to_contain_text("You wrote: /help")
    await expect(told).to_be_hidden()


async def test_a_press_edits_in_place_toasts_and_keeps_focus_and_place(chat: Chat) -> None:
    await chat.started()
    for number in range(30):
        await chat.bot.call("sendMessage", chat_id=1001, text=f"line {number}")
    await chat.open(1001)
    box = chat.pane().get_by_role("log")
    await box.evaluate("element => { element.scrollTop = 40; }")
    button = chat.pane().get_by_role("button", name="Count")
    await button.focus()
    before = await button.bounding_box()
    await chat.page.keyboard.press("Enter")
    await expect(chat.pane().get_by_text("Counted 1")).to_be_visible()
    await expect(chat.pane().locator(".toast")).to_have_text("That is 1")
    await expect(button).to_be_focused()
    after = await button.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(after["y"] - before["y"]) < 2
    await chat.bot.call("sendMessage", chat_id=1001, text="news")
    await expect(chat.pane().get_by_role("button", name="New messages")).to_be_visible()
    assert await box.evaluate("element => element.scrollTop") < 100
    await chat.page.keyboard.press("Enter")
    await expect(chat.pane().get_by_text("Counted 2")).to_be_visible()


async def test_what_one_reads_stays_where_it_is_when_something_above_grows(chat: Chat) -> None:
    menu = await chat.started()
    for number in range(30):
        await chat.bot.call("sendMessage", chat_id=1001, text=f"line {number}")
    await chat.open(1001)
    read = chat.pane().get_by_text("line 12", exact=True)
    await read.evaluate("element => element.scrollIntoView({ block: 'center' })")
    before = await read.bounding_box()
    place = {"chat_id": 1001, "message_id": menu["message_id"]}
    await chat.bot.call("editMessageText", text="taller\n" * 12 + "end", **place)
    await expect(chat.pane().get_by_text("taller")).to_have_count(1)
    after = await read.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(after["y"] - before["y"]) < 2


async def test_an_unanswered_press_spins_and_an_alert_is_a_dialog(chat: Chat) -> None:
    await chat.started()
    await chat.open(1001)
    slow = chat.pane().get_by_role("button", name="Slow")
    await slow.click()
    await expect(slow).to_have_attribute("aria-busy", "true")
    await chat.pane().get_by_role("button", name="Warn").click()
    alert = chat.page.get_by_role("dialog", name="Atlas")
    await expect(alert).to_contain_text("Mind the gap")
    await chat.page.keyboard.press("Escape")
    await expect(alert).to_have_count(0)
    await expect(chat.pane().get_by_role("button", name="Warn")).to_be_focused()


async def test_buttons_are_walked_with_arrows(chat: Chat) -> None:
    await chat.started()
    await chat.open(1001)
    await expect(chat.pane().get_by_role("textbox")).to_be_focused()
    await chat.page.keyboard.press("ArrowUp")
    await expect(chat.pane().get_by_role("button", name="Copy key")).to_be_focused()
    await chat.page.keyboard.press("ArrowRight")
    await chat.page.keyboard.press("ArrowUp")
    await expect(chat.pane().get_by_role("button", name="Warn")).to_be_focused()
    await chat.page.keyboard.press("Escape")
    await expect(chat.pane().get_by_role("textbox")).to_be_focused()


async def test_a_copy_button_and_a_code_put_their_text_on_the_clipboard(chat: Chat) -> None:
    await chat.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await chat.started()
    await chat.bot.call("sendMessage", chat_id=1001, text="<code>secret code</code>", parse_mode="HTML")
    await chat.open(1001)
    await chat.pane().get_by_role("button", name="Copy key").click()
    await expect(chat.pane().locator(".toast")).to_have_text("Copied")
    assert await chat.page.evaluate("navigator.clipboard.readText()") == "vless://key"
    await chat.pane().get_by_role("button", name="Copy secret code").focus()
    await chat.page.keyboard.press("Enter")
    await chat.page.wait_for_function("async () => await navigator.clipboard.readText() === 'secret code'")


async def test_a_photo_opens_and_closes_by_keyboard(chat: Chat) -> None:
    await chat.started()
    await chat.open(1001)
    upload = {"photo": ("p.png", png(400, 200), "image/png")}
    url = f"{chat.bot.server.url}/bot42:TEST/sendPhoto"
    await chat.bot.client.post(url, data={"chat_id": "1001", "caption": "QR"}, files=upload)
    photo = chat.pane().get_by_role("button", name="Open: Photo: QR")
    await photo.focus()
    await chat.page.keyboard.press("Enter")
    shown = chat.page.get_by_role("dialog", name="Photo").get_by_role("img")
    await expect(shown).to_be_visible()
    await chat.page.wait_for_function("() => document.querySelector('dialog img').naturalWidth === 400")
    await chat.page.keyboard.press("Escape")
    await expect(shown).to_have_count(0)
    await expect(photo).to_be_focused()


async def test_a_document_is_saved_under_its_name_and_a_forward_says_whose_it_is(chat: Chat) -> None:
    menu = await chat.started()
    await chat.started(1002)
    url = f"{chat.bot.server.url}/bot42:TEST/sendDocument"
    upload = {"document": ("rules.txt", b"Be kind.", "text/plain")}
    await chat.bot.client.post(url, data={"chat_id": "1001", "caption": "Read"}, files=upload)
    await chat.open(1001, 1002)
    file = chat.pane().get_by_role("link", name="Save rules.txt")
    await expect(file).to_contain_text("8 B")
    async with chat.page.expect_download() as saving:
        await file.click()
    saved = await saving.value
    assert saved.suggested_filename == "rules.txt"
    assert (await saved.path()).read_bytes() == b"Be kind."
    source = {"from_chat_id": 1001, "message_id": menu["message_id"]}
    await chat.bot.call("forwardMessage", chat_id=1002, **source)
    await expect(chat.messages(1002).last).to_contain_text("Forwarded from Atlas")


async def test_a_message_is_edited_and_deleted_by_keyboard_alone(chat: Chat) -> None:
    await chat.started()
    await chat.open(1001)
    await chat.pane().get_by_role("textbox").fill("first words")
    await chat.page.keyboard.press("Enter")
    await expect(chat.messages().last).to_contain_text("You wrote: first words")
    rows = chat.pane().locator("[data-message]")
    await chat.pane().get_by_role("log").focus()
    await chat.page.keyboard.press("ArrowUp")
    await expect(rows.last).to_be_focused()
    await chat.page.keyboard.press("ArrowUp")
    await chat.page.keyboard.press("Enter")
    await expect(chat.page.get_by_role("menuitem")).to_have_text(["Copy text", "Edit\u2026", "Delete for both"])
    await chat.page.keyboard.press("ArrowDown")
    await chat.page.keyboard.press("Enter")
    await chat.page.get_by_role("dialog").get_by_role("textbox").fill("second words")
    await chat.page.keyboard.press("Tab")
    await chat.page.keyboard.press("Enter")
    await expect(rows.nth(2)).to_contain_text("second words")
    await expect(rows.nth(2)).to_contain_text("edited")
    await chat.bot.telegram.idle()
    assert chat.bot.updates[-1]["edited_message"]["text"] == "second words"
    await rows.last.focus()
    await chat.page.keyboard.press("Enter")
    await chat.page.keyboard.press("End")
    await chat.page.keyboard.press("Enter")
    await expect(rows).to_have_count(3)


async def test_markup_that_a_user_writes_stays_text(chat: Chat) -> None:
    attack = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    chat.bot.telegram.user(1003, attack[:60])
    await chat.started()
    await chat.open(1001, 1003, inspector=True)
    await chat.pane().get_by_role("textbox").fill(attack)
    await chat.page.keyboard.press("Enter")
    await expect(chat.messages().last).to_contain_text(f"You wrote: {attack}")
    await expect(chat.page.locator(".entry").first).to_contain_text(attack[:60])
    assert await chat.page.locator("script:not([src]), img").count() == 0
    assert "owned" not in (await chat.page.title()).replace(attack[:60], "")


async def test_a_shared_link_is_copied_or_opened_by_another_user(chat: Chat) -> None:
    await chat.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await chat.started()
    share = "https://t.me/share/url?url=https%3A%2F%2Ft.me%2Fatlas_local_bot%3Fstart%3Dr_abc&text=Try+it"
    keyboard = {"inline_keyboard": [[{"text": "Invite", "url": share}]]}
    await chat.bot.call("sendMessage", chat_id=1001, text="Invite a friend", reply_markup=keyboard)
    await chat.open(1001)
    await chat.pane().get_by_role("button", name="Invite").click()
    sheet = chat.page.get_by_role("dialog", name="Share")
    await sheet.get_by_role("button", name="Copy").click()
    await expect(sheet.get_by_role("status")).to_have_text("Copied")
    assert (
        await chat.page.evaluate("navigator.clipboard.readText()") == "Try it\nhttps://t.me/atlas_local_bot?start=r_abc"
    )
    await sheet.get_by_role("button", name="Boris").click()
    await expect(chat.messages(1002).first).to_contain_text("/start r_abc")


async def test_a_link_to_a_user_of_the_real_telegram_opens_nothing(chat: Chat) -> None:
    """The sandbox's support account has a name that any user may own out there."""
    await chat.started()
    keyboard = {"inline_keyboard": [[{"text": "Support", "url": "https://t.me/atlas_local_support"}]]}
    await chat.bot.call("sendMessage", chat_id=1001, text="Ask", reply_markup=keyboard)
    await chat.open(1001)
    await chat.pane().get_by_role("button", name="Support").click()
    await expect(chat.pane().locator(".toast")).to_have_text("Telegram would open https://t.me/atlas_local_support")
    assert len(chat.page.context.pages) == 1


@pytest.mark.parametrize("framed", [True, False])
async def test_a_page_of_the_sandbox_opens_in_a_sheet_and_no_other_does(chat: Chat, *, framed: bool) -> None:
    inside = "http://127.0.0.1:9/hello"  # answered by the browser itself, below
    chat.bot.telegram.framed = ("http://127.0.0.1:9",) if framed else ()
    await chat.page.context.route(
        "**/hello", lambda route: route.fulfill(body="<p>Invoice</p>", content_type="text/html")
    )
    await chat.started()
    keyboard = {"inline_keyboard": [[{"text": "Pay there", "url": inside}]]}
    await chat.bot.call("sendMessage", chat_id=1001, text="Invoice", reply_markup=keyboard)
    await chat.open(1001)
    button = chat.pane().get_by_role("button", name="Pay there")
    if not framed:
        async with chat.page.context.expect_page() as opened:
            await button.click()
        assert (await opened.value).url == inside
        return
    await button.click()
    sheet = chat.page.get_by_role("dialog", name="Crypto Pay")
    await expect(sheet.frame_locator("iframe").get_by_text("Invoice")).to_be_visible()
    await expect(sheet.get_by_role("link", name="Open in a tab")).to_have_attribute("href", inside)
    await sheet.get_by_role("button", name="Close").click()
    await expect(button).to_be_focused()
