"""`infra.deploy.cloud.Cloud` over Google's REST APIs (infra.google.client): the requests a deploy makes, and what is read of the answers."""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING, Any

from googleapiclient.http import MediaIoBaseUpload

from infra.deploy.cloud import ObjectChanged, Policy, Project, Running, SecretVersion, Service, StoredObject
from infra.google import login, projects, secrets
from infra.google.client import Google, GoogleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from infra.deploy.cloud import Outcome

_PRECONDITION_FAILED = 412
_OPERATION_S = 300
_IMAGE = re.compile(
    r"(?P<region>[a-z0-9-]+)-docker\.pkg\.dev/(?P<project>[^/]+)/(?P<repository>[^/]+)/(?P<package>[^:@]+)(?::(?P<tag>[^@]+)|@(?P<digest>sha256:[0-9a-f]{64}))"
)
_BUILD_ENDED: dict[str, Outcome] = {"SUCCESS": "done"}
_BUILD_GOES = frozenset({"PENDING", "QUEUED", "WORKING", "STATUS_UNKNOWN", ""})


class GoogleCloud:
    """One project in one region.

    Args:
        google: the project.
        region: of functions, jobs, builds and queues.
    """

    def __init__(self, google: Google, region: str) -> None:
        self._google = google
        self._region = region

    @property
    def _parent(self) -> str:
        return f"projects/{self._google.project}/locations/{self._region}"

    def login(self) -> str:
        """See `Cloud`."""
        return login.email(self._google)

    def project(self) -> Project:
        """See `Cloud`."""
        found = projects.get(self._google)
        return Project(found.number, found.active)

    def billing_enabled(self) -> bool:
        """See `Cloud`."""
        request = self._google.api("cloudbilling").projects().getBillingInfo(name=f"projects/{self._google.project}")
        return bool(self._google.execute(request).get("billingEnabled"))

    def regions(self) -> frozenset[str]:
        """Regions that have both queues and schedules: both are in fewer regions than functions are."""
        found = []
        for api in ("cloudtasks", "cloudscheduler"):
            collection = self._google.api(api).projects().locations()
            first = collection.list(name=f"projects/{self._google.project}")
            found.append({one["locationId"] for one in self._google.pages(collection, first, "locations")})
        return frozenset(found[0] & found[1])

    def policy(self, constraint: str) -> Policy:
        """See `Cloud`."""
        name = f"projects/{self._google.project}/policies/{constraint}"
        request = self._google.api("orgpolicy").projects().policies().getEffectivePolicy(name=name)
        rules = (self._google.execute(request).get("spec") or {}).get("rules") or []
        allowed: set[str] | None = None
        denied: set[str] | None = set()
        enforced = False
        for rule in rules:
            enforced = enforced or bool(rule.get("enforce"))
            values = rule.get("values") or {}
            if values.get("allowedValues"):
                allowed = (allowed or set()) | set(values["allowedValues"])
            if denied is not None:
                denied |= set(values.get("deniedValues") or ())
            if rule.get("denyAll"):
                denied = None
        return Policy(
            constraint,
            enforced=enforced,
            allowed=None if allowed is None else frozenset(allowed),
            denied=None if denied is None else frozenset(denied),
        )

    def enabled_apis(self) -> frozenset[str]:
        """See `Cloud`."""
        collection = self._google.api("serviceusage").services()
        first = collection.list(parent=f"projects/{self._google.project}", filter="state:ENABLED", pageSize=200)
        return frozenset(one["config"]["name"] for one in self._google.pages(collection, first, "services"))

    def enable_apis(self, apis: Iterable[str]) -> None:
        """See `Cloud`."""
        usage = self._google.api("serviceusage")
        body = {"serviceIds": list(apis)}
        operation = self._google.execute(
            usage.services().batchEnable(parent=f"projects/{self._google.project}", body=body)
        )
        ends = time.monotonic() + _OPERATION_S
        pause = 0.2
        while not operation.get("done"):
            if time.monotonic() > ends:
                raise GoogleError("serviceusage.services.batchEnable", None, "", "not done within five minutes")
            time.sleep(pause)
            pause = min(pause * 1.5, 5.0)
            operation = self._google.execute(usage.operations().get(name=operation["name"]))
        if "error" in operation:
            raise GoogleError(
                "serviceusage.services.batchEnable", None, "", str(operation["error"].get("message", "refused"))
            )

    def has_bucket(self, name: str) -> bool:
        """See `Cloud`."""
        try:
            self._google.execute(self._google.api("storage").buckets().get(bucket=name))
        except GoogleError as error:
            if error.missing:
                return False
            raise
        return True

    def make_bucket(self, name: str, region: str) -> None:
        """See `Cloud`."""
        body = {
            "name": name,
            "location": region,
            "versioning": {"enabled": True},
            "iamConfiguration": {
                "uniformBucketLevelAccess": {"enabled": True},
                "publicAccessPrevention": "enforced",
            },
            "labels": {"application": "atlas"},
        }
        self._google.execute(self._google.api("storage").buckets().insert(project=self._google.project, body=body))

    def read_object(self, bucket: str, name: str) -> StoredObject | None:
        """See `Cloud`."""
        objects = self._google.api("storage").objects()
        try:
            found = self._google.execute(objects.get(bucket=bucket, object=name))
            generation = str(found["generation"])
            content = self._google.execute(objects.get_media(bucket=bucket, object=name, generation=generation))
        except GoogleError as error:
            if error.missing:
                return None
            raise
        return StoredObject(bytes(content), generation)

    def write_object(self, bucket: str, name: str, content: bytes, generation: str | None) -> None:
        """See `Cloud`."""
        media = MediaIoBaseUpload(io.BytesIO(content), mimetype="application/json", resumable=False)
        request = (
            self._google.api("storage")
            .objects()
            .insert(bucket=bucket, name=name, media_body=media, ifGenerationMatch=generation or "0")
        )
        try:
            self._google.execute(request)  # repeated, it meets its own first try: told as a change, and then found done
        except GoogleError as error:
            if error.status == _PRECONDITION_FAILED:
                raise ObjectChanged(f"gs://{bucket}/{name}") from None
            raise

    def secret_versions(self, secret_id: str) -> list[SecretVersion]:
        """See `Cloud`."""
        return [SecretVersion(one.number, one.state == "ENABLED") for one in secrets.versions(self._google, secret_id)]

    def add_secret_version(self, secret_id: str, value: str) -> str:
        """See `Cloud`."""
        return secrets.add_version(self._google, secret_id, value).number

    def secret(self, secret_id: str, number: str) -> str:
        """See `Cloud`."""
        return secrets.access(self._google, secret_id, number)

    def image_digest(self, image: str) -> str | None:
        """See `Cloud`."""
        found = _IMAGE.fullmatch(image)
        if found is None:
            return None
        package = (
            f"projects/{found['project']}/locations/{found['region']}/repositories/{found['repository']}"
            f"/packages/{found['package'].replace('/', '%2F')}"
        )
        packages = self._google.api("artifactregistry").projects().locations().repositories().packages()
        try:
            if found["digest"]:
                self._google.execute(packages.versions().get(name=f"{package}/versions/{found['digest']}"))
                return found["digest"]
            tag = self._google.execute(packages.tags().get(name=f"{package}/tags/{found['tag']}"))
        except GoogleError as error:
            if error.missing:
                return None
            raise
        return str(tag["version"]).rpartition("/")[2]

    def start_build(self, request: dict[str, Any]) -> str:
        """See `Cloud`."""
        builds = self._google.api("cloudbuild").projects().locations().builds()
        answer = self._google.execute(builds.create(parent=self._parent, body=request), repeatable=False)
        return str(answer["metadata"]["build"]["id"])

    def builds(self, tag: str) -> list[Running]:
        """See `Cloud`."""
        collection = self._google.api("cloudbuild").projects().locations().builds()
        first = collection.list(parent=self._parent, filter=f'tags="{tag}"')
        found = list(self._google.pages(collection, first, "builds"))
        found.sort(key=lambda one: str(one.get("createTime", "")), reverse=True)
        return [_build(one) for one in found if tag in (one.get("tags") or ())]

    def build(self, name: str) -> Running:
        """See `Cloud`."""
        builds = self._google.api("cloudbuild").projects().locations().builds()
        return _build(self._google.execute(builds.get(name=f"{self._parent}/builds/{name}")))

    def run_job(self, job: str, args: Sequence[str]) -> str:
        """See `Cloud`."""
        jobs = self._google.api("run").projects().locations().jobs()
        body = {"overrides": {"containerOverrides": [{"args": list(args)}]}}
        answer = self._google.execute(jobs.run(name=f"{self._parent}/jobs/{job}", body=body), repeatable=False)
        return str(answer["metadata"]["name"]).rpartition("/")[2]

    def job_runs(self, job: str) -> list[Running]:
        """See `Cloud`."""
        collection = self._google.api("run").projects().locations().jobs().executions()
        first = collection.list(parent=f"{self._parent}/jobs/{job}")
        found = list(self._google.pages(collection, first, "executions"))
        found.sort(key=lambda one: str(one.get("createTime", "")), reverse=True)
        return [_run(one) for one in found]

    def job_run(self, job: str, name: str) -> Running:
        """See `Cloud`."""
        executions = self._google.api("run").projects().locations().jobs().executions()
        return _run(self._google.execute(executions.get(name=f"{self._parent}/jobs/{job}/executions/{name}")))

    def services(self) -> list[Service]:
        """See `Cloud`."""
        collection = self._google.api("run").projects().locations().services()
        return [_service(one) for one in self._all(collection, "services")]

    def _all(self, collection: Any, items: str) -> Iterator[dict[str, Any]]:
        return self._google.pages(collection, collection.list(parent=self._parent), items)

    def queue_holds_work(self, queue: str) -> bool:
        """See `Cloud`."""
        tasks = self._google.api("cloudtasks").projects().locations().queues().tasks()
        try:
            answer = self._google.execute(tasks.list(parent=f"{self._parent}/queues/{queue}", pageSize=1))
        except GoogleError as error:
            if error.missing:
                return False
            raise
        return bool(answer.get("tasks"))


