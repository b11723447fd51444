"""Orders: what was agreed, before the customer is asked for money (product.md#payment-methods)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from lib.db import Transaction
    from lib.domain.pricing import Quote


@dataclass(frozen=True, slots=True)
class Order:
    """What is bought by whom for how much.

    Attributes:
        kind: subscription, top_up or gift.
        tariff, period_days: None of a top-up.
        price: minor units of `currency`.
        value: the price in minor units of the books' currency: what a top-up brings.
    """

    id: int
    purchase_id: UUID
    account_id: int
    kind: str
    tariff: str | None
    period_days: int | None
    price: int
    currency: str
    provider: str
    status: str
    invoice_id: str | None
    invoice_url: str | None
    expires_at: datetime
    value: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The account's one open order of its kind.

    Attributes:
        claim: set when the caller is to make the invoice now; no other will for a while.
        claimed_s: for so many seconds another may still be at it; 0 when none is.
        asked_before: an earlier attempt may have made an invoice that is not known here: look before making another.
        replaced: orders that this one replaces, whose invoices are to be withdrawn, best effort.
    """

    order: Order
    claim: UUID | None
    asked_before: bool
    replaced: tuple[Replaced, ...]
    claimed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Replaced:
    """An order that made way, with an invoice that may still be paid."""

    order_id: int
    provider: str
    invoice_id: str


@dataclass(frozen=True, slots=True)
class Watched:
    """An order whose invoice may still be paid.

    Attributes:
        missing: the provider's last good listing lacked its invoice.
        replaced: it made way for another, or for a renewal: its invoice is to be taken back.
    """

    id: int
    invoice_id: str
    missing: bool
    replaced: bool


@dataclass(frozen=True, slots=True)
class WithoutInvoice:
    """An order whose invoice was asked for, with an unknown outcome: it may exist."""

    id: int
    purchase_id: UUID
    price: int
    currency: str


INVOICE_LEASE_S = 20.0
"""How long one caller alone may talk to the provider about an order's invoice."""
CHARGED_WITHIN_S = 600
"""So long after an accepted checkout's minute its charge may still come; later it settles all the same."""
MISSING_H = 24
"""So long must an invoice be missing from otherwise good listings before its order is watched no more (product.md)."""

_COLUMNS = (
    "id, purchase_id, account_id, kind, tariff, period_days, price, currency, provider, status, invoice_id, invoice_url, expires_at,"
    " value"
)

# An open order for something else, or out of time, makes way; one that never asked for an invoice is over at the provider too.
# The partial unique index orders_one_open is what two taps at once meet.
_REPLACE = """
update orders
set status = case when expires_at <= atlas.now() then 'expired' else 'replaced' end,
    provider_closed_at = case when invoice_asked_at is null and invoice_id is null then atlas.now() end
where account_id = :account_id and kind = :kind and status = 'open' and parent_id is null
  and (expires_at <= atlas.now()
       or (tariff, period_days, list_price, price, currency, value, provider, discount, discount_percent) is distinct from
          (:tariff, :period_days, :list_price, :price, :currency, :value, :provider, :discount, :discount_percent))
returning id as order_id, provider, coalesce(invoice_id, '') as invoice_id
"""

_CLOSE_OPEN = """
update orders
set status = case when expires_at <= atlas.now() then 'expired' else 'replaced' end,
    provider_closed_at = case when invoice_asked_at is null and invoice_id is null then atlas.now() end
where account_id = :account_id and status = 'open' and parent_id is null
"""

_OPEN = f"""
insert into orders (account_id, kind, tariff, period_days, list_price, price, currency, value, discount, discount_percent, provider,
                    expires_at)
values (:account_id, :kind, :tariff, :period_days, :list_price, :price, :currency, :value, :discount, :discount_percent,
        :provider, atlas.now() + make_interval(mins => :minutes))
on conflict (account_id, kind) where status = 'open' and parent_id is null do update set status = excluded.status
returning {_COLUMNS}
"""  # noqa: S608 -- a constant list of columns

