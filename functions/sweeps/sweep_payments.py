"""Open invoices: the provider is asked, so a webhook that never comes delays no key (every minute and at +30 s)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import functions_framework.aio

from lib import bootstrap, failpoints, function_table, log
from lib.db import StatementFailed
from lib.domain import inbox, orders
from lib.payments import cryptopay
from lib.payments.provider import ProviderError
from lib.payments.reporting import report
from lib.settings import pricelist
from lib.sweeps import runner
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.domain.orders import Watched, WithoutInvoice
    from lib.payments.cryptopay import CryptoPay, Listing
    from lib.sweeps.runner import Run


@functions_framework.aio.http
async def sweep_payments(request: Request) -> Response:
    """See docs/interface.md, Responses. A tick of the scheduler also asks for its second pass."""
    return await runner.serve(request, _work, before=_ask_for_second_pass)


async def _ask_for_second_pass(tick: runner.Tick) -> None:
    """A doubled tick makes the same name, so there is one second pass."""
    after_s = function_table.load().functions["sweep_payments"].second_pass_s
    if not tick.of_scheduler or not after_s:
        return
    try:
        at = datetime.fromisoformat(tick.name) + timedelta(seconds=after_s)
    except ValueError:
        log.warning("schedule_time_unreadable")
        return
    await runner.hand_on("payments", f"{tick.name}|{after_s}", {"tick": f"{tick.name}+{after_s}s"}, at)


@dataclass(slots=True)
class _Pass:
    """What one pass has learned.

    Attributes:
        knows_ours: a listing of this pass held an invoice of ours, so the account it speaks of is ours and its absences count.
        taken_up: paid invoices that were new to us; pages overlap, and one that can't be settled now is tried once a pass.
    """

    client: CryptoPay
    knows_ours: bool = False
    taken_up: set[str] = field(default_factory=set)


async def _work(run: Run) -> None:
    try:
        while await run.next_page() and await run.db.run(orders.expire_due, cryptopay.PAGE) == cryptopay.PAGE:
            pass
    except StatementFailed:
        await run.one_by_one(orders.out_of_time, 0, cryptopay.PAGE, lambda one: run.db.run(orders.expire_one, one))
    client = bootstrap.cryptopay()
    if client is None:
        return
    this = _Pass(client)
    async with run.item(step="orders_without_invoice"):
        await _find_invoices(run, client)
    async with run.item(step="paid_invoices"):
        await _take_up_paid(run, this)
    while await run.next_page():
        page = await run.db.run(orders.watched, cryptopay.NAME, run.cursor, cryptopay.PAGE)
        if not page:
            run.cursor = 0
            return
        run.claimed += len(page)
        async with run.item(after=run.cursor):
            await _look(run, this, page)
        run.cursor = page[-1].id


async def _take_up_paid(run: Run, this: _Pass) -> None:
    """Money of orders that are watched no more, and of second invoices, is found among what was paid.

    From the first page on, as long as a page brings news; and one page further back, each in its turn: an invoice that was paid
    late may stand anywhere.
    """
    await _take_up_from(run, this, 0)
    number = await run.db.run(inbox.page_in_turn, cryptopay.page_start(1))
    if number:
        await _take_up_from(run, this, cryptopay.page_start(number))


async def _take_up_from(run: Run, this: _Pass, offset: int) -> None:
    news = True
    while news and await run.next_page():
        try:
            listing = await this.client.listed(cryptopay.PAID, offset=offset)
        except ProviderError as error:
            log.warning("provider_not_asked", provider=cryptopay.NAME, orders=0, error=str(error))
            return
        news = await _take_up_listed(run, this, listing)
        offset = listing.following(offset)


async def _take_up_listed(run: Run, this: _Pass, listing: Listing) -> bool:
    """Whether there was anything new among what was paid."""
    paid = {
        key: item
        for item in listing.items
        if (key := cryptopay.invoice_id_of(item)) and item.get("status") == cryptopay.PAID
    }
    unknown = await run.db.run(inbox.unknown_of, cryptopay.NAME, list(paid))
    this.knows_ours |= len(unknown) < len(paid)
    news = unknown - this.taken_up
    this.taken_up |= news
    for key in news:
        async with run.item(invoice_id=key):
            outcome = await _settle(run, paid[key])
            this.knows_ours |= outcome in {"settled", "duplicate"}
    return bool(news)


async def _look(run: Run, this: _Pass, page: list[Watched]) -> None:
    try:
        listing = await this.client.invoices([order.invoice_id for order in page])
    except ProviderError as error:
        log.warning("provider_not_asked", provider=cryptopay.NAME, orders=len(page), error=str(error))
        run.failed += len(page)
        return
    listed = {key: item for item in listing.items if (key := cryptopay.invoice_id_of(item))}
    closed = [order.id for order in page if listed.get(order.invoice_id, {}).get("status") == cryptopay.EXPIRED]
    for order in page:
        item = listed.get(order.invoice_id)
        if item is not None and item.get("status") == cryptopay.PAID:
            async with run.item(order_id=order.id):
                # Told already, by its webhook or among what was paid, it is `repeated`.
                if await _settle(run, item) in {"unmatched", "repeated"}:
                    closed.append(order.id)  # the provider has what it will ever have; an operator decides the rest
    if closed:
        await run.db.run(orders.close_at_provider, closed)
    await _note_absences(run, this, page, listed, complete=listing.complete)


async def _note_absences(
    run: Run, this: _Pass, page: list[Watched], listed: dict[str, dict[str, Any]], *, complete: bool
) -> None:
    """An invoice that a listing lacks may have been deleted by hand, or the listing may be empty, partial or another account's."""
    this.knows_ours |= any(order.invoice_id in listed for order in page)
    present = [order.id for order in page if order.missing and order.invoice_id in listed]
    missing = [order.id for order in page if order.invoice_id not in listed] if complete and this.knows_ours else []
    if present or missing:
        await run.db.run(orders.note_listed, present=present, missing=missing)


