"""Cloud SQL's Admin API: the instance, its users' passwords, and a copy of it as it was at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra.google.client import GoogleError
from infra.google.waiting import until

if TYPE_CHECKING:
    from infra.google.client import Google

_SERVES: Final = "RUNNABLE"
_USER_S: Final = 300
_CLONE_S: Final = 7200


@dataclass(frozen=True, slots=True)
class DatabaseInstance:
    """A Cloud SQL instance.

    Attributes:
        state: RUNNABLE when it serves.
        recovery_days: for so long back any moment can be had; 0 when that is off.
    """

    name: str
    state: str
    tier: str
    recovery_days: int


def instance(google: Google, name: str) -> DatabaseInstance:
    """One instance.

    Raises:
        GoogleError: 404: there is none.
    """
    row = google.execute(google.api("sqladmin").instances().get(project=google.project, instance=name))
    settings = row.get("settings", {})
    backup = settings.get("backupConfiguration", {})
    recovers = backup.get("pointInTimeRecoveryEnabled")
    return DatabaseInstance(
        name=row["name"],
        state=row.get("state", ""),
        tier=settings.get("tier", ""),
        recovery_days=int(backup.get("transactionLogRetentionDays", 0)) if recovers else 0,
    )


def wait_until_it_serves(google: Google, name: str) -> None:
    """Return when the instance is there and serves.

    Raises:
        GoogleError: 404: there is none.
        infra.google.waiting.TookTooLong
    """
    until(
        lambda: instance(google, name),
        lambda seen: seen.state == _SERVES,
        what=f"the instance {name}",
        within_s=_CLONE_S,
        every_s=10,
    )


def set_password(google: Google, name: str, user: str, password: str) -> None:
    """Give a built-in login another password and wait until it has it. The old one ends at once. Idempotent.

    Raises:
        GoogleError: 404: no such login, or no such instance.
        infra.google.waiting.TookTooLong
    """
    body = {"name": user, "password": password}
    request = google.api("sqladmin").users().update(project=google.project, instance=name, name=user, body=body)
    _wait(google, google.execute(request), f"the password of {user}", _USER_S)


def clone(google: Google, name: str, target: str, moment: str | None) -> None:
    """Make a second instance that is what the first was at a moment, and wait. Not repeated by itself.

    Args:
        google: the project.
        name: of the first; it may be deleted or damaged, its logs are what counts.
        target: name of the second: a new one.
        moment: RFC 3339, UTC; None: now.

    Raises:
        GoogleError: 409: the name is taken; 400: no log reaches back so far.
        infra.google.waiting.TookTooLong
    """
    context: dict[str, Any] = {"destinationInstanceName": target}
    if moment is not None:
        context["pointInTime"] = moment
    request = (
        google.api("sqladmin").instances().clone(project=google.project, instance=name, body={"cloneContext": context})
    )
    _wait(google, google.execute(request, repeatable=False), f"the copy {target}", _CLONE_S)


def _wait(google: Google, begun: dict[str, Any], what: str, within_s: float) -> None:
    def look() -> dict[str, Any]:
        asked = google.api("sqladmin").operations().get(project=google.project, operation=begun["name"])
        seen: dict[str, Any] = google.execute(asked)
        return seen

    ended = until(look, lambda seen: seen.get("status") == "DONE", what=what, within_s=within_s)
    errors = ended.get("error", {}).get("errors", ())
    if errors:
        said = "; ".join(f"{one.get('code', '')} {one.get('message', '')}".strip() for one in errors)
        raise GoogleError(what, None, "", said)
