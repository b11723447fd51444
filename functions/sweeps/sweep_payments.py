"""Open invoices: their providers are asked, so a webhook that never comes delays no key (every minute and at +30 s).

Every provider is asked at the same time as the others, page by page: one that is slow, down or answers nonsense holds up none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import functions_framework.aio

from lib import bootstrap, failpoints, function_table, log, side_by_side
from lib.db import StatementFailed
from lib.domain import inbox, listings, orders
from lib.payments import giving_back, provider
from lib.payments.provider import ProviderError
from lib.payments.reporting import report
from lib.settings import pricelist
from lib.sweeps import runner
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from lib.domain.orders import Watched, WithoutInvoice
    from lib.domain.settlement import Event
    from lib.payments.provider import Invoices, Looked, PaidPage, Unpaid
    from lib.sweeps.runner import Run

_PAGE = 1000
"""Orders at once, where no provider is asked."""
_WITHDRAWN_MOST = 50
"""Invoices that are taken back in a page; the rest waits for the next pass."""
_AHEAD = timedelta(days=1)
"""So far ahead of ours a provider's clock may be."""


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
    """What one pass over one provider has learned.

    Attributes:
        knows_ours: a listing of this pass held an invoice of ours, so the account it speaks of is ours and its absences count.
        taken_up: paid invoices that were new to us; pages overlap, and one that can't be settled now is tried once a pass.
    """

    invoices: Invoices
    knows_ours: bool = False
    taken_up: set[str] = field(default_factory=set)


async def _work(run: Run) -> None:
    try:
        while await run.next_page() and await run.db.run(orders.expire_due, _PAGE) == _PAGE:
            pass
    except StatementFailed:
        await run.one_by_one(orders.out_of_time, 0, _PAGE, lambda one: run.db.run(orders.expire_one, one))
    await side_by_side.all_of(_ask(run, _Pass(invoices)) for invoices in bootstrap.invoices().values())
    await giving_back.make_due(run)
    await giving_back.tell_overdue(run)


async def _ask(run: Run, this: _Pass) -> None:
    """Everything about one provider; what fails in it is its own."""
    if this.invoices.asks_first:
        await _read_list(run, this)
        return
    name, page_size = this.invoices.name, this.invoices.page
    async with run.item(provider=name, step="orders_without_invoice"):
        await _find_invoices(run, this.invoices)
    async with run.item(provider=name, step="paid_invoices"):
        await _take_up_paid(run, this)
    async with run.item(provider=name, step="watched_orders"):
        while await run.next_page():
            page = await run.db.run(orders.watched, name, run.cursors.get(name, 0), page_size)
            if not page:
                run.cursors.pop(name, None)
                return
            run.claimed += len(page)
            async with run.item(provider=name, after=run.cursors.get(name, 0)):
                await _look(run, this, page)
            run.cursors[name] = page[-1].id


async def _take_up_paid(run: Run, this: _Pass) -> None:
    """Money of orders that are watched no more, and of second invoices, is found among what was paid.

    From the first page on, as long as a page brings news; and one page further back, each in its turn: an invoice that was paid
    late may stand anywhere.
    """
    await _take_up_from(run, this, 0)
    number = await run.db.run(inbox.page_in_turn, this.invoices.stride)
    if number:
        await _take_up_from(run, this, number * this.invoices.stride)


async def _take_up_from(run: Run, this: _Pass, start: int) -> None:
    news = True
    while news and await run.next_page():
        try:
            page = await this.invoices.listed(start)
        except ProviderError as error:
            log.warning("provider_not_asked", provider=this.invoices.name, orders=0, error=str(error))
            return
        news = await _take_up(run, this, page.paid)
        start = page.following


