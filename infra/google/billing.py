"""Cloud Billing and budgets: whether the project may spend, and who is told how much."""

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


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget of a billing account.

    Attributes:
        amount: whole units of `currency`, None where it follows the month before.
        projects: `projects/<number>` each; empty: the whole account.
        channels: full names of notification channels.
    """

    name: str
    title: str
    amount: int | None
    currency: str
    projects: tuple[str, ...]
    channels: tuple[str, ...]


def of_project(google: Google) -> Billing:
    """Raises: infra.google.client.GoogleError."""
    answer = google.execute(google.api("cloudbilling").projects().getBillingInfo(name=f"projects/{google.project}"))
    return Billing(
        account=answer.get("billingAccountName", "").removeprefix("billingAccounts/"),
        enabled=bool(answer.get("billingEnabled")),
    )


def budgets(google: Google, account: str) -> list[Budget]:
    """Every budget of a billing account.

    Raises:
        infra.google.client.GoogleError
    """
    collection = google.api("billingbudgets").billingAccounts().budgets()
    found = []
    for row in google.pages(collection, collection.list(parent=f"billingAccounts/{account}"), "budgets"):
        amount = row.get("amount", {}).get("specifiedAmount", {})
        found.append(
            Budget(
                name=row["name"],
                title=row.get("displayName", ""),
                amount=int(amount["units"]) if "units" in amount else None,
                currency=amount.get("currencyCode", ""),
                projects=tuple(row.get("budgetFilter", {}).get("projects", ())),
                channels=tuple(row.get("notificationsRule", {}).get("monitoringNotificationChannels", ())),
            )
        )
    return found
