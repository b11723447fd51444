"""Refunds that an operator makes or tells of (product.md, Payment methods): each is one transaction, once, with its row in the audit log.

No customer's path loads this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lib import currencies
from lib.domain import audit, charges, ledger, operators, refund_requests, refunds, suspense
from lib.domain.charges import SaleParts
from lib.domain.postings import About, Amount, posting, table
from lib.domain.refund_requests import NotRefunded, Why
from lib.domain.refunds import Refund

if TYPE_CHECKING:
    from collections.abc import Collection

    from lib.db import Transaction
    from lib.domain import outbox
    from lib.domain.bookings import PayableOrder
    from lib.domain.charges import Paid, Standing
    from lib.domain.ledger import Posting
    from lib.domain.pricelist import PriceList
    from lib.domain.suspense_by_hand import By

_MAY = frozenset({operators.Role.OWNER, operators.Role.FINANCE})


class Route(StrEnum):
    """How money goes back."""

    PROVIDER = "provider"
    """Its provider gives it back, asked by the payments sweep."""
    WALLET = "wallet"
    """Bought from the balance: to the wallets that paid."""
    BALANCE = "balance"
    """Paid from outside: to the customer's balance."""
    BANK = "bank"
    """By hand, from the operator's own money."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A refund that an operator makes.

    Attributes:
        payment_id: of what; None when the charge never became a payment: then `event_id`.
        event_id: the charge's news.
        reverses_access: what is left of the access that was paid for is taken off.
        paid: by hand, what left the bank, in minor units of the books.
        fee: by hand, what the bank took beside it.
    """

    route: Route
    payment_id: int | None = None
    event_id: int | None = None
    reverses_access: bool = False
    paid: Amount | None = None
    fee: Amount | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it.

    Attributes:
        amount: what goes back, in minor units of prices.
        request_id: the provider is to be asked: until then nothing has left. None: it is done.
        follow_up: the work to enqueue.
    """

    amount: int
    currency: str
    request_id: int | None = None
    follow_up: tuple[outbox.Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Refundable:
    """A payment or charge, for a screen.

    Attributes:
        routes: by which it may go back now; which provider can give back, the registry says.
        refusal: why by none.
    """

    paid: Paid
    routes: tuple[Route, ...]
    refusal: str


_SETTLING = "select id from payments where order_id = :order_id and kind = 'settling'"
_CHARGE = "select id from payment_events where kind = 'charge' and provider = :provider and external_id = :charge_id"


def settling_payment(tx: Transaction, order_id: int) -> int | None:
    """The payment that settled an order."""
    payment_id: int | None = tx.value(_SETTLING, order_id=order_id)
    return payment_id


def charge(tx: Transaction, provider: str, charge_id: str) -> int | None:
    """The news of a charge, by the provider's id of it."""
    event_id: int | None = tx.value(_CHARGE, provider=provider, charge_id=charge_id)
    return event_id


def look(tx: Transaction, *, payment_id: int | None = None, event_id: int | None = None) -> Refundable | None:
    """What may be done about a payment, or a charge by its news; None when there is no such."""
    paid = charges.find(tx, payment_id=payment_id, event_id=event_id)
    if paid is None:
        return None
    if (refused := refund_requests.refusal(tx, paid)) is not None:
        return Refundable(paid, (), str(refused))
    return Refundable(paid, _routes(tx, paid, _order(tx, paid)), "")


def _order(tx: Transaction, paid: Paid) -> PayableOrder | None:
    return charges.lock(tx, paid)


def _routes(tx: Transaction, paid: Paid, order: PayableOrder | None) -> tuple[Route, ...]:
    if paid.event_id is None:
        return (Route.WALLET,)
    if paid.payment_id is None or suspense.lying(tx, paid.event_id) is not None:
        return (Route.PROVIDER,)  # by hand: `suspense_by_hand.paid_back`
    if order is not None and charges.is_sold(tx, paid, order):
        return (Route.PROVIDER, Route.BALANCE, Route.BANK)
    return (Route.PROVIDER, Route.BANK)


