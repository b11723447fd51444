"""Refunds that providers are asked to make: the row is claimed first, then the provider is called, then its answer is written.

What it says of one that is made is news, which `inbox.receive` gives its effect: the same whether the call's answer, a list or an
update tells of it. A run that dies leaves the row claimed and `sent`; the next one asks for its outcome before it calls again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib import bootstrap, failpoints, log
from lib.domain import inbox, refund_requests, refunds
from lib.domain.settlement import Event
from lib.payments import registry
from lib.payments.provider import Answer
from lib.payments.reporting import report
from lib.settings import plain, pricelist
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from lib.domain.refund_requests import Claimed
    from lib.payments.provider import GivenBack, GivesBack
    from lib.sweeps.runner import Run

_PAGE = 20
_LEASE_S = 120.0
"""Longer than a provider's call and the look before it may take."""
_NOTHING_BACK = "its provider gives nothing back"
_FIRST_S, _LONGEST_S = 30.0, 3600.0


async def make_due(run: Run) -> None:
    """Make the refunds that are due, and take up those that were told of before their charge."""
    while await run.next_page():
        woken = await run.db.run(refunds.wake, _PAGE)
        await enqueue(bootstrap.task_queue(), woken, after="refunds")
        if len(woken) < _PAGE:
            break
    givers = bootstrap.giving_back()
    await _refuse(run, [name for name in registry.providers(plain.environment()) if name not in givers])
    while await run.next_page():
        failpoints.reach("refund.before-claim")
        page = await run.db.run(refund_requests.claim, list(givers), _PAGE, _LEASE_S)
        failpoints.reach("refund.after-claim")
        run.claimed += len(page)
        for one in page:
            async with run.item(refund_request_id=one.id, provider=one.provider):
                await _make(run, one, givers[one.provider])
        if len(page) < _PAGE:
            break


async def tell_overdue(run: Run) -> None:
    """Once a pass for each provider that has not made what it was asked for, those that can't be asked here included."""
    async with run.item(step="overdue_refunds"):
        for late in await run.db.run(refund_requests.overdue):
            log.error("refund_overdue", provider=late.provider, count=late.count, oldest_s=round(late.oldest_s))


async def _refuse(run: Run, providers: list[str]) -> None:
    """Of providers that give nothing back here. What was sent before, by a release that could, waits for one that can ask about it."""
    while await run.next_page() and (
        ended := await run.db.run(refund_requests.refuse_unsent, providers, _NOTHING_BACK)
    ):
        run.claimed += 1
        log.error("refund_refused", refund_request_id=ended, reason=_NOTHING_BACK)


async def _make(run: Run, one: Claimed, giver: GivesBack) -> None:
    given = await _ask(one, giver)
    failpoints.reach("refund.after-call")
    if given.answer is Answer.DONE and given.news is not None:
        await _receive(run, one, given.news)
    elif given.answer is Answer.REFUSED:
        await run.db.run(refund_requests.refused, one, given.reason)
        log.error("refund_refused", refund_request_id=one.id, provider=one.provider, reason=given.reason)
    else:
        if given.answer is Answer.ALREADY:
            await _note_already(run, one, given)
        run.failed += 1
        may_be_made = given.answer is not Answer.LATER
        await _put_off(run, one, given, may_be_made=may_be_made)


async def _ask(one: Claimed, giver: GivesBack) -> GivenBack:
    if one.may_be_made:
        before = await giver.outcome(one.charge, one.correlation_id)
        if before.answer is not Answer.NOT:
            return before
    given = await giver.give_back(one.charge, one.correlation_id)
    if given.answer is not Answer.ALREADY:
        return given
    found = await giver.outcome(one.charge, one.correlation_id)
    return found if found.answer is Answer.DONE else given


async def _receive(run: Run, one: Claimed, news: Event) -> None:
    received = await run.db.run(inbox.receive, news, pricelist.load())
    report(news.provider, news.via, received)
    await enqueue(bootstrap.task_queue(), received.follow_up, after="refund")
    if await run.db.run(refunds.is_told, received.event_id):
        run.done += 1
        # it ended with the news, unless that was told before it was asked for
        await run.db.run(refund_requests.refused, one, "it had gone back before")
    else:
        run.failed += 1
        await run.db.run(
            refund_requests.put_off,
            one,
            _LONGEST_S,
            f"{received.outcome}: {received.reason}{received.error}",
            may_be_made=True,
        )


async def _note_already(run: Run, one: Claimed, given: GivenBack) -> None:
    """No money in it: what left is booked by the news of it."""
    body = f"{one.charge_id}: {given.reason}".encode()
    event = Event(
        one.provider,
        f"request:{one.id}",
        body,
        "sweep",
        one.correlation_id,
        None,
        "the provider says that it was given back already",
        kind="other",
        concerns_money=False,
    )
    report(one.provider, "sweep", await run.db.run(inbox.receive, event, pricelist.load()))


async def _put_off(run: Run, one: Claimed, given: GivenBack, *, may_be_made: bool) -> None:
    seconds = min(_FIRST_S * 2.0 ** min(one.attempts - 1, 10), _LONGEST_S)
    log.warning(
        "refund_waits",
        refund_request_id=one.id,
        provider=one.provider,
        answer=str(given.answer),
        reason=given.reason,
        attempts=one.attempts,
    )
    await run.db.run(refund_requests.put_off, one, seconds, f"{given.answer}: {given.reason}", may_be_made=may_be_made)
