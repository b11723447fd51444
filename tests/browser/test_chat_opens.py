"""What opens where: the list, a chat, several of them, on a wide screen and on a phone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.bot import Chat

PHONE = {"width": 390, "height": 844}


async def test_a_new_person_meets_the_bot_by_one_press_of_start(chat: Chat) -> None:
    await chat.open()
    await chat.page.get_by_role("button", name="Anna").first.click()
    await expect(chat.pane().get_by_text("No messages here yet")).to_be_visible()
    await chat.pane().get_by_role("button", name="Start", exact=True).click()
    await expect(chat.messages().last).to_contain_text("Menu of Anna")
    await expect(chat.pane().get_by_role("separator")).to_have_text("Today")
    await expect(chat.pane().get_by_role("textbox", name="Message")).to_be_focused()


async def test_two_people_side_by_side_see_their_own_chat_only(chat: Chat) -> None:
    chat.bot.telegram.admins = frozenset({1002})
    await chat.open(1001)
    await chat.page.get_by_role("button", name="Boris").first.hover()
    await chat.page.get_by_role("button", name="Open Boris beside").click()
    await chat.pane(1002).wait_for()
    assert chat.page.url.endswith("#user=1001,1002")
    for person in (1001, 1002):
        await chat.pane(person).get_by_role("button", name="Start", exact=True).click()
    await expect(chat.messages(1001).last).to_contain_text("Menu of Anna")
    await expect(chat.messages(1002).last).to_contain_text("Menu of Boris")
    assert "Boris" not in await chat.pane(1001).inner_text()
    await expect(chat.pane(1002).locator("header")).to_contain_text("admin")
    await chat.page.reload()
    await expect(chat.messages(1002).last).to_contain_text("Menu of Boris")
    await chat.pane(1001).get_by_role("button", name="Close this chat").click()
    await expect(chat.pane(1001)).to_have_count(0)
    await expect(chat.messages(1002).last).to_be_visible()


async def test_a_narrower_chat_stays_at_its_end_and_cuts_no_button(chat: Chat) -> None:
    await chat.page.set_viewport_size({"width": 900, "height": 700})
    await chat.bot.telegram.user(1001).send("words that need more lines in a narrower chat " * 40)
    await chat.started(1001)
    await chat.open(1001)
    await expect(chat.messages().last).to_be_in_viewport(ratio=1)
    await chat.page.get_by_role("button", name="Boris").first.hover()
    await chat.page.get_by_role("button", name="Open Boris beside").click()
    await chat.pane(1002).wait_for()
    await expect(chat.messages().last).to_be_in_viewport(ratio=1)
    keys = chat.pane().locator(".key")
    await expect(keys).to_have_count(4)
    over = "all => all.filter((one) => one.getBoundingClientRect().right > one.closest('.messages').getBoundingClientRect().right)"
    assert await keys.evaluate_all(f"all => ({over})(all).length") == 0


async def test_the_list_is_walked_with_arrows_and_opens_beside(chat: Chat) -> None:
    await chat.open()
    anna = chat.page.locator("[data-user='1001']")
    await anna.focus()
    await chat.page.keyboard.press("ArrowDown")
    await expect(chat.page.locator("[data-user='1002']")).to_be_focused()
    await chat.page.keyboard.press("Home")
    await chat.page.keyboard.press("Enter")
    await expect(chat.pane(1001).get_by_role("button", name="Start", exact=True)).to_be_focused()
    await chat.page.locator("[data-user='1002']").focus()
    await chat.page.keyboard.press("ArrowRight")
    await chat.page.keyboard.press("Enter")
    await expect(chat.pane(1002)).to_be_visible()
    await expect(chat.pane(1001)).to_be_visible()


async def test_a_phone_shows_the_list_or_one_chat_and_nothing_runs_over(chat: Chat) -> None:
    await chat.page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # two of its keys
    await chat.started()
    await chat.bot.call("sendMessage", chat_id=1001, text="vless://" + "x" * 300)
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    await chat.open()
    await expect(chat.page.locator("#panes")).to_be_hidden()
    assert await chat.page.evaluate(overflow) == 0
    await chat.page.get_by_role("button", name="Anna").first.click()
    await expect(chat.messages().last).to_contain_text("vless://")
    await expect(chat.page.locator("#people")).to_be_hidden()
    assert await chat.page.evaluate(overflow) == 0
    clipped = "all => all.filter((one) => one.scrollWidth > one.clientWidth).length"
    assert await chat.messages().evaluate_all(clipped) == 0
    boxes = [await one.bounding_box() for one in await chat.messages().all()]
    assert all(box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes), boxes
    await chat.page.get_by_role("button", name="Back to the list").click()
    await expect(chat.page.locator("#users")).to_be_visible()
    await chat.page.go_back()
    await expect(chat.messages().last).to_be_visible()


async def test_what_stands_in_one_line_has_one_middle(chat: Chat) -> None:
    await chat.started(1001)
    await chat.open(1001)
    await chat.page.get_by_role("button", name="Inspector", exact=True).click()
    await expect(chat.page.locator(".filters")).to_be_visible()
    middles = "all => all.map((one) => one.getBoundingClientRect()).map((box) => box.top + box.height / 2)"
    for line in ("#add > :is(input, select, button)", ".pane header :is(.face, .round)", ".filters > *"):
        shown = chat.page.locator(line).filter(visible=True)
        found = await shown.evaluate_all(middles)
        assert len(found) > 1, line
        assert max(found) - min(found) <= 1, line


async def test_light_and_dark_follow_the_system(chat: Chat) -> None:
    await chat.started()
    await chat.open(1001)
    seen = {}
    ground = "element => getComputedStyle(element).backgroundColor"
    for scheme in ("light", "dark"):
        await chat.page.emulate_media(color_scheme=scheme)
        colour = await chat.messages().last.evaluate(ground)
        seen[scheme] = [int(part) for part in re.findall(r"\d+", colour)][:3]
    assert min(seen["light"]) > 200
    assert max(seen["dark"]) < 90


async def test_a_person_is_added_blocks_comes_back_and_leaves_for_good(chat: Chat) -> None:
    await chat.open()
    await chat.page.get_by_label("Name of the new person").fill("<b>Eve</b>")
    await chat.page.get_by_role("button", name="Add", exact=True).click()
    pane = chat.page.locator(".pane")
    await expect(pane.locator("header")).to_contain_text("<b>Eve</b>")
    await pane.get_by_role("button", name="Start", exact=True).click()
    await expect(pane.locator(".bubble").last).to_contain_text("Menu of <b>Eve</b>")

    async def choose(item: str) -> None:
        await pane.get_by_role("button", name="More").click()
        await chat.page.get_by_role("menuitem", name=item).click()

    await choose("Block the bot")
    await expect(pane.locator(".status")).to_have_text("the bot is blocked")
    await pane.get_by_role("button", name="Restart").click()
    await expect(pane.locator(".bubble")).to_have_count(4)
    await choose("Delete the account")
    await chat.page.get_by_role("button", name="Delete", exact=True).click()
    await expect(pane.get_by_text("This account is deleted.")).to_be_visible()
    await expect(pane.get_by_role("textbox")).to_have_count(0)


async def test_a_deep_link_starts_with_its_parameter(chat: Chat) -> None:
    await chat.open(1001)
    await chat.pane().get_by_role("button", name="More").focus()
    await chat.page.keyboard.press("ArrowDown")
    await chat.page.keyboard.press("ArrowDown")
    await chat.page.keyboard.press("Enter")
    await chat.page.get_by_label("Parameter of the link").fill("r_abc")
    await chat.page.keyboard.press("Enter")
    await expect(chat.messages().first).to_contain_text("/start r_abc")
