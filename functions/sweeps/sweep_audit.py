"""What must always hold is asked for: of what is new each hour, of everything each night (docs/data.md, Invariants).

What does not hold alarms, each thing once a day. Every question is a transaction of its own: one that is slow or fails hides no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework.aio

from lib import log
from lib.domain import invariant_audit as audit
from lib.sweeps import runner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from starlette.requests import Request
    from starlette.responses import Response

    from lib.domain.invariant_audit import Source
    from lib.sweeps.runner import Run

_PAGE = 100
"""Rows or things at once: so few that each is looked up, and no table is read for them."""


@functions_framework.aio.http
async def sweep_audit(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    await _links(run, None)
    for source in audit.SOURCES:
        async with run.item(step=source.table):
            await _new(run, source)
    for invariant in audit.asked_whole(hourly=True):
        if not await run.next_page():
            return
        await _ask(run, invariant)
    night = await run.db.run(audit.night_due)
    if night is not None and await _everything(run, night):
        await run.db.run(audit.night_is_over, night)
        log.info("everything_audited", night=night.isoformat())


async def _new(run: Run, source: Source) -> None:
    while await run.next_page():
        page = await run.db.run(audit.next_new, source, _PAGE)
        if page.upto == 0 or not page.keys:
            return
        await _ask_about(run, page.keys)
        await run.db.run(audit.set_mark, source.mark, page.upto)


async def _everything(run: Run, night: date) -> bool:
    """Whether a night's walk came to its end; what is left goes on with the next run."""
    await _links(run, night)
    for kind in audit.KINDS:
        while await run.next_page():
            page = await run.db.run(audit.next_of, kind, night, _PAGE)
            if not page.keys:
                break
            await _ask_about(run, page.keys)
            await run.db.run(audit.set_mark, f"all.{kind}", page.upto, night)
    for invariant in audit.asked_whole(hourly=False):
        if not await run.next_page():
            return False
        if not await run.db.run(audit.was_asked, invariant, night):
            await _ask(run, invariant)
            await run.db.run(audit.set_mark, f"whole.{invariant}", 0, night)
    return not run.more


async def _ask_about(run: Run, keys: Mapping[str, Sequence[int]]) -> None:
    for kind, some in keys.items():
        run.claimed += len(some)
        for invariant in audit.by_kind(kind):
            await _ask(run, invariant, some)


async def _ask(run: Run, invariant: str, keys: Sequence[int] | None = None) -> None:
    """One question; that it could not be answered is told as well, for nothing is known then."""
    failed = run.broken
    async with run.item(invariant=invariant):
        await _tell(run, invariant, await run.db.run(audit.violated, invariant, keys))
        run.done += 1
    if run.broken > failed:
        log.error("invariant_not_asked", invariant=invariant)


async def _links(run: Run, night: date | None) -> None:
    """The chain of what operators did."""
    async with run.item(invariant=audit.CHAIN):
        while await run.next_page():
            links = await run.db.run(audit.next_links, night, _PAGE)
            await _tell(run, audit.CHAIN, [str(row) for row in links.broken])
            await run.db.run(audit.verified, links, night)
            run.done += 1
            if not links.more:
                return


async def _tell(run: Run, invariant: str, keys: Sequence[str]) -> None:
    if keys:
        for key in await run.db.run(audit.note, invariant, keys):
            log.error("invariant_violated", invariant=invariant, key=key)
