"""Money that goes back: refunds of ours, refunds and chargebacks that a provider tells of (product.md; money.md, Postings)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge that its provider is to give back.

    Attributes:
        charge_id: the provider's.
        amount: all of it, as it was agreed: minor units of prices (whole Stars).
        payer_telegram_id: who paid, as far as the provider said it.
    """

    provider: str
    charge_id: str
    amount: int
    currency: str
    payer_telegram_id: int | None
