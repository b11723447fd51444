"""getStats: how many invoices were made and paid between two moments, by how many people, worth how much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sandbox.cryptopay.arguments import refused
from sandbox.cryptopay.invoices import iso
from sandbox.cryptopay.rates import USD_DIGITS, product, text_of, total

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sandbox.cryptopay.invoices import Invoice

_DAY = timedelta(days=1)


def statistics(
    invoices: Iterable[Invoice], payers: Mapping[int, int], asked: dict[str, Any], now: datetime
) -> dict[str, Any]:
    """Result of getStats. `conversion` is the share of the invoices made in that time that are paid by now, 0 to 1.

    Args:
        invoices: all that were not deleted.
        payers: who paid, by invoice id.
        asked: start_at and end_at, ISO 8601; a day ago and now unless said.
        now: the sandbox's time.

    Raises:
        ApiError: 400 START_AT_INVALID or END_AT_INVALID.
    """
    end = _moment(asked, "end_at", now)
    start = _moment(asked, "start_at", now - _DAY)
    if start > end:
        raise refused("start_at")
    known = list(invoices)
    made = [invoice for invoice in known if start <= datetime.fromisoformat(invoice.fields["created_at"]) <= end]
    paid = [
        invoice
        for invoice in known
        if "paid_at" in invoice.fields and start <= datetime.fromisoformat(invoice.fields["paid_at"]) <= end
    ]
    volume = total(
        product(Decimal(invoice.fields["paid_amount"]), Decimal(invoice.fields["paid_usd_rate"]), USD_DIGITS)
        for invoice in paid
    )
    became_paid = sum(invoice.status == "paid" for invoice in made)
    conversion = Decimal(became_paid) / len(made) if made else Decimal(0)
    return {
        "volume": text_of(volume),
        "conversion": text_of(conversion.quantize(Decimal("0.0001"))),
        "unique_users_count": len({payers[invoice.invoice_id] for invoice in paid if invoice.invoice_id in payers}),
        "created_invoice_count": len(made),
        "paid_invoice_count": len(paid),
        "start_at": iso(start),
        "end_at": iso(end),
    }


def _moment(asked: dict[str, Any], name: str, default: datetime) -> datetime:
    said = asked.get(name)
    if said is None or said == "":
        return default
    try:
        moment = datetime.fromisoformat(str(said))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # no moment at all, or one before the year 1
        raise refused(name) from error