_CLAIM_INVOICE = """
with before as (select id, invoice_asked_at is not null as asked from orders where id = :id)
update orders o
set invoice_claimed_by = gen_random_uuid(), invoice_asked_at = atlas.now(),
    invoice_claimed_until = atlas.now() + make_interval(secs => :lease_s)
from before
where o.id = before.id and o.invoice_id is null and o.status = 'open'
  and (o.invoice_claimed_until is null or o.invoice_claimed_until <= atlas.now())
returning o.invoice_claimed_by as claim, before.asked
"""

_CLAIMED_S = """
select cast(coalesce(extract(epoch from invoice_claimed_until - atlas.now()), 0) as double precision) from orders where id = :id
"""

_ATTACH = f"""
update orders set invoice_id = :invoice_id, invoice_url = :url, invoice_claimed_by = null, invoice_claimed_until = null
where id = :id and invoice_id is null
returning {_COLUMNS}
"""  # noqa: S608 -- a constant list of columns


@dataclass(frozen=True, slots=True)
class _Claim:
    claim: UUID
    asked: bool


def open_subscription(
    tx: Transaction,
    account_id: int,
    *,
    tariff: str,
    period_days: int,
    quote: Quote,
    provider: str,
    minutes: int,
) -> Opened:
    """The account's open order for exactly this; picking the same again returns the same order and invoice."""
    wanted = _wanted(account_id, "subscription", quote, provider, tariff=tariff, period_days=period_days)
    return _with_claim(tx, *_opened(tx, wanted, minutes))


def open_top_up(tx: Transaction, account_id: int, *, quote: Quote, provider: str, minutes: int) -> Opened:
    """As `open_subscription`, of money for the balance: an order for access stays open beside it."""
    return _with_claim(tx, *_opened(tx, _wanted(account_id, "top_up", quote, provider), minutes))


def open_without_invoice(
    tx: Transaction,
    account_id: int,
    *,
    tariff: str,
    period_days: int,
    quote: Quote,
    provider: str,
    minutes: int,
) -> tuple[Order, tuple[Replaced, ...]]:
    """As `open_subscription`, for what is paid in this very transaction; and the orders that made way."""
    return _opened(
        tx, _wanted(account_id, "subscription", quote, provider, tariff=tariff, period_days=period_days), minutes
    )


def _wanted(
    account_id: int,
    kind: str,
    quote: Quote,
    provider: str,
    *,
    tariff: str | None = None,
    period_days: int | None = None,
) -> dict[str, object]:
    return {
        "account_id": account_id,
        "kind": kind,
        "tariff": tariff,
        "period_days": period_days,
        "list_price": quote.list_price,
        "price": quote.price,
        "currency": quote.currency,
        "value": quote.value,
        "discount": quote.discount,
        "discount_percent": quote.discount_percent,
        "provider": provider,
    }


def _opened(tx: Transaction, wanted: dict[str, object], minutes: int) -> tuple[Order, tuple[Replaced, ...]]:
    replaced = tuple(one for one in tx.rows(Replaced, _REPLACE, **wanted) if one.invoice_id)
    # Looked for first: an insert that stands aside would use up a number all the same, and numbers are shown.
    found = _open_one(tx, wanted["account_id"], wanted["kind"])
    return found or tx.one(Order, _OPEN, minutes=minutes, **wanted), replaced


def resume(tx: Transaction, order: Order) -> Opened:
    """The account's open order again, as it is by now: its invoice may have been attached since it was read."""
    return _with_claim(tx, _open_one(tx, order.account_id, order.kind) or order, ())


def _with_claim(tx: Transaction, order: Order, replaced: tuple[Replaced, ...]) -> Opened:
    if order.invoice_id is not None:
        return Opened(order, None, asked_before=False, replaced=replaced)
    claim = tx.row(_Claim, _CLAIM_INVOICE, id=order.id, lease_s=INVOICE_LEASE_S)
    if claim is None:
        return Opened(order, None, asked_before=True, replaced=replaced, claimed_s=tx.value(_CLAIMED_S, id=order.id))
    return Opened(order, claim.claim, asked_before=claim.asked, replaced=replaced)


