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
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from lib.db import Transaction
    from lib.domain.pricelist import PriceList
    from lib.domain.renewals import Due
    from lib.sweeps.runner import Run

_PAGE = 200
_DUE = ("end_us", "id")
_TO_ANNOUNCE = ("announce_end_us", "announce_id")
"""The places that are handed on, of each list: what waits for money, and what is told already, stays due, so a run that began anew
each time might never reach the last."""


@functions_framework.aio.http
async def sweep_renewals(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    prices = pricelist.load()
    if not run.cursors.get(_TO_ANNOUNCE[0]):  # else the run before had come to the end of what is to be renewed
        await _renew_due(run, prices)
    if not run.more:
        run.cursors.setdefault(
            _TO_ANNOUNCE[0], 1
        )  # before any end: should there be no time left, the next run begins here
        await _announce_due(run, prices)


async def _renew_due(run: Run, prices: PriceList) -> None:
    became: Counter[Outcome] = Counter()

    async def work(one: Due) -> None:
        became[await _renew(run, one, prices)] += 1

    await _go_through(run, _DUE, lambda tx, place: renewals.due(tx, place, _PAGE, prices), work)
    if became:
        log.info("renewals_done", **{outcome.value: count for outcome, count in became.items()})


async def _go_through(
    run: Run,
    names: tuple[str, str],
    following: Callable[[Transaction, Place], list[Due]],
    work: Callable[[Due], Awaitable[None]],
) -> None:
    """Work through a list, each as an item of its own, from where an earlier run of this tick stopped.

    Each that was looked at counts as done, whatever became of it: the place moves on with it, so a run that found no one to charge
    is handed on as well, and comes to an end. One that failed is behind the place too: the next tick's run tries it again.
    """
    place = Place(*(run.cursors.get(name, 0) for name in names))
    while await run.next_page():
        page = await run.db.run(following, place)
        for one in page:
            async with run.item(subscription_id=one.id, step=names[0]):
                run.claimed += 1
                await work(one)
                run.done += 1
            place = one.place
            run.cursors = dict(zip(names, (place.end_us, place.id), strict=True))
        if len(page) < _PAGE:
            run.cursors = {}
            return


async def _renew(run: Run, one: Due, prices: PriceList) -> Outcome:
    failpoints.reach("renewal.before-claim")
    renewed = await run.db.run(renewals.renew, one.account_id, prices, log.correlation.get())
    if renewed.outcome is Outcome.RENEWED:
        log.info("access_renewed", subscription_id=one.id, order_id=renewed.order_id, replaced=len(renewed.replaced))
    await enqueue(bootstrap.task_queue(), renewed.follow_up, after="renewal")
    return renewed.outcome


async def _announce_due(run: Run, prices: PriceList) -> None:
    async def work(one: Due) -> None:
        told = await run.db.run(renewals.announce, one.account_id, prices, log.correlation.get())
        if told:
            log.info("price_announced", subscription_id=one.id)
        await enqueue(bootstrap.task_queue(), told, after="announcement")

    await _go_through(run, _TO_ANNOUNCE, lambda tx, place: renewals.to_announce(tx, place, _PAGE, prices), work)
