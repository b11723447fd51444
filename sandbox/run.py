"""`make run`: the whole system on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import webbrowser
from typing import TYPE_CHECKING

from sandbox.control import Control
from sandbox.home import InUseError
from sandbox.server import Server
from sandbox.system import BadSettingsError, System

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PARENT_LOOK_S = 1.0
# What a person may set for the local system; everything else it makes up by itself.
_TAKEN_OVER = (
    "ADMIN_IDS",
    "CRYPTOPAY_ASSETS",
    "DISPLAY_TZ",
    "LOG_LEVEL",
    "PAYMENT_METHODS",
    "SUPPORT_URL",
    "TARIFFS_PATH",
)


def run(home: Path, *, browser: bool, scheduler: bool) -> int:
    """Start, print one address, wait for the end. 0 after Ctrl-C, 1 when a part fails, 2 when it can't begin."""
    if os.environ.get("TELEGRAM_BOT_TOKEN", "").strip():
        _say(
            "TELEGRAM_BOT_TOKEN is set: running with the real Telegram comes with a later release.\n"
            "Unset it to chat with the bot in the local stand-in."
        )
        return 2
    taken_over = {name: os.environ[name] for name in _TAKEN_OVER if os.environ.get(name, "").strip()}
    try:
        asyncio.run(_serve(home, browser=browser, scheduler=scheduler, settings=taken_over))
    except InUseError as error:
        _say(f"{str(error)[:1].upper()}{str(error)[1:]}.")
        return 2
    except BadSettingsError as error:
        _say(f"Nothing was started: settings are wrong.\n{error}")
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        _say("Interrupted.")
        return 0
    except Exception as error:  # noqa: BLE001 - said in words whatever it was; the logs have the rest
        _say(f"\nIt did not work: {error}\nLogs: {home / 'logs'}")
        return 1
    return 0


async def _serve(home: Path, *, browser: bool, scheduler: bool, settings: dict[str, str]) -> None:
    began = time.monotonic()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    system = System(home, scheduler=scheduler, durable=True, settings=settings)
    if not system.home.is_taken():
        _say("Setting up Atlas on this machine ...")
    starting = asyncio.create_task(system.start(_progress))

    def end() -> None:
        ended.set()
        starting.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    watching = asyncio.create_task(_watch_make(end))
    try:
        try:
            await starting
        except asyncio.CancelledError:
            if not ended.is_set():
                raise
            _say("Stopped before it was up.")
            return
        server = Server(Control(system).app, system.home.port("control"))
        await server.start()
        try:
            await _up(system, server.url, began, browser=browser)
            await ended.wait()
            _say("\nStopping ...")
        finally:
            await server.stop()
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # that is what was asked for
            await watching
        await system.stop()
    _say("Stopped. State is kept; `make reset` forgets it.")


async def _up(system: System, url: str, began: float, *, browser: bool) -> None:
    chat = system.chat_url
    system.home.announce({"url": url, "chat": chat, "database": system.database.owner_url})
    _say(f"\nUp after {time.monotonic() - began:.1f} s.\n\n    {url}/\n")
    _say("There: the chat with the bot, invoices, tasks, sweeps, time travel. Ctrl-C stops everything.")
    if browser:
        # A browser in the terminal, or one that blocks, must not hold the system up.
        await asyncio.to_thread(_open, chat)


def _open(url: str) -> None:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return  # nowhere to open one; a text browser would take the terminal
    with contextlib.suppress(webbrowser.Error, OSError):  # the address was printed
        webbrowser.open(url)


async def _watch_make(end: Callable[[], None]) -> None:
    """Under `make`, whose death by kill -9 nobody would tell us: look who our parent is."""
    if "MAKELEVEL" not in os.environ:
        return
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - the kernel sets no event
        await asyncio.sleep(_PARENT_LOOK_S)
    end()


def _progress(step: str, seconds: float) -> None:
    _say(f"  {seconds:5.1f} s  {step}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
