"""Whether functions would take the settings that a person gave the local system."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sandbox.processes.child import bare_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.cloud.checkout import Checkout


class BadSettingsError(ValueError):
    """Settings that functions would refuse; the text lists every problem, one a line, by name."""


async def check_settings(settings: Mapping[str, str], checkout: Checkout) -> None:
    """By the code that functions check theirs with, in a process of its own: it reads its environment once.

    Raises:
        BadSettingsError: some would be refused.
    """
    checking = await asyncio.create_subprocess_exec(
        *(str(checkout.python), "-m", "lib.settings.check"),
        cwd=checkout.root,
        env=bare_environment(settings),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, problems = await checking.communicate()
    if checking.returncode:
        raise BadSettingsError(problems.decode(errors="replace").strip())
