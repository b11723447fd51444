"""One provider's own account is asked for and compared with the books. Nothing is asked inside a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from lib.domain import reconciliation
from lib.domain.reconciliation import MOVEMENT, Compared, Outcome, gather
from lib.payments.provider import Listed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from datetime import datetime

    from lib.db import Database
    from lib.domain.reconciliation import Booked, Difference, Due, Line, Subject
    from lib.payments.provider import ProviderAccount

_PAGE = 1000
_ATTEMPTS = 3


class OutOfTime(Exception):
    """There was no time to read all of it; nothing was recorded."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What came of it; `new` are the differences that no comparison before had seen."""

    outcome: Outcome
    new: list[Difference]


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at both sides."""

    compared: Compared
    lines: int
    complete: bool
    balances: list[Difference]
    moved: bool


async def _always() -> bool:
    return True


async def reconcile(
    db: Database,
    provider: str,
    account: ProviderAccount,
    *,
    anyway: bool = False,
    next_page: Callable[[], Awaitable[bool]] = _always,
) -> Reconciled | None:
    """Compare a provider's account with the books and record what differs; None when that is not due.

    Money that comes while it is asked can make the balance look wrong. It counts as wrong when nothing moved meanwhile, or when two
    looks in a row find it wrong by the same amount; else it is not judged, and the comparison is due again.

    Args:
        db: the database.
        provider: whose.
        account: what tells of it.
        anyway: whether or not it is due.
        next_page: is asked before each page; a False ends it.

    Raises:
        ProviderError: could not ask; nothing was recorded.
        OutOfTime: as it says.
    """
    due = await db.run(reconciliation.due, provider, anyway=anyway)
    if due is None:
        return None
    looks: list[_Look] = []
    for _ in range(_ATTEMPTS):
        if looks:
            due = await db.run(reconciliation.due, provider, anyway=True) or due
        looks.append(await _look(db, provider, account, due, next_page))
        if _is_judged(looks):
            break
    last = looks[-1]
    judged = _is_judged(looks)
    outcome = Outcome(
        day=due.day,
        lines=last.lines,
        matched=last.compared.matched,
        under_way=last.compared.under_way,
        differences=[*last.compared.differences, *(last.balances if judged else [])],
        begins=_later(due.since, account.begins),
        ends=account.ends,
        complete=last.complete,
        balance_judged=judged,
    )
    return Reconciled(outcome, await db.run(reconciliation.record, provider, outcome))


def _is_judged(looks: list[_Look]) -> bool:
    last = looks[-1]
    if not last.moved or not last.balances:
        return True
    return len(looks) > 1 and _off(looks[-2]) == _off(last)


def _off(look: _Look) -> dict[str, Decimal]:
    nothing = Decimal(0)
    return {one.asset: (one.said or nothing) - (one.booked or nothing) for one in look.balances}


async def _look(
    db: Database, provider: str, account: ProviderAccount, due: Due, next_page: Callable[[], Awaitable[bool]]
) -> _Look:
    since = _later(due.since, account.begins)
    before = await account.balances()
    lines: list[Line] = []
    complete = True
    async for page in account.lines(since):
        if not await next_page():
            raise OutOfTime
        lines += await db.run(reconciliation.under_their_charges, provider, list(page.lines))
        complete &= page.complete
    after = await account.balances()
    said = {subject: side for subject, side in gather(lines).items() if _speaks_of(account, side.at)}
    booked = await _booked(db, provider, said, due)
    lacking = await _moved_since(db, provider, account, since, next_page) - said.keys()
    asked = await _ask(account, lacking, next_page)
    looked = gather(line for line in asked.lines if line.subject in lacking)
    known = complete or asked.complete
    # of a list with holes, where it can't be asked by its ids, absence says nothing
    there = await _booked(db, provider, lacking if known else looked, due)
    there = {subject: one for subject, one in there.items() if subject in looked or _speaks_of(account, one.side.at)}
    compared = reconciliation.compare(said | looked, booked | there, now=due.now)
    held = await db.run(reconciliation.held, provider, due.before)
    return _Look(
        compared,
        lines=len({*said, *looked, *booked, *there}),
        complete=known,
        balances=[] if before is None else reconciliation.balances(before, held, compared.unsettled),
        moved=before != after,
    )


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one and other else one or other


def _speaks_of(account: ProviderAccount, at: datetime | None) -> bool:
    """Whether a statement speaks of the time of a line; one without a time is in it."""
    return at is None or not ((account.begins and at < account.begins) or (account.ends and at > account.ends))


async def _booked(db: Database, provider: str, subjects: Iterable[Subject], due: Due) -> dict[Subject, Booked]:
    found: dict[Subject, Booked] = {}
    for some in _pages(subjects):
        found |= await db.run(reconciliation.booked, provider, some, due.before)
    return found


async def _moved_since(
    db: Database,
    provider: str,
    account: ProviderAccount,
    since: datetime | None,
    next_page: Callable[[], Awaitable[bool]],
) -> set[Subject]:
    """Lines of the books that the provider's list must have. Movements are named by operators: the list need not know them."""
    listed = account.lists - {MOVEMENT}
    found: set[Subject] = set()
    after: int | None = 0
    while after is not None:
        if not await next_page():
            raise OutOfTime
        kinds, after = await db.run(reconciliation.booked_since, provider, since, after, _PAGE)
        found |= {subject for subject, kind in kinds.items() if kind in listed}
    return found


async def _ask(account: ProviderAccount, subjects: set[Subject], next_page: Callable[[], Awaitable[bool]]) -> Listed:
    lines: list[Line] = []
    complete = True
    for some in _pages(subjects):
        if not await next_page():
            raise OutOfTime
        page = await account.look([one for _, one in some])
        lines += page.lines
        complete &= page.complete
    return Listed(lines, complete)


def _pages(subjects: Iterable[Subject]) -> Iterator[list[Subject]]:
    wanted = sorted(subjects)
    for start in range(0, len(wanted), _PAGE):
        yield wanted[start : start + _PAGE]