def _open_one(tx: Transaction, account_id: object, kind: object) -> Order | None:
    return tx.row(
        Order,
        f"select {_COLUMNS} from orders"  # noqa: S608 -- a constant list of columns
        " where account_id = :account_id and kind = :kind and status = 'open' and parent_id is null for no key update",
        account_id=account_id,
        kind=kind,
    )


def close_open(tx: Transaction, account_id: int) -> int:
    """Whatever they have open makes way for nothing: no tap and no checkout finds it again, and its invoice is taken back.

    How many that were. `sweep_payments` takes the invoices back; what is paid all the same comes as for any order that made way.
    """
    return tx.execute(_CLOSE_OPEN, account_id=account_id)


def attach_invoice(tx: Transaction, order_id: int, invoice_id: str, url: str) -> Order:
    """The provider's invoice of this order; the first one attached stays."""
    attached = tx.row(Order, _ATTACH, id=order_id, invoice_id=invoice_id, url=url)
    return attached or tx.one(Order, f"select {_COLUMNS} from orders where id = :id", id=order_id)  # noqa: S608 -- a constant list of columns


def release_claim(tx: Transaction, order_id: int, claim: UUID) -> None:
    """The provider refused or could not be reached: the next tap may try at once."""
    tx.execute(
        "update orders set invoice_claimed_by = null, invoice_claimed_until = null"
        " where id = :id and invoice_claimed_by = :claim",
        id=order_id,
        claim=claim,
    )


def of_account(tx: Transaction, account_id: int, order_id: int) -> Order | None:
    """The order when it is this account's; another customer's is not found."""
    return tx.row(
        Order,
        f"select {_COLUMNS} from orders where id = :id and account_id = :account_id",  # noqa: S608 -- a constant list of columns
        id=order_id,
        account_id=account_id,
    )


# A page is found first, as an array (here and below): joined with its table, a large one makes Postgres read the whole table.
_EXPIRE = """
update orders
set status = 'expired', provider_closed_at = case when invoice_asked_at is null and invoice_id is null then atlas.now() end
"""
_EXPIRE_ONE = f"{_EXPIRE} where id = :id and status = 'open' and expires_at <= atlas.now()"
_EXPIRE_DUE = f"""
{_EXPIRE}
where id = any(array(
    select id from orders where status = 'open' and expires_at <= atlas.now()
    order by expires_at, id limit :page for no key update skip locked
))
"""  # noqa: S608 -- a constant fragment

_WATCHED = """
select id, invoice_id, provider_missing_since is not null as missing, status = 'replaced' as replaced from orders
where provider = :provider and provider_closed_at is null and status <> 'paid' and invoice_id is not null and id > :after
order by id limit :page
"""

_CLOSE = """
update orders
set provider_closed_at = coalesce(provider_closed_at, atlas.now()), status = case status when 'open' then 'expired' else status end
where id = any(cast(:ids as bigint[])) and status <> 'paid'
"""

# What a good listing lacks is remembered since its first absence, what it holds is not missing; closed is only what was missing
# for the whole time.
_MISSING = """
update orders
set provider_missing_since = case when id = any(cast(:present as bigint[])) then null
                                  else coalesce(provider_missing_since, atlas.now()) end,
    provider_closed_at = case when not id = any(cast(:present as bigint[]))
                               and provider_missing_since <= atlas.now() - make_interval(hours => :hours)
                              then atlas.now() end,
    status = case when status = 'open' and not id = any(cast(:present as bigint[]))
                   and provider_missing_since <= atlas.now() - make_interval(hours => :hours)
                  then 'expired' else status end
where provider_closed_at is null and status <> 'paid'
  and (id = any(cast(:present as bigint[]))
       or id = any(cast(:missing as bigint[]))
          and (provider_missing_since is null or provider_missing_since <= atlas.now() - make_interval(hours => :hours)))
"""