async def _take_up(run: Run, this: _Pass, paid: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether there was anything new among what was paid."""
    unknown = await run.db.run(inbox.unknown_of, this.invoices.name, list(paid))
    this.knows_ours |= len(unknown) < len(paid)
    news = unknown - this.taken_up
    this.taken_up |= news
    for key in (one for one in paid if one in news):  # as listed: of two charges of one order the first settles it
        async with run.item(provider=this.invoices.name, charge_id=key):
            outcome = await _settle(run, this, paid[key])
            this.knows_ours |= outcome in {"settled", "duplicate"}
    return bool(news)


async def _read_list(run: Run, this: _Pass) -> None:
    """A provider that asks before it charges: its orders are closed by us, and its list begins with the oldest line.

    It is read on from where it was read to, a few lines further back; and one page of it again, each in its turn: a line may come
    to stand between others, and one that could not be taken up is tried again.
    """
    name, stride, overlap = this.invoices.name, this.invoices.stride, this.invoices.page - this.invoices.stride
    async with run.item(provider=name, step="closed_by_us"):
        while await run.db.run(orders.close_unasked, name, this.invoices.page) == this.invoices.page:
            pass
    async with run.item(provider=name, step="list_in_turn"):
        number = await run.db.run(listings.page_in_turn, name, stride)
        if (page := await _listed(run, this, number * stride)) is not None:
            await _take_up_lines(run, this, page)
    async with run.item(provider=name, step="list"):
        read = await run.db.run(listings.read_to, name)
        start = max(0, read - overlap)
        while await run.next_page() and (page := await _listed(run, this, start)) is not None:
            if page.length == 0:
                if start and start < read:  # it holds less than was read: another bot's, or not all of it
                    log.warning("listing_shorter", provider=name, read_to=read)
                    await run.db.run(listings.note_read, name, 0)
                return
            left = await _take_up_lines(run, this, page)
            start += page.length if left is None else left
            if start > read:
                read = start
                await run.db.run(listings.note_read, name, read)
            if left is not None:
                return


async def _listed(run: Run, this: _Pass, start: int) -> PaidPage | None:
    try:
        return await this.invoices.listed(start)
    except ProviderError as error:
        log.warning("provider_not_asked", provider=this.invoices.name, orders=0, error=str(error))
        run.failed += 1
        return None


async def _take_up_lines(run: Run, this: _Pass, page: PaidPage) -> int | None:
    """Where in the page the first line stands that is to be read again, because it is too young; None when there is none."""
    name = this.invoices.name
    await _take_up(run, this, page.paid)
    other = {event.external_id: event for said in page.others if (event := _event(this, said)).kind == "other"}
    for key in await run.db.run(inbox.unknown_of, name, list(other), "other"):
        async with run.item(provider=name, line=key):
            await _receive(run, other[key])
    kept = {one.charge_id: one for one in page.commissions}
    for key in kept.keys() - await run.db.run(listings.commissions_posted, name, list(kept)) if kept else ():
        async with run.item(provider=name, commission_of=key):
            await run.db.run(listings.book_commission, name, kept[key])
    return await _take_up_debits(run, this, page) if page.debits else None


async def _take_up_debits(run: Run, this: _Pass, page: PaidPage) -> int | None:
    told_by_now = await run.db.run(listings.told_by_now)
    left = None
    for debit, said in page.debits:
        # a moment that is still far ahead is none: it would hold up whatever stands after it
        if debit.moved_at is not None and told_by_now < debit.moved_at < told_by_now + _AHEAD:
            left = debit.position if left is None else left
            continue
        async with run.item(provider=this.invoices.name, debit_of=debit.charge_id):
            event = _event(this, said)
            received = await run.db.run(listings.take_up_debit, event, debit, pricelist.load())
            if received.outcome != "repeated":
                report(event.provider, event.via, received)
                await enqueue(bootstrap.task_queue(), received.follow_up, after="settle")
    return left


def _event(this: _Pass, said: Mapping[str, Any]) -> Event:
    return this.invoices.event(said, "sweep", log.correlation.get())


async def _look(run: Run, this: _Pass, page: list[Watched]) -> None:
    try:
        looked = await this.invoices.look([order.invoice_id for order in page])
    except ProviderError as error:
        log.warning("provider_not_asked", provider=this.invoices.name, orders=len(page), error=str(error))
        run.failed += len(page)
        return
    closed = [order.id for order in page if order.invoice_id in looked.over]
    for order in page:
        if (said := looked.paid.get(order.invoice_id)) is not None:
            async with run.item(order_id=order.id):
                # Told already, by its webhook or among what was paid, it is `repeated`.
                if await _settle(run, this, said) in {"unmatched", "repeated"}:
                    closed.append(order.id)  # the provider has what it will ever have; an operator decides the rest
    replaced = [order for order in page if order.replaced and order.invoice_id in looked.open]
    for order in replaced[:_WITHDRAWN_MOST]:
        async with run.item(order_id=order.id, step="withdraw"):
            if await _withdraw(this.invoices, order):
                closed.append(order.id)
    if closed:
        await run.db.run(orders.close_at_provider, closed)
    await _note_absences(run, this, page, looked)


async def _withdraw(invoices: Invoices, order: Watched) -> bool:
    """Take back the invoice of an order that made way: for a renewal, or for another order whose own process ended before it could.

    It was asked about just now, and is not paid. Best effort: what is paid all the same settles.
    """
    try:
        await invoices.withdraw(order.invoice_id)
    except ProviderError as error:
        log.warning("invoice_not_withdrawn", invoice_id=order.invoice_id, reason=str(error))
        return False
    log.info("invoice_withdrawn", order_id=order.id)
    return True


async def _note_absences(run: Run, this: _Pass, page: list[Watched], looked: Looked) -> None:
    """An invoice that a listing lacks may have been deleted by hand, or the listing may be empty, partial or another account's."""
    this.knows_ours |= any(looked.lists(order.invoice_id) for order in page)
    present = [order.id for order in page if order.missing and looked.lists(order.invoice_id)]
    absences_count = looked.complete and this.knows_ours
    missing = [order.id for order in page if not looked.lists(order.invoice_id)] if absences_count else []
    if present or missing:
        await run.db.run(orders.note_listed, present=present, missing=missing)


async def _settle(run: Run, this: _Pass, said: Mapping[str, Any]) -> str:
    return await _receive(run, _event(this, said))


async def _receive(run: Run, event: Event) -> str:
    failpoints.reach("settle.before-claim")
    received = await run.db.run(inbox.receive, event, pricelist.load())
    report(event.provider, event.via, received)
    run.done += received.outcome in {"settled", "duplicate"}
    run.failed += received.outcome in {"kept", "unmatched"}
    await enqueue(bootstrap.task_queue(), received.follow_up, after="settle")
    return received.outcome


async def _find_invoices(run: Run, invoices: Invoices) -> None:
    """Orders whose invoice was asked for and never heard of: it may exist, and may be paid."""
    waiting = await run.db.run(orders.without_known_invoice, invoices.name, invoices.page)
    if waiting:
        try:
            async for unpaid in invoices.unpaid():
                waiting = await _adopt(run, waiting, unpaid)
                if not waiting or not await run.next_page():
                    break
        except ProviderError as error:
            log.warning("provider_not_asked", provider=invoices.name, orders=len(waiting), error=str(error))
            return
    while await run.db.run(orders.close_without_invoice, invoices.name, invoices.page) == invoices.page:
        pass


async def _adopt(run: Run, waiting: list[WithoutInvoice], unpaid: Sequence[Unpaid]) -> list[WithoutInvoice]:
    """Give orders the invoices of theirs that are listed; those that still have none."""
    left = []
    for order in waiting:
        invoice = provider.matching(unpaid, order.purchase_id, order.price, order.currency)
        if invoice is None:
            left.append(order)
            continue
        async with run.item(order_id=order.id):
            await run.db.run(orders.attach_invoice, order.id, invoice.invoice_id, invoice.url)
            log.info("invoice_adopted", order_id=order.id)
    return left
