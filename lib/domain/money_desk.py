"""What waits for an operator, to read: pages of it, one event with all that is known of it. Customers, as operators look for them.

No customer's path loads this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.domain import suspense

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from lib.db import Transaction
    from lib.domain.suspense import InSuspense

FIRST = 2**63 - 1
"""Before which the newest page begins."""


@dataclass(frozen=True, slots=True)
class Event:
    """News of money.

    Attributes:
        amount: minor units of prices, as its provider said; None where it said none that can be.
        account_id: the customer of its order, else the one who paid as far as the provider said it; None when neither is known.
        order_status, order_kind: of the order that it names.
        asked_back: its provider is asked to give it back.
    """

    id: int
    provider: str
    external_id: str
    status: str
    reason: str | None
    amount: Decimal | None
    currency: str | None
    order_id: int | None
    order_status: str | None
    order_kind: str | None
    account_id: int | None
    payer_telegram_id: int | None
    received_at: datetime
    resolution: str | None
    asked_back: bool


_COLUMNS = """
       n.id, n.provider, n.external_id, n.status, n.reason, n.amount, n.currency, n.order_id, o.status as order_status,
       o.kind as order_kind, coalesce(o.account_id, a.id) as account_id, n.payer_telegram_id, n.received_at, n.resolution,
       exists (select from refund_requests q where q.event_id = n.id and q.ended_at is null) as asked_back
"""
_ORDER_AND_PAYER = """left join orders o on o.id = n.order_id left join accounts a on a.telegram_id = n.payer_telegram_id
"""

# Two conditions, each with an index of its own.
_WAITING = f"""
with waiting as (
    (select * from payment_events where status = 'unmatched' and resolved_at is null and id < :before order by id desc limit :most)
    union all
    (select * from payment_events where status = 'duplicate' and resolved_at is null and id < :before order by id desc limit :most)
)
select {_COLUMNS} from waiting n {_ORDER_AND_PAYER} order by n.id desc limit :most
"""  # noqa: S608 -- constant fragments

_ONE = f"select {_COLUMNS} from payment_events n {_ORDER_AND_PAYER} where n.id = :id"  # noqa: S608 -- constant fragments

_COUNTS = """
select count(*) filter (where status = 'unmatched') as unmatched, count(*) filter (where status = 'duplicate') as duplicate
from payment_events where status in ('unmatched', 'duplicate') and resolved_at is null
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much waits: what fits nothing, and further charges that no one was credited with."""

    unmatched: int
    duplicate: int


def counts(tx: Transaction) -> Counts:
    """How many events wait."""
    return tx.one(Counts, _COUNTS)


def waiting(tx: Transaction, *, before: int = FIRST, most: int) -> list[Event]:
    """What waits, newest first: charges that fit nothing, further charges that were not credited."""
    return tx.rows(Event, _WAITING, before=before, most=most)


def event(tx: Transaction, event_id: int) -> Event | None:
    """One event, whatever became of it."""
    return tx.row(Event, _ONE, id=event_id)


def lying(tx: Transaction, event_id: int) -> InSuspense | None:
    """What of its money lies in suspense now; None when nothing does."""
    return suspense.lying(tx, event_id)


@dataclass(frozen=True, slots=True)
class Found:
    """A customer; `erased` ones have no Telegram id."""

    id: int
    telegram_id: int | None
    first_name: str
    username: str | None


_CUSTOMER = "select id, telegram_id, first_name, username from accounts where id = :id"

# A number may be Telegram's, ours, or an order's: each reads its own index.
_BY_NUMBER = """
select id, telegram_id, first_name, username from accounts
where telegram_id = :number or id = :number or id = (select account_id from orders where id = :number)
order by id limit :most
"""
_BY_NAME = """
select id, telegram_id, first_name, username from accounts where lower(username) = lower(:name) order by id limit :most
"""
_BY_PURCHASE = """
select a.id, a.telegram_id, a.first_name, a.username
from orders o join accounts a on a.id = o.account_id where o.purchase_id = cast(:purchase_id as uuid)
"""
# Charges and invoices are unique per provider: with each of them the index is read once.
_BY_CHARGE = """
with known as (
    select p.account_id from providers v join payments p on p.provider = v.name and p.charge_id = :charge_id
    union
    select o.account_id from providers v join orders o on o.provider = v.name and o.invoice_id = :charge_id
    union
    select coalesce(o.account_id, a.id)
    from providers v
    join payment_events n on n.provider = v.name and n.kind in ('charge', 'refund', 'chargeback', 'other') and n.external_id = :charge_id
    left join orders o on o.id = n.order_id left join accounts a on a.telegram_id = n.payer_telegram_id
)
select a.id, a.telegram_id, a.first_name, a.username from accounts a join known k on k.account_id = a.id order by a.id limit :most
"""

_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_NAME = re.compile(r"@[A-Za-z0-9_]{1,64}", re.ASCII)
_PURCHASE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_LONGEST = 200


def customer(tx: Transaction, account_id: int) -> Found | None:
    """The customer of an account."""
    return tx.row(Found, _CUSTOMER, id=account_id)


def find(tx: Transaction, asked: str, most: int) -> list[Found]:
    """Customers by Telegram's number, account number, order number, @username, purchase id, charge id or invoice id."""
    said = asked.strip()
    if not said or len(said) > _LONGEST or not said.isprintable():
        return []
    if _NAME.fullmatch(said):
        return tx.rows(Found, _BY_NAME, name=said[1:], most=most)
    if _PURCHASE.fullmatch(said):
        return tx.rows(Found, _BY_PURCHASE, purchase_id=said.lower())
    found: list[Found] = []
    if _NUMBER.fullmatch(said) and int(said) < FIRST:
        found = tx.rows(Found, _BY_NUMBER, number=int(said), most=most)
    # ids of charges may be digits alone, such as those of Crypto Pay
    by_charge = tx.rows(Found, _BY_CHARGE, charge_id=said, most=most)
    return [*found, *(one for one in by_charge if one not in found)][:most]


