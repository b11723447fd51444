"""`make demo`: one whole customer life on real parts, told line by line with timings, every line checked before it is told."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.commands.story import Story
from sandbox.commands.teller import Teller
from sandbox.stand_in.faults import NONE
from sandbox.system.messenger import StandIn
from sandbox.system.system import System
from sandbox.telegram import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.stand_in.faults import Faults

_PATIENCE_S = 3.0


async def tell(folder: Path, megabytes: int, settings: Mapping[str, str] | None = None, faults: Faults = NONE) -> int:
    """Start a system in `folder` and tell the story there; 0 when every step held.

    `settings` go over those of all functions: for tests that break something. With `faults` on, people press again when
    nothing happens.
    """
    teller = Teller()
    system = System(
        folder, scheduler=True, settings=settings, messenger=functools.partial(StandIn, limits=Limits()), forked=True
    )
    teller.line("Atlas on this machine: starting every part ...")
    try:
        await system.start(teller.setting_up)
        teller.line()
        if faults != NONE:
            system.faults = faults
            teller.line(f"  All of it under faults: {faults}\n")
        await Story(system, teller, megabytes, patience_s=None if faults == NONE else _PATIENCE_S).tell()
        stopping = time.monotonic()
        await system.stop()
        teller.line(f"           ... everything stopped in {time.monotonic() - stopping:.2f} s")
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - told in words, whatever it was
        await system.stop()
        what = f"This step did not hold: {teller.failed}" if teller.failed else "A part did not start"
        teller.line(f"\n{what}\n{type(error).__name__}: {error}\nLogs: {folder / 'logs'}")
        return 1
    teller.line(f"\nEvery step held, in {teller.seconds():.1f} s.")
    return 0


def main(megabytes: int, faults: Faults = NONE) -> int:
    """Tell it in a folder of its own, removed when all went well."""
    folder = Path(tempfile.mkdtemp(prefix="atlas-demo-"))

    async def run() -> int:
        telling = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if telling is not None:
                asyncio.get_running_loop().add_signal_handler(number, telling.cancel)
        return await tell(folder, megabytes, faults=faults)

    try:
        code = asyncio.run(run())
    except KeyboardInterrupt:
        code = 130
    if code == 0:
        with contextlib.suppress(OSError):  # a leftover in the folder for temporary files does no harm
            shutil.rmtree(folder)
    return code
