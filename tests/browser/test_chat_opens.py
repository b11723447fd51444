from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.clock import Clock
from sandbox.server import Server
from sandbox.telegram import Telegram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page


@pytest.fixture
async def chat_url() -> AsyncIterator[str]:
    telegram = Telegram("42:TEST", "atlas_local_bot", Clock())
    telegram.user(1001, "Anna", language_code="en")
    server = Server(telegram.app)
    await server.start()
    await telegram.start()
    yield f"{server.url}/chat/"
    await telegram.stop()
    await server.stop()
    telegram.close()


async def test_the_chat_page_opens_and_shows_who_is_there(page: Page, chat_url: str) -> None:
    await page.goto(chat_url)
    await page.get_by_role("button", name="Anna").click()
    assert await page.locator("#bot-name").inner_text() == "Atlas"
