"""A real browser for the browser tests and the tour: an installed Chromium or Chrome, driven by Playwright.

Playwright brings no browser here: its own download is not to be had everywhere, and every desktop has one that will do.
`python -m sandbox.commands.browser` finds it; in CI on Debian, as root, it installs one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

MISSING = "browser: no Chromium or Chrome on this machine (ATLAS_BROWSER=<its path> names one that is elsewhere)"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
_APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
_PACKAGES = ("chromium", "fonts-noto-color-emoji")
# Nothing of it may ask the internet: on a closed machine each such attempt costs a time-out. Without the sandbox, since
# Chromium refuses to run as root with it; it sees loopback pages of ours alone.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find() -> Path | None:
    """The browser of this machine, None when there is none."""
    named = os.environ.get("ATLAS_BROWSER", "").strip()
    if named:
        return Path(named) if Path(named).exists() else None
    on_path = (shutil.which(name) for name in _NAMES)
    return next((Path(place) for place in (*on_path, *_APPLICATIONS) if place and Path(place).exists()), None)


@asynccontextmanager
async def opened(executable: Path) -> AsyncIterator[Browser]:
    """The browser, headless; closed at the end with all its pages."""
    from playwright.async_api import async_playwright  # noqa: PLC0415 -- a test-time part: `make run` needs none

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


def _install() -> None:
    """In CI a missing part is a failure, so what Debian has is installed; a developer's machine is left alone."""
    apt = shutil.which("apt-get")
    if os.environ.get("CI") != "true" or os.geteuid() != 0 or apt is None:
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (("update", "-qq"), ("install", "-y", "-qq", "--no-install-recommends", *_PACKAGES)):
        subprocess.run([apt, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL, timeout=600)


def main() -> int:
    """0 when there is one, or when its tests may be skipped; 1 when it is missing in CI."""
    if find() is None:
        _install()
    found = find()
    if found is not None:
        return 0
    sys.stderr.write(f"{MISSING}: its tests are skipped\n")
    return 1 if os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
