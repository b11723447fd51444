"""Cloud Billing: whether the project may spend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.google.client import Google


@dataclass(frozen=True, slots=True)
class Billing:
    """The project's billing.

    Attributes:
        account: id of the billing account, `012345-6789AB-CDEF01`; "" when there is none.
        enabled: it is linked and open.
    """

    account: str
    enabled: bool


def of_project(google: Google) -> Billing:
    """Raises: infra.google.client.GoogleError."""
    answer = google.execute(google.api("cloudbilling").projects().getBillingInfo(name=f"projects/{google.project}"))
    return Billing(
        account=answer.get("billingAccountName", "").removeprefix("billingAccounts/"),
        enabled=bool(answer.get("billingEnabled")),
    )
