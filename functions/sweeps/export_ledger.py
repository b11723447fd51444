"""Every closed day of the books goes to a store elsewhere, once (daily; docs/books-off-site.md). Off while no store is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, log
from lib.domain import ledger_export
from lib.off_site import store as stores
from lib.off_site.copy import NotCopiedError, copy_day, last_copied_is_there
from lib.off_site.store import Store, StoreError
from lib.settings import plain
from lib.sweeps import runner

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.sweeps.runner import Run


@functions_framework.aio.http
async def export_ledger(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    settings = plain.ledger_store()
    if settings is None:
        log.info("books_off_site_off")
        return
    store = Store(bootstrap.http_client, settings)
    try:
        protection = await store.protection()
        if protection == stores.UNPROTECTED:
            log.warning("books_off_site_unprotected", store=store.address)
        await _days(run, store, protection)
    except (NotCopiedError, StoreError) as error:
        run.failed += 1
        run.broken += 1
        run.again = isinstance(error, StoreError)  # the next tick is a day away
        log.error("books_not_exported", store=store.address, error=str(error))


async def _days(run: Run, store: Store, protection: str) -> None:
    """Copy every day that is owed, in their order: each names the one before."""
    newest = await run.db.run(ledger_export.newest_copied, store.address)
    if newest is not None:
        await last_copied_is_there(store, newest)
    while await run.next_page():
        due = await run.db.run(ledger_export.due, store.address)
        if due is None:
            return
        run.claimed += 1
        copied = await copy_day(run.db, store, due, protection, run.alive)
        run.done += 1
        log.info("books_exported", store=store.address, day=str(copied.day), manifest=copied.sha256)
