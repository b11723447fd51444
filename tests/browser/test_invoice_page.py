"""Crypto Pay's pages in a frame of a phone's width: paid by keyboard, accessible in both schemes, framed by one origin alone."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from sandbox.cryptopay import CryptoPay
from sandbox.stand_in.clock import Clock
from sandbox.stand_in.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, FrameLocator, Page
    from starlette.requests import Request
    from starlette.responses import Response

PHONE = {"width": 390, "height": 760}


async def framing(request: Request) -> Response:
    """A page that shows another one as the chat does."""
    url = request.query_params["url"]
    return HTMLResponse(
        "<!doctype html><html lang='en'><title>Chat</title><link rel='icon' href='data:,'><body style='margin:0'>"
        f"<iframe title='Crypto Pay' src='{url}' sandbox='allow-forms allow-same-origin allow-scripts allow-popups'"
        " style='border:0;width:390px;height:740px'></iframe></body></html>"
    )


@pytest.fixture
async def pay() -> AsyncIterator[CryptoPay]:
    made = CryptoPay(["1:token"], clock=Clock(), retry_after=[])
    async with _served(made.app) as url:
        made.public_url = url
        await made.start()
        yield made
        await made.stop()


@asynccontextmanager
async def _served(app: Starlette) -> AsyncIterator[str]:
    server = Server(app)
    await server.start()
    yield server.url
    await server.stop()


@pytest.fixture
async def chat() -> AsyncIterator[str]:
    """Where the framing page is."""
    async with _served(Starlette(routes=[Route("/", framing)])) as url:
        yield url


async def invoice(pay: CryptoPay) -> str:
    asked = {"currency_type": "fiat", "fiat": "RUB", "amount": "299", "accepted_assets": "USDT,TON", "swap_to": "BTC"}
    made = await pay.call("createInvoice", asked | {"description": "Plus, 30 days", "hidden_message": "thanks"})
    return str(made["bot_invoice_url"])


async def framed(page: Page, chat: str, url: str) -> FrameLocator:
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type] # a dict will do
    await page.goto(f"{chat}/?url={url}")
    return page.frame_locator("iframe")


async def right(page: Page, chat: str, url: str) -> FrameLocator:
    """Show a page in the frame, where WCAG 2.2 AA holds and nothing is wider than the phone."""
    inside = await framed(page, chat, url)
    await expect(inside.get_by_role("heading", level=1)).to_be_visible()
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    (frame,) = page.frames[1:]  # axe-core itself does not look into the frames of a page
    results = await Axe().run(frame, options={"runOnly": tags})
    assert results.violations_count == 0, results.generate_report()
    assert await inside.locator("html").evaluate("(root) => root.scrollWidth") == PHONE["width"]
    return inside


async def test_an_invoice_is_paid_by_keyboard_in_a_frame(pay: CryptoPay, chat: str, page: Page) -> None:
    pay.framed_by = chat
    inside = await framed(page, chat, await invoice(pay))
    await inside.get_by_role("radio", name=re.compile("USDT")).focus()
    await page.keyboard.press("ArrowDown")  # TON
    await page.keyboard.press("Tab")
    await page.keyboard.type("a present")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")  # not anonymously
    await page.keyboard.press("Enter")
    await expect(inside.get_by_role("status")).to_contain_text("Paid with")
    paid = pay.invoices[1]
    assert (paid["status"], paid["paid_asset"], paid["comment"]) == ("paid", "TON", "a present")
    assert (paid["paid_anonymously"], paid["is_swapped"]) == (False, True)
    await expect(inside.get_by_text("thanks")).to_be_visible()
    await page.goto(pay.public_url)  # by itself as well, without a complaint of the browser
    await expect(page.get_by_role("cell", name="299 RUB")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_names_contrast_and_width_are_right(
    pay: CryptoPay, chat: str, page: Page, scheme: Literal["light", "dark"]
) -> None:
    await page.emulate_media(color_scheme=scheme)
    pay.framed_by, pay.webhook_url = chat, "http://127.0.0.1:1/webhook"
    url = await invoice(pay)
    await right(page, chat, url)
    await pay.pay(1, "TON")
    await pay.idle()  # the only attempt failed: webhooks are disabled, the owner is told
    await right(page, chat, url)
    inside = await right(page, chat, f"{pay.public_url}/")
    await expect(inside.get_by_role("alert")).to_contain_text("are disabled")
    await inside.get_by_role("button", name="Enable webhooks again").click()
    await expect(inside.get_by_role("button", name="Disable webhooks")).to_be_visible()
    assert pay.webhooks.disabled_at is None


async def test_buttons_of_one_line_are_of_one_height(pay: CryptoPay, page: Page) -> None:
    await page.set_viewport_size({"width": 340, "height": 760})  # where some of their texts need two lines
    boxes = "all => all.map((one) => one.getBoundingClientRect()).map((box) => [box.bottom, box.height])"
    for url in (await invoice(pay), pay.public_url):
        await page.goto(url)
        height_at: dict[float, float] = {}
        for bottom, height in await page.locator(".several button").evaluate_all(boxes):
            assert height_at.setdefault(bottom, height) == height, url
        assert height_at


async def test_no_other_page_may_frame_it(pay: CryptoPay, chat: str, chromium: Browser) -> None:
    pay.framed_by = "http://127.0.0.1:9"
    page = await chromium.new_page()
    async with page.expect_event("console", lambda line: "frame-ancestors" in line.text, timeout=15_000):
        inside = await framed(page, chat, await invoice(pay))
    await expect(inside.get_by_role("heading", level=1)).to_have_count(0)
    await page.close()