# What each account of the shop's own moved, one line a transfer, newest first; the days are in the order of the transfers.
_LINES = """
with asked as (
    select (select books_day from ledger_transfers where id = :before) as day
), sides as (
    select * from (
        select e.books_day, e.transfer_id, e.amount, e.credit_account_id as other_id from ledger_entries e, asked
        where e.debit_account_id = :account_id and e.books_day <= coalesce(asked.day, 'infinity') and e.transfer_id < :before
        order by e.books_day desc, e.transfer_id desc limit :most * 4
    ) debited
    union all
    select * from (
        select e.books_day, e.transfer_id, -e.amount, e.debit_account_id from ledger_entries e, asked
        where e.credit_account_id = :account_id and e.books_day <= coalesce(asked.day, 'infinity') and e.transfer_id < :before
        order by e.books_day desc, e.transfer_id desc limit :most * 4
    ) credited
), lines as (
    select s.transfer_id, sum(s.amount) as amount, string_agg(distinct o.code, ', ' order by o.code) as others
    from sides s join ledger_accounts o on o.id = s.other_id
    group by s.transfer_id order by s.transfer_id desc limit :most
)
select l.transfer_id, t.key, t.kind, t.booked_at, l.amount, l.others, t.order_id, t.event_id, t.account_id, t.actor_id, t.reason
from lines l join ledger_transfers t on t.id = l.transfer_id order by l.transfer_id desc
"""


@dataclass(frozen=True, slots=True)
class Line:
    """What a transfer did to an account of the ledger.

    Attributes:
        amount: minor units of the books; above zero when it was debited.
        others: codes of the accounts on the other side.
    """

    transfer_id: int
    key: str
    kind: str
    booked_at: datetime
    amount: int
    others: str
    order_id: int | None
    event_id: int | None
    account_id: int | None
    actor_id: int | None
    reason: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "amount", int(self.amount))


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """An account of the shop's own."""

    id: int
    code: str
    currency: str


def ledger_accounts(tx: Transaction) -> list[LedgerAccount]:
    """Every account of the shop's own; wallets are told with their customers."""
    sql = "select id, code, currency from ledger_accounts where coalesce(account_id, 0) = 0 order by currency, code"
    return tx.rows(LedgerAccount, sql)


def ledger_account(tx: Transaction, number: int) -> LedgerAccount | None:
    """One of them; None of a wallet, too."""
    sql = "select id, code, currency from ledger_accounts where id = :id and account_id is null"
    return tx.row(LedgerAccount, sql, id=number)


def lines(tx: Transaction, ledger_account_id: int, *, before: int = FIRST, most: int) -> list[Line]:
    """What moved an account before that transfer, newest first."""
    return tx.rows(Line, _LINES, account_id=ledger_account_id, before=before, most=most)


# What an act did to the books, for who confirms it; of the operator's own, since that transfer.
_POSTED = """
select d.code as debit, c.code as credit, cast(e.amount as text) as amount, e.currency
from ledger_transfers t join ledger_entries e on e.transfer_id = t.id
join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
where t.id > :after and t.actor_id = :actor_id
order by t.id, e.number
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the books, minor units."""

    debit: str
    credit: str
    amount: int
    currency: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "amount", int(self.amount))


def last_transfer(tx: Transaction) -> int:
    """The newest transfer that this transaction sees."""
    number: int = tx.value("select coalesce(max(id), 0) from ledger_transfers")
    return number


def posted(tx: Transaction, after: int, actor_id: int) -> list[Entry]:
    """What an operator's act posted, after that transfer."""
    return tx.rows(Entry, _POSTED, after=after, actor_id=actor_id)


@dataclass(frozen=True, slots=True)
class OrderLine:
    """An order, as its customer knows it; `value` in minor units of the books' currency."""

    id: int
    account_id: int
    kind: str
    tariff: str | None
    period_days: int | None
    price: int
    currency: str
    value: int
    status: str
    created_at: datetime


_ORDER = "select id, account_id, kind, tariff, period_days, price, currency, value, status, created_at from orders"


def order(tx: Transaction, order_id: int) -> OrderLine | None:
    """One order."""
    return tx.row(OrderLine, f"{_ORDER} where id = :id", id=order_id)


def orders_of(tx: Transaction, account_id: int, most: int) -> list[OrderLine]:
    """The newest orders of a customer."""
    sql = f"{_ORDER} where account_id = :account_id order by id desc limit :most"
    return tx.rows(OrderLine, sql, account_id=account_id, most=most)
