"""The port that every payment provider fills. A further provider is one module and one line of the registry.

A provider is a module of this package: `NAME`, `read`, `connect`, `gives_back`, `account`. What asks it about invoices, where it has any, is
`Invoices`; what tells of its own account of our money is `ProviderAccount`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    import httpx

    from lib.domain.inbox import StoredEvent
    from lib.domain.listings import Commission, Debit
    from lib.domain.orders import Order
    from lib.domain.reconciliation import Line
    from lib.domain.refund_requests import Charge
    from lib.domain.settlement import Event


class ProviderError(Exception):
    """The provider refused, could not be reached or answered nonsense. The text names no token."""


class InvoiceOver(Exception):
    """The provider takes no more money for this invoice, and took none."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a customer pays: the provider's id and the address of its page."""

    invoice_id: str
    url: str


@dataclass(frozen=True, slots=True)
class Unpaid:
    """An invoice that can still be paid: for which purchase of ours, and how much it asks for, in minor units of prices."""

    purchase_id: UUID
    amount: int
    currency: str
    invoice: Invoice


@dataclass(frozen=True, slots=True)
class Looked:
    """What a provider said of the invoices that it was asked about, by their ids. What is in none of these it did not list.

    Attributes:
        paid: of each that is paid, what `Invoices.event` makes news of.
        over: it takes no more money for these, and took none.
        open: all others that it listed.
        complete: nothing was left out for a reason of its own: only then absence says anything.
    """

    paid: Mapping[str, Mapping[str, Any]]
    over: frozenset[str]
    open: frozenset[str]
    complete: bool

    def lists(self, invoice_id: str) -> bool:
        """Whether the provider said anything of it."""
        return invoice_id in self.paid or invoice_id in self.open or invoice_id in self.over


@dataclass(frozen=True, slots=True)
class PaidPage:
    """A page of everything that was paid at the provider.

    Attributes:
        paid: by the key of its event, what `Invoices.event` makes news of.
        following: where the next page begins.
        others: what the list tells of beside charges (money that left), likewise.
        commissions: what affiliates got of charges.
        debits: lines by which money of a charge left, with what `Invoices.event` makes news of; none of them is among `others`.
        length: of the page, in lines of the list; 0 at its end.
    """

    paid: Mapping[str, Mapping[str, Any]]
    following: int
    others: Sequence[Mapping[str, Any]] = ()
    commissions: Sequence[Commission] = ()
    debits: Sequence[tuple[Debit, Mapping[str, Any]]] = ()
    length: int = 0


class Invoices(Protocol):
    """A provider whose invoices are asked about: a lost webhook loses no money, and money of closed orders is found.

    Attributes:
        name: the provider's.
        label: what customers know it as.
        page: how many invoices `look` may be asked about at once.
        stride: how many paid ones a full page of `listed` goes on by.
        asks_first: the provider asks us before each charge (a pre-checkout), so an invoice takes money as long as we say so. It can be
            neither listed nor withdrawn; `listed` begins with the oldest line, and what is new stands at the end.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 -- said above
    @property
    def label(self) -> str: ...  # noqa: D102 -- said above
    @property
    def page(self) -> int: ...  # noqa: D102 -- said above
    @property
    def stride(self) -> int: ...  # noqa: D102 -- said above
    @property
    def asks_first(self) -> bool: ...  # noqa: D102 -- said above

    async def make(self, order: Order, title: str) -> Invoice:
        """Make the invoice of an order. Not idempotent at the provider: call it under the order's claim.

        Raises:
            ProviderError: refused, or unknown whether it was made.
        """
        ...

    def unpaid(self) -> AsyncIterator[Sequence[Unpaid]]:
        """Invoices of ours that can still be paid, page by page: one may be of an order that never heard of it.

        Raises:
            ProviderError: could not ask.
        """
        ...

    async def look(self, invoice_ids: Sequence[str]) -> Looked:
        """Ask about up to `page` invoices.

        Raises:
            ProviderError: could not ask.
        """
        ...

    async def listed(self, start: int) -> PaidPage:
        """What was paid, whatever became of its order: the page that begins at `start`, 0 being one end of the list.

        Raises:
            ProviderError: could not ask.
        """
        ...

    def event(self, said: Mapping[str, Any], via: str, correlation_id: str) -> Event:
        """The news that a paid invoice is, the same as its webhook brings."""
        ...

    async def withdraw(self, invoice_id: str) -> None:
        """Take back an invoice that was replaced.

        Raises:
            ProviderError: it could not be withdrawn.
        """
        ...


class Answer(StrEnum):
    """What a provider says of a charge that it is to give back."""

    DONE = "done"
    """It has left: `GivenBack.news` is what."""
    ALREADY = "already"
    """It was given back before, by us or by another way; `GivesBack.outcome` finds what left."""
    NOT = "not"
    """Of `outcome` alone: nothing of it was given back, and no call is under way."""
    REFUSED = "refused"
    """It won't be given back, for `reason`; nothing has left."""
    LATER = "later"
    """It was certainly not given back now (not reached, told to wait): another attempt is worth it."""
    UNKNOWN = "unknown"
    """It may have been given back: `outcome` is asked before it is tried again."""


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A provider's answer.

    Attributes:
        news: of `DONE`: the refund as this provider's other news tells of it, under the same key: kind `refund`, `external_id` the
            refund's id at the provider, `charge_id` the charge's, `money` what left in the charge's currency.
        reason: of every other answer, in words that name no token.
    """

    answer: Answer
    news: Event | None = None
    reason: str = ""


class GivesBack(Protocol):
    """A provider that gives a charge back when it is asked to, all of it.

    A call's outcome is an answer, never an exception: what could not be understood is `UNKNOWN`.
    """

    async def give_back(self, charge: Charge, correlation_id: str) -> GivenBack:
        """Give it back now. Called under a claim, and again only after `outcome` has said `NOT`, or the answer was `LATER`."""
        ...

    async def outcome(self, charge: Charge, correlation_id: str) -> GivenBack:
        """What became of it: `DONE` (by us or by another way), `NOT`, or `UNKNOWN` when that can't be told now."""
        ...


