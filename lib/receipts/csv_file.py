"""Form `csv`: a file that an accountant can import. A line a receipt; a reversal is a line of its own, below zero.

UTF-8 with a byte order mark, semicolons, CRLF: what a Russian spreadsheet opens without a question. Amounts have a point.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from lib import currencies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib.domain.receipts import Line

NAME = "csv"
SUFFIX = ".csv"
COLUMNS = (
    "kind", "receipt", "moment", "amount", "currency", "order", "what", "tariff", "days", "method", "charge", "paid", "paid_currency",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(lines: Sequence[Line]) -> bytes:
    """See `Form.write`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        sign = "-" if line.kind == "reversal" else ""
        writer.writerow(
            (
                line.kind,
                line.payment_id,
                line.moment,
                sign + currencies.of(line.currency).decimal(line.amount),
                line.currency,
                line.order_id,
                line.what,
                line.tariff or "",
                line.period_days or "",
                line.provider,
                _text(line.charge_id),
                sign + currencies.of(line.paid_currency).decimal(line.paid_amount),
                line.paid_currency,
            )
        )
    return text.getvalue().encode("utf-8-sig")


def _text(value: str) -> str:
    """A spreadsheet takes what begins so for a formula."""
    return f"'{value}" if value.startswith(_FORMULA) else value
