"""What axe-core, the usual checker of accessibility, says of the page: names, roles, contrast, in both colour schemes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from tests.sandbox.telegram.conftest import png

if TYPE_CHECKING:
    from tests.browser.bot import Chat


async def complaints(chat: Chat) -> str:
    """Violations of WCAG 2.2 AA, in words; waits for what moves to have come to rest."""
    await chat.page.evaluate(
        "() => Promise.allSettled(document.getAnimations().filter((one) => one.effect.getTiming().iterations === 1).map((one) => one.finished))"
    )
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    results = await Axe().run(chat.page, options={"runOnly": tags})
    return "" if results.violations_count == 0 else str(results.generate_report())


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_has_a_name_a_role_and_enough_contrast(chat: Chat, scheme: Literal["light", "dark"]) -> None:
    chat.bot.telegram.admins = frozenset({1002})
    await chat.page.emulate_media(color_scheme=scheme)
    menu = await chat.started()
    rich = "<b>b</b> <code>c</code> <a href='https://example.org'>link</a> <tg-spoiler>s</tg-spoiler><blockquote>q</blockquote>"
    await chat.bot.call("sendMessage", chat_id=1001, text=rich, parse_mode="HTML")
    invoice = {"title": "30 days", "description": "Three devices", "payload": "1", "currency": "XTR"}
    await chat.bot.call("sendInvoice", chat_id=1001, prices=[{"label": "d", "amount": 9}], **invoice)
    url = f"{chat.bot.server.url}/bot42:TEST/sendPhoto"
    await chat.bot.client.post(url, data={"chat_id": "1001"}, files={"photo": ("p.png", png(), "image/png")})
    await chat.open(1001, 1002, inspector=True)
    await chat.bot.telegram.user(1001).click(menu["message_id"], "Count")
    # Drawn anew with each call: the last one first, or what is pressed and looked at changes meanwhile.
    await expect(chat.pane().locator(".toast")).to_have_text("That is 1")
    await expect(chat.page.locator(".entry", has_text="count:1")).to_contain_text("2 calls")
    await chat.page.locator(".entry button", has_text="count:1").click()
    await expect(chat.page.locator(".entry .details")).to_be_visible()
    await chat.pane().get_by_role("textbox").fill("/")
    assert await complaints(chat) == ""
    await chat.pane().get_by_role("button", name="Pay").click()
    assert await complaints(chat) == ""