def _build(one: dict[str, Any]) -> Running:
    status = str(one.get("status", ""))
    outcome: Outcome = "running" if status in _BUILD_GOES else _BUILD_ENDED.get(status, "failed")
    words = (one.get("failureInfo") or {}).get("detail") or one.get("statusDetail") or status
    return Running(str(one["id"]), outcome, str(words), str(one.get("logUrl", "")))


def _run(one: dict[str, Any]) -> Running:
    """A run has ended when it says when."""
    name = str(one["name"]).rpartition("/")[2]
    container: dict[str, Any] = next(iter((one.get("template") or {}).get("containers") or ()), {})
    outcome: Outcome = "running"
    if one.get("completionTime"):
        good = int(one.get("succeededCount") or 0) >= int(one.get("taskCount") or 1)
        outcome = "done" if good else "failed"
    return Running(
        name,
        outcome,
        _condition(one.get("conditions") or (), "Completed"),
        str(one.get("logUri", "")),
        tuple(container.get("args") or ()),
        str(container.get("image", "")),
    )


def _condition(conditions: Iterable[dict[str, Any]], kind: str) -> str:
    for one in conditions:
        if one.get("type") == kind:
            return str(one.get("message", "") or one.get("reason", "") or "")
    return ""


def _service(one: dict[str, Any]) -> Service:
    terminal = one.get("terminalCondition") or {}
    created, ready = one.get("latestCreatedRevision"), one.get("latestReadyRevision")
    traffic = one.get("trafficStatuses") or []
    newest = str(ready or "").rpartition("/")[2]
    share = sum(int(part.get("percent") or 0) for part in traffic if _is_newest(part, newest))
    state = str(terminal.get("state", ""))
    serves = state == "CONDITION_SUCCEEDED" and bool(ready) and created == ready and share == 100  # noqa: PLR2004 -- percent
    container: dict[str, Any] = next(iter((one.get("template") or {}).get("containers") or ()), {})
    words = str(terminal.get("message", ""))
    if not words and state == "CONDITION_SUCCEEDED" and not serves:
        words = f"{share} % of the traffic goes to {newest or 'no revision'}"
    return Service(
        name=str(one["name"]).rpartition("/")[2],
        image=str(container.get("image", "")),
        serves=serves and not one.get("reconciling"),
        settled=not one.get("reconciling") and state in {"CONDITION_SUCCEEDED", "CONDITION_FAILED"},
        words=words,
    )


def _is_newest(part: dict[str, Any], newest: str) -> bool:
    return part.get("type") == "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST" or part.get("revision") == newest
