"""The inspector: each update with its status, its time and its calls; filters; a pause."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.bot import Chat


async def test_an_update_shows_its_status_time_and_calls(chat: Chat) -> None:
    menu = await chat.started()
    await chat.open(1001, inspector=True)
    await chat.bot.telegram.user(1001).click(menu["message_id"], "Count")
    entry = chat.page.locator(".entry", has_text="count:1")
    head = entry.get_by_role("button").first
    await expect(head).to_contain_text("callback query")
    await expect(head).to_contain_text("Anna")
    await expect(head).to_contain_text(re.compile(r"200.*\d ms . 2 calls"))
    await head.focus()
    await chat.page.keyboard.press("Enter")
    await expect(head).to_have_attribute("aria-expanded", "true")
    await expect(head).to_be_focused()
    details = entry.locator(".details")
    await expect(details).to_contain_text("editMessageText")
    await expect(details).to_contain_text("answerCallbackQuery")
    await expect(details).to_contain_text("attempt 1")
    await details.get_by_text("Update", exact=False).first.click()
    await expect(details.locator("pre").first).to_contain_text('"data": "count:1"')


async def test_a_call_in_the_response_and_a_refused_call_are_told(chat: Chat) -> None:
    await chat.started()
    url = f"{chat.bot.server.url}/bot42:TEST/sendMessage"
    await chat.bot.client.post(url, json={"chat_id": 1001, "text": "<b>", "parse_mode": "HTML"})
    await chat.open(1001, inspector=True)
    head = chat.page.locator(".entry", has_text="/start").get_by_role("button").first
    await head.click()
    details = chat.page.locator(".details")
    await expect(details).to_contain_text("in response")
    await expect(details).to_contain_text("can't parse entities")
    await expect(head).to_contain_text("call 400")


async def test_failures_people_and_a_pause_filter_what_is_shown(chat: Chat) -> None:
    await chat.started(1001)
    await chat.open(inspector=True)
    chat.bot.status = 500
    await chat.bot.telegram.user(1002).send("fails")
    failed = chat.page.locator(".entry.failed")
    await expect(failed).to_contain_text(["fails"])
    await expect(chat.page.locator("#pending")).to_have_text("1 undelivered")
    await chat.page.get_by_label("Only failures").check()
    await expect(chat.page.locator(".entry")).to_have_count(1)
    chat.bot.status = 200
    await expect(failed).to_contain_text(re.compile(r"\d attempts"))
    await expect(chat.page.locator("#pending")).to_have_text("all delivered")
    await chat.page.get_by_label("Whose").select_option("Anna")
    await expect(chat.page.locator("#entries")).to_contain_text("Nothing to show yet")
    await chat.page.get_by_label("Only failures").uncheck()
    await expect(chat.page.locator(".entry")).to_contain_text(["/start"])
    await chat.page.get_by_role("button", name="Pause").click()
    await chat.bot.telegram.user(1001).send("while paused")
    await chat.bot.telegram.idle()
    await expect(chat.page.locator(".entry", has_text="while paused")).to_have_count(0)
    await chat.page.get_by_role("button", name="Go on").click()
    await expect(chat.page.locator(".entry", has_text="while paused")).to_have_count(1)
    await chat.page.keyboard.press("Escape")
    await expect(chat.page.get_by_role("button", name="Inspector", exact=True)).to_be_focused()


async def test_the_focus_goes_in_and_out_with_the_inspector(chat: Chat) -> None:
    await chat.started()
    await chat.open(1001)
    button = chat.page.get_by_role("button", name="Inspector", exact=True)
    await button.focus()
    await chat.page.keyboard.press("Enter")
    await expect(chat.page.get_by_role("heading", name="Inspector")).to_be_focused()
    await chat.page.locator(".entry").first.wait_for()
    for _ in range(5):  # pause, close, whose, failures, the first entry
        await chat.page.keyboard.press("Tab")
    await expect(chat.page.locator(".entry > button").first).to_be_focused()
    await chat.page.keyboard.press("Escape")
    await expect(button).to_be_focused()
    await button.click()
    await expect(chat.page.get_by_role("heading", name="Inspector")).to_be_focused()
    await button.click()
    await expect(chat.page.locator("#inspector")).to_be_hidden()


async def test_nothing_runs_over_beside_the_inspector_of_a_narrow_screen(chat: Chat) -> None:
    await chat.page.set_viewport_size({"width": 1000, "height": 800})
    menu = await chat.started()
    await chat.open(1001, inspector=True)
    chat.bot.status = 500
    await chat.bot.telegram.user(1001).click(menu["message_id"], "Count")
    entry = chat.page.locator(".entry", has_text="count:1")
    await expect(entry).to_contain_text(re.compile(r"\d attempts"))
    chat.bot.status = 200
    await expect(entry).to_contain_text(re.compile(r"callback query.*Anna.*\d attempts . 2 calls"))
    over = "all => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.outerHTML)"
    assert await chat.page.locator("#entries, .entry, .second, .second > *").evaluate_all(over) == []
    # A field tells nothing of its placeholder's width: that of the same words as its value does.
    name = chat.page.get_by_label("Name of the new person")
    await name.fill(await name.get_attribute("placeholder") or "")
    assert await name.evaluate_all(over) == []
