"""Access that renews by itself from the balance, and higher prices that are announced before (every ten minutes)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, failpoints, log
from lib.domain import renewals
from lib.domain.renewals import Outcome, Place
from lib.settings import pricelist
from lib.sweeps import runner
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.domain.pricelist import PriceList
    from lib.domain.renewals import Due
    from lib.sweeps.runner import Run

_PAGE = 200
_END, _ID = "end_us", "id"
"""The place that is handed on: what waits for money stays due, so a run that began anew each time might never reach the last."""


@functions_framework.aio.http
async def sweep_renewals(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    prices = pricelist.load()
    await _renew_due(run, prices)
    if not run.more:
        await _announce_due(run, prices)


async def _renew_due(run: Run, prices: PriceList) -> None:
    place = Place(run.cursors.get(_END, 0), run.cursors.get(_ID, 0))
    became: Counter[Outcome] = Counter()
    while await run.next_page():
        page = await run.db.run(renewals.due, place, _PAGE, prices)
        for one in page:
            async with run.item(subscription_id=one.id):
                became[await _renew(run, one, prices)] += 1
            place = one.place
        if len(page) < _PAGE:
            break
    run.cursors = {_END: place.end_us, _ID: place.id} if run.more else {}
    if became:
        log.info("renewals_done", **{outcome.value: count for outcome, count in became.items()})


async def _renew(run: Run, one: Due, prices: PriceList) -> Outcome:
    run.claimed += 1
    failpoints.reach("renewal.before-claim")
    renewed = await run.db.run(renewals.renew, one.account_id, prices, log.correlation.get())
    if renewed.outcome is Outcome.RENEWED:
        run.done += 1
        log.info("access_renewed", subscription_id=one.id, order_id=renewed.order_id, replaced=len(renewed.replaced))
    await enqueue(bootstrap.task_queue(), renewed.follow_up, after="renewal")
    return renewed.outcome


async def _announce_due(run: Run, prices: PriceList) -> None:
    place = Place()
    while await run.next_page():
        page = await run.db.run(renewals.to_announce, place, _PAGE, prices)
        for one in page:
            async with run.item(subscription_id=one.id, step="announce"):
                told = await run.db.run(renewals.announce, one.account_id, prices, log.correlation.get())
                if told:
                    log.info("price_announced", subscription_id=one.id)
                await enqueue(bootstrap.task_queue(), told, after="announcement")
            place = one.place
        if len(page) < _PAGE:
            return
