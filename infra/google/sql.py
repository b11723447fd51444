"""Cloud SQL's Admin API: the instance, its users' passwords, its backups, and a copy of it as it was at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra.google.client import GoogleError
from infra.google.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.google.client import Google

_USER_S: Final = 300
_CLONE_S: Final = 7200
_GB: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class DatabaseInstance:
    """A Cloud SQL instance.

    Attributes:
        state: RUNNABLE when it serves.
        address: its public one; "" when it has none.
        networks: that are let in at the address without a certificate of Google's: none, if all is well.
        disk_gb: size; `disk_limit_gb`: up to which it grows by itself, 0 for no limit.
        used_gb: in use.
        recovery_days: for so long back any moment can be had; 0 when that is off.
        backups: made daily.
        flags: name = value.
    """

    name: str
    version: str
    state: str
    tier: str
    region: str
    address: str
    networks: tuple[str, ...]
    disk_gb: int
    disk_limit_gb: int
    used_gb: float
    recovery_days: int
    backups: bool
    protected: bool
    flags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class User:
    """A login of an instance; `kind`: BUILT_IN has a password, the CLOUD_IAM_... ones have none."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup; `ended_at` RFC 3339, "" while it runs."""

    status: str
    ended_at: str


def instance(google: Google, name: str) -> DatabaseInstance:
    """One instance.

    Raises:
        GoogleError: 404: there is none.
    """
    row = google.execute(google.api("sqladmin").instances().get(project=google.project, instance=name))
    settings = row.get("settings", {})
    backup = settings.get("backupConfiguration", {})
    address = settings.get("ipConfiguration", {})
    recovers = backup.get("pointInTimeRecoveryEnabled")
    return DatabaseInstance(
        name=row["name"],
        version=row.get("databaseVersion", ""),
        state=row.get("state", ""),
        tier=settings.get("tier", ""),
        region=row.get("region", ""),
        address=next((one["ipAddress"] for one in row.get("ipAddresses", ()) if one.get("type") == "PRIMARY"), ""),
        networks=tuple(one.get("value", "") for one in address.get("authorizedNetworks", ())),
        disk_gb=int(settings.get("dataDiskSizeGb", 0)),
        disk_limit_gb=int(settings.get("storageAutoResizeLimit", 0)),
        used_gb=int(row.get("currentDiskSize", 0)) / _GB,
        recovery_days=int(backup.get("transactionLogRetentionDays", 0)) if recovers else 0,
        backups=bool(backup.get("enabled")),
        protected=bool(settings.get("deletionProtectionEnabled")),
        flags={flag["name"]: flag["value"] for flag in settings.get("databaseFlags", ())},
    )


def users(google: Google, name: str) -> list[User]:
    """The instance's logins.

    Raises:
        GoogleError
    """
    answer = google.execute(google.api("sqladmin").users().list(project=google.project, instance=name))
    return [User(row["name"], row.get("type", "BUILT_IN")) for row in answer.get("items", ())]


def set_password(google: Google, name: str, user: str, password: str) -> None:
    """Give a built-in login another password and wait until it has it. The old one ends at once. Idempotent.

    Raises:
        GoogleError: 404: no such login, or no such instance.
        infra.google.waiting.TookTooLong
    """
    body = {"name": user, "password": password}
    request = google.api("sqladmin").users().update(project=google.project, instance=name, name=user, body=body)
    _wait(google, google.execute(request), f"the password of {user}", _USER_S)


def backups(google: Google, name: str) -> list[Backup]:
    """Backups, the newest first.

    Raises:
        GoogleError
    """
    collection = google.api("sqladmin").backupRuns()
    first = collection.list(project=google.project, instance=name)
    return [Backup(row.get("status", ""), row.get("endTime", "")) for row in google.pages(collection, first, "items")]


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
