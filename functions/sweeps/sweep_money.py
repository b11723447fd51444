"""What money needs done that no customer waits for: days of the books are closed, providers' accounts compared (every ten minutes).

Every provider is compared at the same time as the others: one that is slow, down or answers nonsense holds up none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, log, side_by_side
from lib.domain import books
from lib.payments.provider import ProviderError
from lib.payments.reconciling import OutOfTime, reconcile
from lib.sweeps import runner

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.domain.reconciliation import Difference
    from lib.payments.provider import ProviderAccount
    from lib.sweeps.runner import Run

_MOST_TOLD = 10
"""Differences that one line of the log names; all are in the table."""


@functions_framework.aio.http
async def sweep_money(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    async with run.item(step="days"):
        await _close_days(run)
    await side_by_side.all_of(_compare(run, name, account) for name, account in bootstrap.provider_accounts().items())


async def _close_days(run: Run) -> None:
    """Each day that is over for three hours, one after the other, with its snapshot."""
    while await run.next_page():
        day = await run.db.run(books.close_next_day)
        if day is None:
            return
        run.done += 1
        log.info("day_closed", day=day.isoformat())


async def _compare(run: Run, provider: str, account: ProviderAccount) -> None:
    """Compare a provider's account with the books when that is due; what is new among the differences alarms, once."""
    async with run.item(provider=provider, step="account"):
        try:
            found = await reconcile(run.db, provider, account, next_page=run.next_page)
        except (ProviderError, OutOfTime) as error:
            run.failed += 1
            log.warning("books_not_compared", provider=provider, error=str(error) or "out of time")
            return
        if found is None:
            return
        outcome = found.outcome
        run.claimed += outcome.lines
        run.done += 1
        log.info(
            "books_compared",
            provider=provider,
            day=outcome.day.isoformat(),
            lines=outcome.lines,
            matched=outcome.matched,
            under_way=outcome.under_way,
            differences=len(outcome.differences),
            complete=outcome.complete and outcome.balance_judged,
        )
        if found.new:
            _tell(provider, found.new)


def _tell(provider: str, new: list[Difference]) -> None:
    log.error("books_differ", provider=provider, new=len(new), differences=[str(one) for one in new[:_MOST_TOLD]])
