"""`make tour`: one customer life in a real browser on the whole system, every step checked and photographed.

The pictures go to `docs/screens/` in the order of the story, with a page that shows them all. Only a tour whose every
step held replaces the pictures that were there.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sandbox.commands import browser
from sandbox.control import Control
from sandbox.stand_in.server import Server
from sandbox.system.system import System

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

SCREENS: Final = Path(__file__).resolve().parents[2] / "docs" / "screens"
DESK: Final = (1280, 800)
PHONE: Final = (390, 844)
ANNA: Final = 1001
BORIS: Final = 1002  # an administrator
_PATIENCE_MS: Final = 20_000
_MONTH: Final = timedelta(days=30)
_SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")
_KEY: Final = re.compile("vless://")


@dataclass
class Album:
    """The pictures so far: file name, what it shows."""

    folder: Path
    shown: list[tuple[str, str]] = field(default_factory=list)

    async def take(self, page: Page, name: str, caption: str) -> None:
        """One more picture of the page as it is, once nothing on it moves and every picture in it is there."""
        await page.evaluate("document.fonts.ready")
        await page.wait_for_function("[...document.images].every((one) => one.complete)")
        file = f"{len(self.shown) + 1:02}-{name}.png"
        await page.screenshot(path=self.folder / file, animations="disabled", caret="hide")
        self.shown.append((file, caption))
        _say(f"    {file}  {caption}")

    def finish(self) -> None:
        """Write the page that shows them in order."""
        lines = ["# The tour", "", "One customer life on the local system, as `make tour` photographed it.", ""]
        for file, caption in self.shown:
            width = 320 if "phone" in file else 860
            lines += [f"{caption}", "", f'<img src="{file}" width="{width}" alt="{caption}">', ""]
        (self.folder / "README.md").write_text("\n".join(lines))


class Story:
    """The steps, in order. Each waits for what it shows, so a step that does not hold ends the tour."""

    def __init__(self, system: System, control: str, desk: Page, album: Album) -> None:
        self._system = system
        self._control = control
        self._desk = desk
        self._album = album
        system.telegram.user(ANNA, "Anna", language_code="en")
        system.telegram.user(BORIS, "Boris", language_code="ru")

    @property
    def _chat(self) -> str:
        return f"{self._system.messenger.api_base}/chat/#user={ANNA}"

    def _pane(self, person: int = ANNA) -> Locator:
        return self._desk.locator(f"[data-pane='{person}']")

    def _last(self, person: int = ANNA) -> Locator:
        """The newest message with its buttons."""
        return self._pane(person).locator("[data-message]").last

    async def _press(self, name: str | re.Pattern[str], person: int = ANNA) -> None:
        await self._last(person).get_by_role("button", name=name).click()

    async def _sees(self, text: str | re.Pattern[str], person: int = ANNA) -> None:
        await _shows(self._last(person), text)

    async def tell(self) -> None:
        """All of it.

        Raises:
            AssertionError, playwright.async_api.Error: a step did not hold.
        """
        await self._comes()
        await self._tries()
        await self._buys()
        await self._tops_up()
        await self._beside()
        await self._at_the_desk()
        await self._at_the_operations_desk()
        await self._inspects()
        await self._month_passes()

    async def _comes(self) -> None:
        await self._desk.goto(self._chat)
        await _shows(self._pane(), "No messages here yet")
        await self._album.take(self._desk, "start", "Anna opens the bot for the first time.")
        await self._pane().get_by_role("button", name="Start", exact=True).click()
        await _shows(self._last(), "Try it free")
        await self._album.take(self._desk, "menu", "One press later: a menu, with a free trial.")

    async def _tries(self) -> None:
        await self._press("Try it free")
        await self._sees("Full access for")
        await self._press("Start the free period")
        await self._sees(_KEY)
        await self._album.take(self._desk, "key", "The trial's key comes by itself, a second after the tap.")
        await self._press("QR code")
        photo = self._pane().get_by_role("button", name=re.compile("^Open: Photo"))
        await photo.click()
        await self._desk.get_by_role("dialog", name="Photo").get_by_role("img").wait_for()
        await self._album.take(self._desk, "qr", "The same key as a QR code for another device.")
        await self._desk.keyboard.press("Escape")

    async def _buys(self) -> None:
        await self._press("Menu")
        await self._sees("Buy access")
        await self._press("Buy access")
        await self._sees("Choose a tariff")
        await self._press(re.compile("Basic"))
        await self._sees("For how long?")
        await self._press(re.compile("30 days"))
        await self._sees("Check your order")
        await self._album.take(
            self._desk,
            "order",
            "Three taps to an order. What it will do is said before it is paid, and the terms are accepted with the first payment.",
        )
        await self._press(re.compile("accept the terms, pay 149.*CryptoBot"))
        await self._sees("You pay in CryptoBot")
        await self._press(re.compile("Pay 149"))
        frame = self._desk.get_by_role("dialog", name="Crypto Pay").frame_locator("iframe")
        await frame.get_by_role("button", name="Pay", exact=True).wait_for()
        await self._album.take(self._desk, "invoice", "The invoice of Crypto Pay opens over the chat.")
        await frame.get_by_role("button", name="Pay", exact=True).click()
        await _shows(frame.locator("body"), re.compile("200"))
        await self._album.take(self._desk, "paid", "Paid: the signed webhook was sent, and answered.")
        await self._desk.get_by_role("dialog").get_by_role("button", name="Close").click()
        await self._sees("Payment received")
        await self._album.take(self._desk, "receipt", "The receipt: access is longer, the key is the same.")

    async def _tops_up(self) -> None:
        """By Stars, and a purchase from the balance."""
        await self._press("Menu")
        await self._press("Profile")
        await self._press("Balance")
        await self._sees("On the balance")
        await self._album.take(self._desk, "balance", "The balance, and the amounts to top it up by.")
        await self._press(re.compile("^250"))
        await self._press(re.compile("Telegram Stars"))
        await self._sees("You pay with Telegram Stars")
        await self._press(re.compile("Pay"))
        sheet = self._desk.get_by_role("dialog", name="Payment")
        await _shows(sheet, "Top-up")
        await self._album.take(self._desk, "pay-sheet", "Telegram's own pay sheet, over an invoice in Stars.")
        await sheet.get_by_role("button", name=re.compile("^Pay")).click()
        await _shows(sheet, "Paid")
        await sheet.get_by_role("button", name="Done").click()
        await self._sees("Added to the balance")
        await self._album.take(self._desk, "topped-up", "Added to the balance, and said once.")
        await self._writes("/paysupport")
        await self._sees("149")
        await self._album.take(
            self._desk, "charges", "Questions about payments: the last charges, and what became of each."
        )

    async def _writes(self, text: str, person: int = ANNA) -> None:
        field = self._pane(person).locator(".text-field")
        await field.fill(text)
        await field.press("Enter")

    async def _beside(self) -> None:
        await self._desk.locator(f"[data-user='{BORIS}']").hover()
        await self._desk.get_by_role("button", name="Open Boris beside").click()
        await self._pane(BORIS).get_by_role("button", name="Start", exact=True).click()
        await self._sees("Boris", BORIS)
        await self._sees(_CYRILLIC, BORIS)
        await _shows(self._pane(BORIS).locator("header"), "admin")
        await self._album.take(
            self._desk, "side-by-side", "Several people and admins side by side, each in their own language."
        )

    async def _at_the_desk(self) -> None:
        """Money came that fits no order: an operator finds it in the bot."""
        asked = {"currency_type": "fiat", "fiat": "RUB", "amount": "500", "payload": "a purchase of another shop"}
        made = await self._system.cryptopay.call("createInvoice", asked)
        await self._system.cryptopay.pay(made["invoice_id"])
        await self._system.settled()
        await self._writes("/finance", BORIS)
        await self._sees("Деньги", BORIS)
        await self._press(re.compile("Ждут разбора"), BORIS)
        await self._sees("USDT", BORIS)
        await self._press(re.compile("Событие"), BORIS)
        await self._sees("no such order", BORIS)
        await self._album.take(
            self._desk, "desk", "Money that fits nothing waits for an operator, with every way it may go on."
        )

    async def _at_the_operations_desk(self) -> None:
        """How the work of the shop stands, in the bot as well."""
        await self._writes("/operations", BORIS)
        await self._sees("Работа магазина", BORIS)
        await self._album.take(
            self._desk, "operations", "The work of the shop: what waits and for how long, nodes, sweeps, queues."
        )
        await self._press(re.compile("Обходы"), BORIS)
        await self._sees("expiry", BORIS)
        await self._press(re.compile("^expiry"), BORIS)
        await self._press(re.compile("Запустить сейчас"), BORIS)
        await self._sees("второго не будет", BORIS)
        await self._album.take(
            self._desk, "operations-confirm", "What an operator does is shown first, confirmed once, and audited."
        )

    async def _inspects(self) -> None:
        await self._pane(BORIS).get_by_role("button", name="Close this chat").click()
        await self._desk.get_by_role("button", name="Inspector", exact=True).click()
        head = self._desk.locator(".entry > button", has_text="pay:cryptobot").first
        await head.click()
        await _shows(self._desk.locator(".entry .details"), re.compile(r"attempt 1.*ms", re.DOTALL))
        await _shows(self._desk.locator(".entry .details"), "Calls")
        await head.scroll_into_view_if_needed()
        await self._album.take(
            self._desk, "inspector", "The inspector: each update, the webhook's answer, the calls that follow, times."
        )
        await self._desk.emulate_media(color_scheme="dark")
        await self._album.take(self._desk, "inspector-dark", "The same in the dark.")
        await self._desk.emulate_media(color_scheme="light")
        await self._desk.get_by_role("button", name="Close the inspector").click()

    async def _month_passes(self) -> None:
        """Thirty days bought on top of three of the trial: after thirty she still has access, after sixty not."""
        await self._visit_control("control", "The control page: time, faults on demand, every function.")
        await self._desk.get_by_role("heading", name="Access and what nodes hold").evaluate(
            "one => one.scrollIntoView()"
        )
        await self._album.take(self._desk, "books", "Further down: access, what the node holds, the ledger.")
        await self._desk.get_by_role("heading", name="Suspense, refunds, balances").evaluate(
            "one => one.scrollIntoView()"
        )
        await self._album.take(
            self._desk, "money", "And the money: suspense, refunds, receipts, balances, and what providers hold."
        )
        await self._desk.goto(self._chat)
        await self._pane().wait_for()
        asked = self._pane().get_by_text("Payment received")
        await asked.wait_for()
        await self._pass_a_month()
        await self._pass_a_month()
        await self._sees("has ended")
        await self._album.take(self._desk, "ended", "Two months later: access has ended, and she is told.")
        await self._desk.emulate_media(color_scheme="dark")
        await self._visit_control("control-dark", "The control page after that, in the dark.")
        await self._desk.emulate_media(color_scheme="light")

    async def _visit_control(self, name: str, caption: str) -> None:
        await self._desk.goto(self._control)
        await _shows(self._desk.locator("main"), "Anna")
        await self._album.take(self._desk, name, caption)

    async def _pass_a_month(self) -> None:
        """By the button a person presses, on a page of its own."""
        page = await self._desk.context.new_page()
        await page.goto(self._control)
        before = self._system.clock.offset
        await page.locator("#travel [data-seconds='2592000']").click()
        waited = time.monotonic() + _PATIENCE_MS / 1000
        while self._system.clock.offset - before < _MONTH:
            if time.monotonic() > waited:
                raise AssertionError("the control page was asked for 30 days, and they did not pass")
            await asyncio.sleep(0.05)
        await page.close()

    async def on_a_phone(self, page: Page, scheme: Literal["light", "dark"]) -> None:
        """The list and the chat, narrow; nothing may run over the side."""
        await page.emulate_media(color_scheme=scheme)
        await page.goto(self._chat.partition("#")[0])
        await page.locator(f"[data-user='{ANNA}']").wait_for()
        if scheme == "light":
            await self._album.take(page, "phone-list", "On a phone: the list,")
        await page.locator(f"[data-user='{ANNA}']").click()
        pane = page.locator(f"[data-pane='{ANNA}']")
        key = pane.locator("[data-message]", has_text="Your key is ready")
        await key.wait_for()
        await key.evaluate("element => { element.parentElement.scrollTop = element.offsetTop - 60; }")
        if await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            raise AssertionError("the page is wider than the phone")
        await self._album.take(
            page, f"phone-{scheme}", {"light": "and the chat.", "dark": "The same in the dark."}[scheme]
        )


async def _shows(place: Locator, text: str | re.Pattern[str]) -> None:
    """Wait until the place holds this text.

    Raises:
        AssertionError: it does not, within the time a step may take.
    """
    from playwright.async_api import expect  # noqa: PLC0415 -- as in `browser.opened`

    await expect(place).to_contain_text(text, timeout=_PATIENCE_MS)


async def _page(stack: AsyncExitStack, chromium: Browser, size: tuple[int, int], *, touch: bool) -> Page:
    context = await chromium.new_context(
        viewport={"width": size[0], "height": size[1]},
        device_scale_factor=1,
        has_touch=touch,
        is_mobile=touch,
        locale="en-GB",
        timezone_id="Europe/Moscow",
        reduced_motion="reduce",
        color_scheme="light",
    )
    stack.push_async_callback(context.close)
    context.set_default_timeout(_PATIENCE_MS)
    return await context.new_page()


async def tell(folder: Path, executable: Path, screens: Path) -> None:
    """Tell the story on a system in `folder` and leave its pictures in `screens`, which must exist.

    Raises:
        Exception: of the first step that did not hold; the pictures up to there are in `screens`.
    """
    album = Album(screens)
    async with AsyncExitStack() as stack:
        made = System(folder, scheduler=True, link=True, settings={"ADMIN_IDS": str(BORIS)}, forked=True)
        system = await stack.enter_async_context(made)
        page = Control(system)
        stack.push_async_callback(page.close)
        control = Server(page.app, system.home.port("control"))
        await control.start()
        stack.push_async_callback(control.stop)
        chromium = await stack.enter_async_context(browser.opened(executable))
        desk = await _page(stack, chromium, DESK, touch=False)
        phone = await _page(stack, chromium, PHONE, touch=True)
        story = Story(system, f"{control.url}/", desk, album)
        await story.tell()
        for scheme in _SCHEMES:
            await story.on_a_phone(phone, scheme)
    album.finish()


def _keep(made: Path, out: Path) -> None:
    """Put the new pictures in the place of the old ones; nothing else in the folder is touched."""
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("[0-9][0-9]-*.png"):
        old.unlink()
    for new in made.iterdir():
        shutil.copyfile(new, out / new.name)


def main(out: Path = SCREENS) -> int:
    """0 when every step held; 1 when one did not, and the pictures up to there stay; 2 without a browser."""
    executable = browser.find()
    if executable is None:
        sys.stderr.write(f"{browser.MISSING}\n")
        return 2
    work = Path(tempfile.mkdtemp(prefix="atlas-tour-"))
    made = work / "screens"
    made.mkdir()

    async def run() -> None:
        touring = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if touring is not None:
                asyncio.get_running_loop().add_signal_handler(number, touring.cancel)
        await tell(work / "home", executable, made)

    began = time.monotonic()
    _say("Atlas on this machine: starting every part, then a tour in a browser ...")
    try:
        asyncio.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except Exception as error:  # noqa: BLE001 - told in words, whatever it was
        _say(f"\nThis step did not hold.\n{type(error).__name__}: {error}\nPictures and logs: {work}")
        return 1
    _keep(made, out)
    with suppress(OSError):  # a leftover in the folder for temporary files does no harm
        shutil.rmtree(work)
    _say(f"\nEvery step held, in {time.monotonic() - began:.1f} s: {out}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
