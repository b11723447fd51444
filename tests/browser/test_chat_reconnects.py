"""A page that is open while the sandbox is started anew goes on by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.async_api import expect

from sandbox.stand_in.server import Server
from tests.browser.bot import running
from tests.endpoint import Endpoint

if TYPE_CHECKING:
    from playwright.async_api import Browser


async def test_the_page_comes_back_when_the_server_does(
    endpoints: tuple[Endpoint, Endpoint], chromium: Browser
) -> None:
    front = Endpoint()
    await front.server.start()
    async with running(front, endpoints[1]) as bot:
        context = await chromium.new_context()  # its own: refused connections are errors on the console here
        page = await context.new_page()
        await page.goto(f"{bot.chat_url}#user=1001")
        await bot.telegram.user(1001).send("before")
        await expect(page.locator(".bubble").first).to_contain_text("before")
        port = front.server.port
        await bot.telegram.stop()
        await front.server.stop()
        await expect(page.locator("#offline")).to_be_visible()
        bot.server = front.server = Server(front, port)
        await front.server.start()
        await bot.telegram.start()
        await expect(page.locator("#offline")).to_be_hidden()
        await bot.telegram.user(1001).send("after")
        await expect(page.locator(".bubble", has_text="You wrote: after")).to_be_visible()
        await context.close()
    await front.server.stop()
