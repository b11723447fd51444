"""Open invoices: the provider is asked, so a webhook that never comes costs nobody his key (every minute and at +30 s)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import functions_framework.aio

from lib import bootstrap, failpoints, function_table, log
from lib.domain import orders, settlement
from lib.payments import cryptopay
from lib.payments.provider import ProviderError
from lib.payments.reporting import report
from lib.settings import pricelist
from lib.sweeps import runner
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.domain.orders import Watched
    from lib.payments.cryptopay import CryptoPay
    from lib.sweeps.runner import Run

_SCHEDULE_TIME = "x-cloudscheduler-scheduletime"


@functions_framework.aio.http
async def sweep_payments(request: Request) -> Response:
    """See docs/interface.md, Responses. A tick of the scheduler also asks for its second pass."""
    tick = request.headers.get(_SCHEDULE_TIME)
    after = function_table.load().functions["sweep_payments"].second_pass_s
    if tick and after:
        await _second_pass(tick, after)
    return await runner.serve(request, _work)


async def _second_pass(tick: str, after_s: int) -> None:
    """A doubled tick makes the same name, so there is one second pass."""
    try:
        at = datetime.fromisoformat(tick) + timedelta(seconds=after_s)
    except ValueError:
        log.warning("schedule_time_unreadable")
        return
    await runner.hand_on("payments", f"{tick}|{after_s}", {"tick": f"{tick}+{after_s}s"}, at)


async def _work(run: Run) -> None:
    while await run.next_page() and await run.db.run(orders.expire_due, cryptopay.PAGE) == cryptopay.PAGE:
        pass
    client = bootstrap.cryptopay()
    if client is None:
        return
    await _adopt(run, client)
    while await run.next_page():
        page = await run.db.run(orders.watched, cryptopay.NAME, run.cursor, cryptopay.PAGE)
        if not page:
            run.cursor = 0
            return
        run.claimed += len(page)
        try:
            listed = await client.invoices([order.invoice_id for order in page])
        except ProviderError as error:
            log.warning("provider_not_asked", provider=cryptopay.NAME, orders=len(page), error=str(error))
            run.failed += len(page)
        else:
            await _take_up(run, page, {str(item.get("invoice_id")): item for item in listed})
        run.cursor = page[-1].id


async def _take_up(run: Run, page: list[Watched], listed: dict[str, dict[str, Any]]) -> None:
    """Settle what was paid; stop watching what the provider can no longer take money for."""
    closed: list[int] = []
    for order in page:
        item = listed.get(order.invoice_id)
        if item is not None and item.get("status") == "paid":
            outcome = await _settle(run, item)
            if outcome in {"unmatched", "repeated"}:
                closed.append(order.id)  # the provider has what it will ever have; a person decides the rest
        elif (item is None and order.expired) or (item is not None and item.get("status") == cryptopay.EXPIRED):
            closed.append(order.id)
    if closed:
        await run.db.run(orders.close_at_provider, closed)


async def _settle(run: Run, item: dict[str, Any]) -> str:
    await run.lock.renew()
    event = cryptopay.event_of(item, json.dumps(item).encode(), "sweep", log.correlation.get())
    failpoints.reach("settle.before-claim")
    received = await run.db.run(settlement.receive, event, pricelist.load())
    report(event.provider, event.via, received)
    run.done += received.outcome in {"settled", "duplicate"}
    run.failed += received.outcome in {"kept", "unmatched"}
    await enqueue(bootstrap.task_queue(), received.follow_up, after="settle")
    return received.outcome


async def _adopt(run: Run, client: CryptoPay) -> None:
    """Orders whose invoice was asked for and never heard of: it may exist, and may be paid."""
    lost = await run.db.run(orders.orphans, cryptopay.NAME, cryptopay.PAGE)
    if not lost:
        return
    try:
        listed = await client.listed()
    except ProviderError as error:
        log.warning("provider_not_asked", provider=cryptopay.NAME, orders=len(lost), error=str(error))
        return
    for order in lost:
        invoice = cryptopay.matching(listed, order.purchase_id, order.price, order.currency)
        if invoice is not None:
            await run.db.run(orders.attach_invoice, order.id, invoice.invoice_id, invoice.url)
            log.info("invoice_adopted", order_id=order.id)