async def _settle(run: Run, item: dict[str, Any]) -> str:
    event = cryptopay.event_of(item, cryptopay.body_of(item), "sweep", log.correlation.get())
    failpoints.reach("settle.before-claim")
    received = await run.db.run(inbox.receive, event, pricelist.load())
    report(event.provider, event.via, received)
    run.done += received.outcome in {"settled", "duplicate"}
    run.failed += received.outcome in {"kept", "unmatched"}
    await enqueue(bootstrap.task_queue(), received.follow_up, after="settle")
    return received.outcome


async def _find_invoices(run: Run, client: CryptoPay) -> None:
    """Orders whose invoice was asked for and never heard of: it may exist, and may be paid."""
    waiting = await run.db.run(orders.without_known_invoice, cryptopay.NAME, cryptopay.PAGE)
    if waiting:
        try:
            async for listing in client.active():
                waiting = await _adopt(run, waiting, listing)
                if not waiting or not await run.next_page():
                    break
        except ProviderError as error:
            log.warning("provider_not_asked", provider=cryptopay.NAME, orders=len(waiting), error=str(error))
            return
    while await run.db.run(orders.close_without_invoice, cryptopay.NAME, cryptopay.PAGE) == cryptopay.PAGE:
        pass


async def _adopt(run: Run, waiting: list[WithoutInvoice], listing: Listing) -> list[WithoutInvoice]:
    """Give orders the invoices of theirs that are listed; those that still have none."""
    left = []
    for order in waiting:
        invoice = cryptopay.matching(listing.items, order.purchase_id, order.price, order.currency)
        if invoice is None:
            left.append(order)
            continue
        async with run.item(order_id=order.id):
            await run.db.run(orders.attach_invoice, order.id, invoice.invoice_id, invoice.url)
            log.info("invoice_adopted", order_id=order.id)
    return left
