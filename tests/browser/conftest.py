"""Pages in a real browser: every test gets a context of its own, and fails when its page logged an error."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sandbox import browser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page


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
    context.set_default_timeout(15_000)
    opened = await context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    yield opened
    await context.close()
    assert complaints == []
