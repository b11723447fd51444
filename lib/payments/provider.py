"""The port every payment provider with invoices fills. A further provider is one module and one line of the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from uuid import UUID

    from lib.domain.orders import Order
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


class Provider(Protocol):
    """A provider that makes invoices."""

    name: str

    async def create_invoice(self, order: Order, description: str) -> Invoice:
        """Make the invoice of an order. Not idempotent at the provider: call it under the order's claim.

        Raises:
            ProviderError: refused, or unknown whether it was made.
        """
        ...

    async def find(self, purchase_id: UUID, amount: int, currency: str) -> Invoice | None:
        """An invoice made earlier for this purchase and amount, whose making was never heard of.

        Raises:
            ProviderError: could not ask.
        """
        ...

    async def paid_event(self, invoice_id: str, correlation_id: str, via: str) -> Event | None:
        """Ask about one invoice: the event of its payment, or None while it is unpaid.

        Raises:
            InvoiceOver: it can't be paid any more.
            ProviderError: could not ask, or it was not among what was answered: that says nothing about it.
        """
        ...

    async def delete_invoice(self, invoice_id: str) -> None:
        """Withdraw an invoice that was replaced.

        Raises:
            ProviderError: it could not be withdrawn.
        """
        ...
