"""All checks side by side, each with its own time: what hangs is wrong, and holds up nothing else."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx

from infra.doctor.check import Finding, NotCheckedError, State, WrongError
from infra.google.client import BadEndpoint, GoogleError, NotLoggedIn
from lib import log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra.doctor.check import Check
    from infra.doctor.deployment import Deployment


async def examine(deployment: Deployment, checks: Sequence[Check]) -> list[Finding]:
    """What came of each check, in their order. A check named in another's `after` that is not among them counts as ok."""
    under_way: dict[str, asyncio.Task[Finding]] = {}
    begin = asyncio.Event()  # none looks for another before all are there

    async def one(check: Check) -> Finding:
        await begin.wait()
        for name in check.after:
            if name in under_way and (await under_way[name]).state is not State.OK:
                return Finding(check, State.NOT_CHECKED, said=f"for want of {name}")
        return await _looked(deployment, check)

    under_way |= {check.name: asyncio.create_task(one(check)) for check in checks}
    begin.set()
    return [await under_way[check.name] for check in checks]


async def _looked(deployment: Deployment, check: Check) -> Finding:
    began = time.monotonic()

    def found(state: State, problems: Sequence[str] = (), said: str = "") -> Finding:
        # Problems are made without secrets; this is for the part that quotes another part's words.
        clean = tuple(log.redact(one) for one in problems)
        return Finding(check, state, clean, log.redact(said), time.monotonic() - began)

    try:
        async with asyncio.timeout(check.timeout_s):
            return found(State.OK, said=await check.look(deployment))
    except NotCheckedError as error:
        return found(State.NOT_CHECKED, said=str(error))
    except Exception as error:  # noqa: BLE001 -- a check that breaks must not take the others with it
        return found(State.WRONG, _words(error, check))


def _words(error: Exception, check: Check) -> tuple[str, ...]:
    """What an error says, without what it may hold: an address with a token in it, a row's value."""
    match error:
        case WrongError():
            return error.problems
        case GoogleError() | NotLoggedIn() | BadEndpoint():
            return (str(error),)
        case TimeoutError():
            return (f"no answer within {check.timeout_s:g} s",)
        case httpx.HTTPError():
            return (f"no answer: {type(error).__name__}",)
    return (f"the answer can't be read: {type(error).__name__}",)


def by_state(findings: Sequence[Finding]) -> Mapping[State, list[Finding]]:
    """The findings of each state, in their order."""
    return {state: [one for one in findings if one.state is state] for state in State}