def refund(tx: Transaction, wanted: Wanted, by: By, prices: PriceList, able: Collection[str] | None = None) -> Made:
    """Give a payment back, all of it, or ask its provider to.

    Args:
        tx: of its own.
        wanted: what, and how.
        by: who does it, and why.
        prices: of today: the currency of the books, and what running time is worth.
        able: the providers that can give back; None when that is not known here, and the payments sweep says it.

    Raises:
        NotRefunded: not allowed, no such payment, not by this route, it went back before, or a balance does not hold it any more.
    """
    _check_may(tx, by)
    found = charges.find(tx, payment_id=wanted.payment_id, event_id=wanted.event_id)
    if found is None:
        raise NotRefunded("there is no such payment or charge", Why.NO_PAYMENT)
    if found.event_id is not None:
        tx.value("select id from payment_events where id = :id for no key update", id=found.event_id)
    order = charges.lock(tx, found)
    # as it is now that nothing of it can change
    paid = charges.find(tx, payment_id=wanted.payment_id, event_id=wanted.event_id) or found
    if (refused := refund_requests.refusal(tx, paid)) is not None:
        raise refused
    routes = _routes(tx, paid, order)
    if wanted.route not in routes:
        raise NotRefunded(f"it can go back by {', '.join(routes)}, not by {wanted.route}", Why.NOT_THAT_WAY)
    if (wanted.paid is None) == (wanted.route is Route.BANK) or (wanted.fee and wanted.route is not Route.BANK):
        raise NotRefunded("what left the bank is said of a refund by hand, and of no other", Why.NO_AMOUNT)
    if wanted.route is Route.PROVIDER:
        made = _ask(tx, paid, wanted, by, books=prices.currency, able=able)
    else:
        made = _give(tx, paid, wanted, by, order=order, prices=prices)
    facts = {"route": wanted.route, "amount": made.amount, "currency": made.currency, "access": wanted.reverses_access}
    _record(tx, paid, by, "asked" if made.request_id else "made", facts)
    return made


def _ask(tx: Transaction, paid: Paid, wanted: Wanted, by: By, *, books: str, able: Collection[str] | None) -> Made:
    if able is not None and paid.provider not in able:
        raise NotRefunded(f"{paid.provider} gives nothing back", Why.PROVIDER_CANT)
    assert paid.event_id is not None  # noqa: S101 -- a charge from outside: `_routes`
    request_id = refund_requests.ask(
        tx,
        paid.event_id,
        books,
        reverses_access=wanted.reverses_access,
        made_by=by.actor_id,
        reason=by.reason,
        correlation_id=by.correlation_id,
    )
    return Made(paid.amount, paid.currency, request_id=request_id)


def _give(
    tx: Transaction, paid: Paid, wanted: Wanted, by: By, *, order: PayableOrder | None, prices: PriceList
) -> Made:
    """To wallets, to the balance, or by hand: it is done with this transaction."""
    beyond = max(0, paid.amount - order.price) if order and wanted.route is Route.BALANCE else 0
    given = Refund(
        kind="refund",
        provider="transfer" if wanted.route is Route.BANK else "balance",
        external_id=f"payment:{paid.payment_id}",
        route=wanted.route,
        amount=paid.amount - beyond,
        reverses_access=wanted.reverses_access,
        made_by=by.actor_id,
        reason=by.reason,
    )
    refund_id = refunds.write(tx, paid, given)
    tx.reach("refund.mid-transaction")
    taken = refunds.take_access(tx, paid, given, refund_id, prices=prices, correlation_id=by.correlation_id)
    until = taken.ends if taken else None
    told = refunds.tell(tx, paid, given, refund_id, correlation_id=by.correlation_id, until=until)
    ledger.post(tx, _posting(tx, paid, wanted, given, order=order, refund_id=refund_id, books=prices.currency))
    return Made(given.amount, paid.currency, follow_up=(*(taken.follow_up if taken else ()), *told))


