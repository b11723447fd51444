"""What a project on Google Cloud says of itself, over the REST APIs. Read alone: no method here changes anything.

Tried against sandbox/google, whose answers have the shapes of the discovery documents; not tried on the real cloud.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from infra.deploy.terraform import is_initialised
from infra.doctor.check import NotCheckedError, WrongError

if TYPE_CHECKING:
    from infra.doctor.deployment import Json
    from infra.environment import Deployed

_PAGE = 1000
_BACKUPS = 7
_PLAN_S = 170
_CHANGED = 2
"""Exit code of `terraform plan -detailed-exitcode` when something would change."""
_DISK = (
    'metric.type="cloudsql.googleapis.com/database/disk/utilization" AND resource.labels.database_id="{project}:{name}"'
)


@dataclass(frozen=True)
class GoogleCloud:
    """Fills `Cloud` for an environment that Terraform made."""

    deployed: Deployed

    @property
    def _place(self) -> str:
        return f"projects/{self.deployed.project}/locations/{self.deployed.region}"

    def _list(self, collection: Any, items: str, **arguments: Any) -> list[Json]:
        return list(self.deployed.google.pages(collection, collection.list(**arguments), items))

    def _api(self, name: str) -> Any:
        return self.deployed.google.api(name)

    def queues(self) -> list[Json]:
        """See `Platform.queues`."""
        return self._list(self._api("cloudtasks").projects().locations().queues(), "queues", parent=self._place)

    def tasks(self, queue: str) -> list[Json]:
        """See `Platform.tasks`."""
        collection = self._api("cloudtasks").projects().locations().queues().tasks()
        request = collection.list(parent=f"{self._place}/queues/{queue}", pageSize=_PAGE)
        found: list[Json] = self.deployed.google.execute(request).get("tasks", [])
        return found

    def jobs(self) -> list[Json]:
        """See `Platform.jobs`."""
        return self._list(self._api("cloudscheduler").projects().locations().jobs(), "jobs", parent=self._place)

    def services(self) -> list[Json]:
        """See `Cloud.services`."""
        return self._list(self._api("run").projects().locations().services(), "services", parent=self._place)

    def run_jobs(self) -> list[Json]:
        """See `Cloud.run_jobs`."""
        return self._list(self._api("run").projects().locations().jobs(), "jobs", parent=self._place)

    def secret_versions(self, secret: str) -> list[Json]:
        """See `Cloud.secret_versions`."""
        collection = self._api("secretmanager").projects().secrets().versions()
        return self._list(collection, "versions", parent=f"projects/{self.deployed.project}/secrets/{secret}")

    def database(self) -> Json | None:
        """See `Cloud.database`."""
        if self.deployed.has_own_database:
            return None
        request = self._api("sqladmin").instances().get(**self._instance())
        found: Json = self.deployed.google.execute(request)
        return found

    def backups(self) -> list[Json]:
        """See `Cloud.backups`."""
        if self.deployed.has_own_database:
            return []
        request = self._api("sqladmin").backupRuns().list(**self._instance(), maxResults=_BACKUPS)
        found: list[Json] = self.deployed.google.execute(request).get("items", [])
        return found

    def _instance(self) -> dict[str, str]:
        return {"project": self.deployed.project, "instance": self.deployed.instance.name}

    def disk_used(self) -> float | None:
        """See `Cloud.disk_used`."""
        if self.deployed.has_own_database:
            raise NotCheckedError("the database is the operator's own, and so is its disk")
        now = datetime.now(UTC)
        request = (
            self._api("monitoring")
            .projects()
            .timeSeries()
            .list(
                name=f"projects/{self.deployed.project}",
                filter=_DISK.format(project=self.deployed.project, name=self.deployed.instance.name),
                interval_startTime=(now - timedelta(minutes=10)).isoformat(),
                interval_endTime=now.isoformat(),
                pageSize=1,
            )
        )
        for series in self.deployed.google.execute(request).get("timeSeries", []):
            for point in series.get("points", []):
                return float(point["value"]["doubleValue"])
        return None

    def alert_policies(self) -> list[Json]:
        """See `Cloud.alert_policies`."""
        collection = self._api("monitoring").projects().alertPolicies()
        return self._list(collection, "alertPolicies", name=f"projects/{self.deployed.project}")

    def channels(self) -> list[Json]:
        """See `Cloud.channels`."""
        collection = self._api("monitoring").projects().notificationChannels()
        return self._list(collection, "notificationChannels", name=f"projects/{self.deployed.project}")

    def budgets(self) -> list[Json]:
        """See `Cloud.budgets`."""
        request = self._api("cloudbilling").projects().getBillingInfo(name=f"projects/{self.deployed.project}")
        account = self.deployed.google.execute(request).get("billingAccountName")
        if not account:
            raise WrongError("the project has no billing account: everything stops")
        project = self._api("cloudresourcemanager").projects().get(name=f"projects/{self.deployed.project}")
        names = {f"projects/{self.deployed.project}", str(self.deployed.google.execute(project)["name"])}
        found = self._list(self._api("billingbudgets").billingAccounts().budgets(), "budgets", parent=account)
        return [
            one for one in found if not (of := one.get("budgetFilter", {}).get("projects")) or names.intersection(of)
        ]

    def drift(self) -> list[str]:
        """See `Cloud.drift`; by Terraform itself, without taking its lock."""
        terraform = shutil.which("terraform")
        if terraform is None:
            raise NotCheckedError("terraform is not installed here")
        if not is_initialised(self.deployed.folder):
            raise NotCheckedError("terraform init was never run here (make deploy does)")
        # No refresh is written: a plan changes the state file only when it is applied.
        command = [terraform, "plan", "-detailed-exitcode", "-lock=false", "-input=false", "-no-color", "-json"]
        try:
            done = subprocess.run(  # noqa: S603 - a list, and no shell
                command,
                cwd=self.deployed.folder,
                env=os.environ | {"TF_IN_AUTOMATION": "1"},
                capture_output=True,
                text=True,
                timeout=_PLAN_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise WrongError(f"terraform plan did not end within {_PLAN_S} s") from None
        if done.returncode not in (0, _CHANGED):
            raise WrongError(f"terraform plan can't be made: {_why(done.stdout)}")
        return _changes(done.stdout) if done.returncode == _CHANGED else []


def _said(output: str) -> list[Json]:
    lines = []
    for line in output.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def _changes(output: str) -> list[str]:
    found = [
        f"{line['change']['resource']['addr']} ({line['change']['action']})"
        for line in _said(output)
        if line.get("type") == "planned_change"
    ]
    return found or ["outputs alone"]


def _why(output: str) -> str:
    errors = [
        str(line.get("diagnostic", {}).get("summary", ""))
        for line in _said(output)
        if line.get("type") == "diagnostic" and line.get("@level") == "error"
    ]
    return "; ".join(errors[:3]) or "no reason was given; is `terraform init` done?"
