"""`make run`: the whole system on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
import time
import webbrowser
from typing import TYPE_CHECKING, Literal

from lib import log
from sandbox.bridge import PUBLIC_API, Bridge, UnusableBotError, look
from sandbox.commands.options import EnvFileError, NotGivenError, hide_secrets, read, readable_by_others
from sandbox.control import Control
from sandbox.stand_in.server import Server
from sandbox.state.home import InUseError, of_bot
from sandbox.system.messenger import StandIn
from sandbox.system.settings import BadSettingsError
from sandbox.system.system import System
from sandbox.telegram import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.bridge import Bot
    from sandbox.commands.options import Options
    from sandbox.system.messenger import Messenger

_PARENT_LOOK_S = 1.0
_REAL = """
This is the real Telegram: @{bot.username} (token from {source}).{waiting}
  real      every message, command and click, by any person who finds the bot; Stars, if they are paid with
  not real  Crypto Pay, tasks, schedules; the VPN node is on this machine, so keys work on this machine only
"""


def run(
    home: Path,
    *,
    browser: bool,
    scheduler: bool,
    env_file: Path,
    telegram: Literal["real", "stand-in", "as given"] = "as given",
) -> int:
    """Start, print one address, wait for the end. 0 after Ctrl-C, 1 when a part fails, 2 when it can't begin.

    Args:
        home: where the stand-in's state is kept; a real bot's is beside it.
        browser: open the chat.
        scheduler: fire the sweeps by their schedule.
        env_file: settings that the environment does not have.
        telegram: "as given": the real one when there is a token; "real": ask for the token when there is none.
    """
    try:
        options = read(env_file, stand_in=telegram == "stand-in", ask=telegram == "real")
        hide_secrets()
        bot = _bot(options, env_file)
        if bot is not None:
            home = of_bot(home.resolve(), bot.id)
        return asyncio.run(_serve(home, options, bot, browser=browser, scheduler=scheduler))
    except InUseError as error:
        _say(f"{str(error)[:1].upper()}{str(error)[1:]}.")
        return 2
    except (NotGivenError, UnusableBotError) as error:
        _say(f"Nothing was started. {error}\n`make run ARGS=--stand-in` chats with the stand-in for Telegram instead.")
        return 2
    except (BadSettingsError, EnvFileError) as error:
        _say(f"Nothing was started: settings are wrong.\n{error}")
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        _say("Interrupted.")
        return 0
    except Exception as error:  # noqa: BLE001 - said in words whatever it was; the logs have the rest
        _say(f"\nIt did not work: {log.redact(str(error))}\nLogs: {home / 'logs'}")
        return 1


def _bot(options: Options, env_file: Path) -> Bot | None:
    """The real bot to serve, if any.

    Raises:
        UnusableBotError
    """
    if not options.token:
        return None
    _say("Asking Telegram which bot this is ...")
    bot = asyncio.run(look(options.token, options.api_base or PUBLIC_API))
    waiting = f" {bot.waiting} updates wait there and are answered first." if bot.waiting else ""
    _say(_REAL.format(bot=bot, source=options.source, waiting=waiting))
    if options.source == str(env_file):
        _say("`make run ARGS=--stand-in` leaves the token alone and starts the stand-in.")
        if readable_by_others(env_file):
            _say(f"Other users of this machine can read the token there: chmod 600 {env_file}")
    return bot


async def _serve(home: Path, options: Options, bot: Bot | None, *, browser: bool, scheduler: bool) -> int:
    began = time.monotonic()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    stand_in = functools.partial(StandIn, limits=Limits())
    messenger = stand_in if bot is None else functools.partial(Bridge, bot=bot, say=_say)
    system = System(home, scheduler=scheduler, durable=True, link=True, settings=options.settings, messenger=messenger)
    if not system.home.is_taken():
        _say("Setting up Atlas on this machine ...")
    starting = asyncio.create_task(system.start(_progress))

    def end() -> None:
        ended.set()
        starting.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    watching = asyncio.create_task(_watch_make(end))
    trouble = None
    try:
        try:
            await starting
        except asyncio.CancelledError:
            if not ended.is_set():
                raise
            _say("Stopped before it was up.")
            return 0
        control = Control(system)
        server = Server(control.app, system.home.port("control"))
        await server.start()
        try:
            await _up(system, server.url, began, browser=browser)
            trouble = await _end(ended, system.messenger)
            _say(f"\n{trouble}\nStopping ..." if trouble else "\nStopping ...")
        finally:
            await server.stop()
            await control.close()
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # that is what was asked for
            await watching
        await system.stop()
    _say("Stopped. State is kept; `make reset` forgets it.")
    return 1 if trouble else 0


async def _end(asked: asyncio.Event, messenger: Messenger) -> str | None:
    """Wait until the person, or the bridge, ends it; the bridge's reason."""
    waiting = asyncio.create_task(asked.wait())
    failing = asyncio.create_task(messenger.ended()) if isinstance(messenger, Bridge) else None
    await asyncio.wait([task for task in (waiting, failing) if task], return_when=asyncio.FIRST_COMPLETED)
    reason = failing.result() if failing is not None and failing.done() else None
    for task in (waiting, failing):
        if task is not None:
            task.cancel()
    return reason


async def _up(system: System, url: str, began: float, *, browser: bool) -> None:
    chat = system.chat_url
    system.home.announce({"url": url, **system.facts()})
    _say(f"\nUp after {time.monotonic() - began:.1f} s.\n\n    {url}/\n")
    _say("There: the chat with the bot, invoices, tasks, sweeps, time travel. Ctrl-C stops everything.")
    _say(f"\n{'The bot' if system.messenger.real else 'The chat alone'}: {chat}")
    if browser:
        # A browser in the terminal, or one that blocks, must not hold the system up.
        await asyncio.to_thread(_open, chat)


def _open(url: str) -> None:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return  # nowhere to open one; a text browser would take the terminal
    with contextlib.suppress(webbrowser.Error, OSError):  # the address was printed
        webbrowser.open(url)


async def _watch_make(end: Callable[[], None]) -> None:
    """Under `make`, whose death by kill -9 goes unnoticed here: look who our parent is."""
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