_WITHOUT_INVOICE = """
select id, purchase_id, price, currency from orders
where provider = :provider and provider_closed_at is null and status <> 'paid' and invoice_id is null
  and invoice_asked_at is not null and coalesce(invoice_claimed_until, invoice_asked_at) <= atlas.now()
order by created_at limit :page
"""

# After a day an invoice whose making was never heard of is none; money that comes all the same still finds its order.
_CLOSE_WITHOUT_INVOICE = """
update orders
set provider_closed_at = atlas.now(), status = case status when 'open' then 'expired' else status end
where id = any(array(
    select id from orders
    where provider = :provider and provider_closed_at is null and status <> 'paid' and invoice_id is null
      and created_at <= atlas.now() - interval '1 day'
    order by created_at limit :page for no key update skip locked
))
"""


# Whether such a provider takes money for an order is ours to say, at each checkout: of an order that is over we say no. What we said
# yes to before may still be charged for a while.
_CLOSE_UNASKED = """
update orders set provider_closed_at = atlas.now()
where id = any(array(
    select id from orders
    where provider = :provider and provider_closed_at is null and status in ('expired', 'replaced')
      and coalesce(checkout_until <= atlas.now() - make_interval(secs => :charged_within_s), true)
    order by id limit :page for no key update skip locked
))
"""


def expire_due(tx: Transaction, page: int) -> int:
    """Close up to `page` orders whose half hour is over; money that comes later still settles."""
    return tx.execute(_EXPIRE_DUE, page=page)


def out_of_time(tx: Transaction, after: int, page: int) -> list[int]:
    """Ids of orders that `expire_due` would close, the page after that order: for one by one, when a page as a whole is refused."""
    return tx.values(
        # in the index's own order, so that a page reads a page
        "select id from orders where status = 'open' and expires_at <= atlas.now() and (expires_at, id) >"
        " (coalesce((select last.expires_at from orders last where last.id = :after), '-infinity'), cast(:after as bigint))"
        " order by expires_at, id limit :page",
        after=after,
        page=page,
    )


def expire_one(tx: Transaction, order_id: int) -> int:
    """`expire_due` of one order."""
    return tx.execute(_EXPIRE_ONE, id=order_id)


def watched(tx: Transaction, provider: str, after: int, page: int) -> list[Watched]:
    """Orders to ask the provider about, a keyset page: until it can no longer take money for them."""
    return tx.rows(Watched, _WATCHED, provider=provider, after=after, page=page)


def close_at_provider(tx: Transaction, order_ids: list[int]) -> None:
    """The provider can take no more money for these: one that is still open is over, so that the next may be opened."""
    tx.execute(_CLOSE, ids=order_ids)


def note_listed(tx: Transaction, *, present: list[int], missing: list[int]) -> None:
    """What a good listing held of the orders it was asked about, and what not.

    An order is watched no more once its invoice has been missing for `MISSING_H` hours; one good listing that holds it starts
    that time anew.
    """
    tx.execute(_MISSING, present=present, missing=missing, hours=MISSING_H)


def close_unasked(tx: Transaction, provider: str, page: int) -> int:
    """End the watch of orders that are over, at a provider that asks before it charges: it would be told no. How many."""
    return tx.execute(_CLOSE_UNASKED, provider=provider, page=page, charged_within_s=CHARGED_WITHIN_S)


def without_known_invoice(tx: Transaction, provider: str, page: int) -> list[WithoutInvoice]:
    """Orders whose invoice may exist although its making was never heard of; asked about for a day."""
    return tx.rows(WithoutInvoice, _WITHOUT_INVOICE, provider=provider, page=page)


def close_without_invoice(tx: Transaction, provider: str, page: int) -> int:
    """End the search for invoices of orders that are a day old; how many."""
    return tx.execute(_CLOSE_WITHOUT_INVOICE, provider=provider, page=page)