@dataclass(frozen=True, slots=True)
class Listed:
    """Lines of a provider's own list; a line is in no two pages.

    Attributes:
        complete: nothing was left out: only then absence says anything.
    """

    lines: Sequence[Line]
    complete: bool


class ProviderAccount(Protocol):
    """What a provider says by itself of the money that it took: the other side of its clearing account (`reconciliation`).

    Attributes:
        lists: kinds of lines (`reconciliation.CHARGE` ...) that it lists; of others its silence says nothing.
        begins, ends: it speaks of this time alone, as a statement does; None: no bound.
    """

    @property
    def lists(self) -> frozenset[str]: ...  # noqa: D102 -- said above
    @property
    def begins(self) -> datetime | None: ...  # noqa: D102 -- said above
    @property
    def ends(self) -> datetime | None: ...  # noqa: D102 -- said above

    async def balances(self) -> Mapping[str, Decimal] | None:
        """What it holds of each asset now, whole units, what it keeps on hold included; None: it does not say.

        Raises:
            ProviderError: could not ask.
        """
        ...

    def lines(self, since: datetime | None) -> AsyncIterator[Listed]:
        """Everything that happened since a moment, page by page; what is older may be among it. None: everything.

        Bounded in pages: what the bound leaves out makes the last page incomplete.

        Raises:
            ProviderError: could not ask.
        """
        ...

    async def look(self, ids: Sequence[str]) -> Listed:
        """What it says of these ids, whenever it was; incomplete where it can't be asked by id.

        Raises:
            ProviderError: could not ask.
        """
        ...


class Provider(Protocol):
    """A provider as the registry has it: its module.

    Attributes:
        NAME: in orders, payments and news.
    """

    @property
    def NAME(self) -> str: ...  # noqa: D102, N802 -- a module's constant

    def read(self, stored: StoredEvent) -> Event:
        """The news of a stored body, as it was when it came. Whatever it holds, there is an event: money is never refused."""
        ...

    def connect(self, http: Callable[[], httpx.AsyncClient]) -> Invoices | None:
        """What asks it, by this process's settings; None when it is not configured, or has no invoices to ask about.

        Args:
            http: gives the client when the first call is made.
        """
        ...

    def gives_back(self, http: Callable[[], httpx.AsyncClient]) -> GivesBack | None:
        """What gives its charges back, by this process's settings; None where the provider can't, or is not configured.

        Args:
            http: gives the client when the first call is made.
        """
        ...

    def account(self, http: Callable[[], httpx.AsyncClient]) -> ProviderAccount | None:
        """What tells of its own account of our money; None when it is not configured, or can't be asked.

        Args:
            http: gives the client when the first call is made.
        """
        ...


async def ask(invoices: Invoices, invoice_id: str, *, via: str, correlation_id: str) -> Event | None:
    """The news of one invoice's payment, or None while it is unpaid.

    Raises:
        InvoiceOver: it can't be paid any more.
        ProviderError: could not ask, or it was not among what was answered: deleted, another account's, or a listing with holes.
            That says nothing about it.
    """
    looked = await invoices.look([invoice_id])
    if (said := looked.paid.get(invoice_id)) is not None:
        return invoices.event(said, via, correlation_id)
    if invoice_id in looked.over:
        raise InvoiceOver(invoice_id)
    if invoice_id not in looked.open:
        raise ProviderError("the invoice is not listed")
    return None


def matching(unpaid: Sequence[Unpaid], purchase_id: UUID, amount: int, currency: str) -> Invoice | None:
    """The invoice that carries our purchase id and the agreed amount; the id alone selects nothing."""
    agreed = (purchase_id, amount, currency)
    return next((one.invoice for one in unpaid if (one.purchase_id, one.amount, one.currency) == agreed), None)


async def find(invoices: Invoices, purchase_id: UUID, amount: int, currency: str) -> Invoice | None:
    """An invoice made earlier for this purchase and amount, whose making was never heard of.

    Among those that can still be paid: the customer was never shown this one's address.

    Raises:
        ProviderError: could not ask.
    """
    async for page in invoices.unpaid():
        if (found := matching(page, purchase_id, amount, currency)) is not None:
            return found
    return None
