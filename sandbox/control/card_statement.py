"""The statement of the stand-in's card provider, as an operator would download it: what came, what it kept, what was taken back."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from sandbox.telegram.payments.invoices import CURRENCIES, STARS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.telegram.payments.payments import Charge

_COLUMNS: Final = ("kind", "id", "charge", "amount", "fee", "currency", "at", "purchase")
_FEE_PER_MILLE: Final = 28
_PER_MILLE: Final = 1000


def statement(charges: Iterable[Charge]) -> str:
    """CSV with the columns of docs/runbooks/card-statement.md: each charge by card with its fee, each chargeback; the oldest first."""
    lines = []
    for charge in charges:
        if charge.currency == STARS:
            continue
        fee = charge.amount * _FEE_PER_MILLE // _PER_MILLE
        lines.append(_line("charge", charge, charge.date, charge.provider_charge_id, fee))
        if charge.returned:
            lines.append(_line("chargeback", charge, charge.returned_at, f"back_{charge.provider_charge_id}"))
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(sorted(lines, key=lambda line: line["at"]))
    return text.getvalue()


def _line(kind: str, charge: Charge, date: int, number: str, fee: int = 0) -> dict[str, str]:
    digits = CURRENCIES[charge.currency][0]
    return {
        "kind": kind,
        "id": number,
        "charge": "" if kind == "charge" else charge.provider_charge_id,
        "amount": f"{Decimal(charge.amount).scaleb(-digits):f}",
        "fee": f"{Decimal(fee).scaleb(-digits):f}" if fee else "",
        "currency": charge.currency,
        "at": datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "purchase": charge.payload if kind == "charge" else "",
    }