def _posting(
    tx: Transaction,
    paid: Paid,
    wanted: Wanted,
    given: Refund,
    *,
    order: PayableOrder | None,
    refund_id: int,
    books: str,
) -> Posting:
    left = charges.standing(tx, paid)
    of = refunds.about(paid, given, refund_id, left.owner if left.owner is not None else paid.account_id)
    if wanted.route is Route.WALLET:
        topped_up, earned = (Amount(left.spent.get(f"user:{part}", 0), books) for part in ("topped_up", "earned"))
        return posting(table.REFUND_TO_WALLETS, of, topped_up=topped_up, earned=earned)
    sold = order is not None and charges.is_sold_price(paid, order)
    if wanted.route is Route.BALANCE:
        assert order is not None  # noqa: S101 -- sold: `_routes`
        price = Amount(currencies.of(order.currency).booked(given.amount), order.currency)
        value = Amount(order.value * given.amount // order.price, books)
        return posting(table.REFUND_TO_BALANCE, of, price=price, value=value)
    return _by_hand(tx, paid, wanted, order=order if sold else None, left=left, of=of, books=books)


def _by_hand(
    tx: Transaction,
    paid: Paid,
    wanted: Wanted,
    *,
    order: PayableOrder | None,
    left: Standing,
    of: About,
    books: str,
) -> Posting:
    sent = wanted.paid
    assert sent is not None  # noqa: S101 -- checked in `refund`
    if sent.minor <= 0 or (wanted.fee is not None and wanted.fee.minor <= 0):
        raise NotRefunded("an amount is above zero", Why.NO_AMOUNT)
    if wanted.fee is not None and wanted.fee.currency != sent.currency:
        raise NotRefunded(f"FEE is said in {sent.currency}, as PAID is", Why.FEE_CURRENCY)
    if wanted.fee is not None and wanted.fee.minor > sent.minor:
        raise NotRefunded("FEE is more than PAID: no bank takes that", Why.FEE_BEYOND)
    parts = SaleParts.of(paid, order, left, books) if order is not None else None
    owed = parts.rest if parts is not None else left.credited
    if left.owner is not None and owed:
        there = ledger.lock_wallets(tx, left.owner)[left.owner].topped_up
        if there < owed:
            raise refund_requests.too_little(left.owner, there, owed, books)
    if parts is None or order is None:
        if sent.currency == books and sent.minor != left.credited:
            raise NotRefunded(
                f"{currencies.of(books).said(left.credited)} are given back: all of it, or nothing", Why.ALL_OR_NOTHING
            )
        return posting(
            table.REFUND_OF_BALANCE_BY_HAND, of, taken=Amount(left.credited, books), given_back=sent, fee=wanted.fee
        )
    price, rest = Amount(parts.price, order.currency), Amount(parts.rest, books) if parts.rest else None
    rest_back = None
    given_back = sent
    if rest is not None:
        of_rest = rest.minor if sent.currency == books else sent.minor * (paid.amount - order.price) // paid.amount
        given_back, rest_back = Amount(sent.minor - of_rest, sent.currency), Amount(of_rest, sent.currency)
    if given_back.minor <= 0 or (sent.currency == order.currency and given_back.minor != price.minor):
        whole = currencies.of(paid.currency).decimal(paid.amount)
        raise NotRefunded(f"{whole} {paid.currency} are given back: all of it, or nothing", Why.ALL_OR_NOTHING)
    return posting(
        table.REFUND_BY_HAND,
        of,
        price=price,
        given_back=given_back,
        rest=rest,
        rest_given_back=rest_back,
        fee=wanted.fee,
    )


def taken_by_provider(tx: Transaction, event_id: int, by: By, prices: PriceList, *, chargeback: bool = True) -> Made:
    """The provider took a charge back, and told no news of it: an operator books it from a difference of its balance.

    The first debit of this charge that it lists later is this one.

    Args:
        tx: of its own.
        event_id: the charge's news.
        by: who says so, and why.
        prices: of today.
        chargeback: by force; else a refund that was made at the provider.

    Raises:
        NotRefunded: not allowed, no such charge, or a debit of it is booked.
    """
    _check_may(tx, by)
    tx.value("select id from payment_events where id = :id for no key update", id=event_id)
    paid = charges.find(tx, event_id=event_id)
    if paid is None or paid.amount <= 0:
        raise NotRefunded(f"there is no charge of event {event_id}", Why.NO_PAYMENT)
    charges.lock(tx, paid)
    if charges.is_debited(tx, paid):
        raise NotRefunded("its provider's debit is booked", Why.BOOKED)
    if charges.left_by_another_way(tx, paid):
        raise NotRefunded("it was paid back by hand: what its provider takes is booked when it lists it", Why.BY_HAND)
    request = refund_requests.open_request(tx, event_id)
    rest = charges.part(tx, paid)
    told = Refund(
        kind="chargeback" if chargeback else "refund",
        provider=paid.provider,
        external_id=f"event:{event_id}",
        route="provider",
        amount=refunds.agreed(paid, rest),
        reverses_access=request is not None and request.reverses_access,
        made_by=by.actor_id,
        reason=by.reason,
    )
    follow_up = refunds.debit(tx, paid, told, request, part=rest, prices=prices, correlation_id=by.correlation_id)
    if follow_up is None:
        raise NotRefunded("what came for it is not in the books", Why.NOT_IN_BOOKS)
    facts = {"route": "provider", "amount": told.amount, "currency": paid.currency, "kind": told.kind}
    _record(tx, paid, by, "told", facts)
    return Made(told.amount, paid.currency, follow_up=tuple(follow_up))


# The news first, then its charge, as every refund that is told.
_NEWS = """
select n.kind, n.status, n.resolution, c.id as charge_event_id
from payment_events n
left join payment_events c on c.provider = n.provider and c.kind = 'charge' and c.external_id = n.charge_id and c.status <> 'new'
where n.id = :id and n.kind in ('refund', 'chargeback')
for no key update of n
"""


@dataclass(frozen=True, slots=True)
class _News:
    kind: str
    status: str
    resolution: str | None
    charge_event_id: int | None


_TELLS_OF_A_RETURN = """
select exists (
    select from payment_events n
    join payment_events c on c.provider = n.provider and c.kind = 'charge' and c.external_id = n.charge_id and c.status <> 'new'
    where n.id = :id and n.kind in ('refund', 'chargeback') and n.status = 'unmatched' and n.resolved_at is null)
"""


def tells_of_a_return(tx: Transaction, event_id: int) -> bool:
    """Whether it is news of a refund or chargeback of a known charge that waits for an operator, since it can't be booked as it was told."""
    return bool(tx.value(_TELLS_OF_A_RETURN, id=event_id))


def booked_as_its_charge(tx: Transaction, event_id: int, by: By, prices: PriceList) -> Made:
    """What left is said in another currency than its charge was in, or by no whole number of it: all of the charge went back.

    It is booked at the amounts at which the charge came, as `taken_by_provider` does, and the news waits no more. Where less than all
    of it left, the provider is asked to tell it in the charge's currency.

    Args:
        tx: of its own.
        event_id: the news of the refund or chargeback.
        by: who says so, and why.
        prices: of today.

    Raises:
        NotRefunded: not allowed, no such news, ended before, its charge is not known, or its debit is booked.
    """
    _check_may(tx, by)
    news = tx.row(_News, _NEWS, id=event_id)
    if news is None or news.charge_event_id is None:
        raise NotRefunded(f"event {event_id} tells of no refund of a charge that is known", Why.NO_PAYMENT)
    if news.status != "unmatched" or news.resolution is not None:
        raise NotRefunded(f"event {event_id} was {news.resolution or news.status} before", Why.BOOKED)
    made = taken_by_provider(tx, news.charge_event_id, by, prices, chargeback=news.kind == "chargeback")
    tx.execute(suspense.RESOLVE, id=event_id, resolution="refunded")
    return made


def _check_may(tx: Transaction, by: By) -> None:
    if not operators.roles(tx, by.actor_id, by.owners) & _MAY:
        raise NotRefunded(f"{by.actor_id} may not: neither in ADMIN_IDS nor with the role finance", Why.NOT_ALLOWED)


def _record(tx: Transaction, paid: Paid, by: By, how: str, facts: dict[str, Any]) -> None:
    subject = (
        audit.Subject("payment", str(paid.payment_id))
        if paid.payment_id is not None
        else audit.Subject("payment_event", str(paid.event_id))
    )
    audit.record(
        tx,
        by.actor_id,
        f"refund.{how}",
        subject,
        before=None,
        after=facts | {"reason": by.reason},
        correlation_id=by.correlation_id,
    )
