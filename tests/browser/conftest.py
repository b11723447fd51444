"""Pages in a real browser: every test gets a context of its own, and fails when its page logged an error."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from sandbox.commands import browser
from tests.browser.bot import Chat, running
from tests.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from tests.browser.bot import Bot


PATIENCE_MS = 30_000  # of every test here, whichever of them are run: a loaded machine, or a slow one
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One browser for all; a machine without one skips by name, CI fails."""
    found = browser.find()
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(browser.MISSING)
        pytest.skip(browser.MISSING)
    async with browser.opened(found) as opened:
        yield opened


@pytest.fixture
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """A page in a context of its own. An uncaught error or an error on the console (a refused script, say) fails the test."""
    context = await chromium.new_context(locale="en-GB", timezone_id="Europe/Moscow")
    context.set_default_timeout(PATIENCE_MS)
    opened = await context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    yield opened
    await context.close()
    assert complaints == []


@pytest.fixture(scope="session")
async def endpoints() -> AsyncIterator[tuple[Endpoint, Endpoint]]:
    """Two servers for all tests: to start and stop them each time would take longer than most tests."""
    pair = Endpoint(), Endpoint()
    for endpoint in pair:
        await endpoint.server.start()
    yield pair
    for endpoint in pair:
        await endpoint.server.stop()


@pytest.fixture
async def bot(endpoints: tuple[Endpoint, Endpoint]) -> AsyncIterator[Bot]:
    """A tiny bot and its Telegram; Anna (1001) and Boris (1002) have not started it."""
    async with running(*endpoints) as one:
        yield one


@pytest.fixture
async def chat(bot: Bot, page: Page) -> Chat:
    """Its chat page. The page goes before the server does, so that no lost connection counts as an error."""
    return Chat(bot, page)
