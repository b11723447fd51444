"""Which forms of receipts there are: one line each; the first is written unless another is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.receipts import csv_file

if TYPE_CHECKING:
    from lib.receipts.form import Form

FORMS: tuple[Form, ...] = (
    csv_file,
)  # fmt: skip


def forms() -> dict[str, Form]:
    """By name."""
    return {one.NAME: one for one in FORMS}
