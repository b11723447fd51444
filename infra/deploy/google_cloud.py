"""`infra.deploy.cloud.Cloud` over Google's REST APIs (infra.google): what a deploy asks, and what it reads of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.deploy.cloud import ObjectChanged, Policy, Project, Running, SecretVersion, Service, StoredObject
from infra.google import billing, images, login, policies, projects, queues, run, secrets, services, storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from infra.google.client import Google

_HOST = ".googleapis.com"


class GoogleCloud:
    """One project in one region.

    Args:
        google: the project.
        region: of functions, jobs, builds and queues.
    """

    def __init__(self, google: Google, region: str) -> None:
        self._google = google
        self._region = region

    def login(self) -> str:
        """See `Cloud`."""
        return login.email(self._google)

    def project(self) -> Project:
        """See `Cloud`."""
        found = projects.get(self._google)
        return Project(found.number, found.active)

    def billing_enabled(self) -> bool:
        """See `Cloud`."""
        return billing.of_project(self._google).enabled

    def regions(self) -> frozenset[str]:
        """Regions that have both queues and schedules: both are in fewer regions than functions are."""
        return queues.regions(self._google)

    def policy(self, constraint: str) -> Policy:
        """See `Cloud`."""
        found = policies.effective(self._google, constraint)
        return Policy(
            constraint,
            enforced=found.enforced,
            allowed=frozenset(found.allowed) or None,
            denied=None if found.denies_all else frozenset(found.denied),
        )

    def enabled_apis(self, among: Iterable[str]) -> frozenset[str]:
        """See `Cloud`."""
        found = services.enabled(self._google, (api.removesuffix(_HOST) for api in among))
        return frozenset(f"{api}{_HOST}" for api, on in found.items() if on)

    def enable_apis(self, apis: Iterable[str]) -> None:
        """See `Cloud`."""
        services.enable(self._google, (api.removesuffix(_HOST) for api in apis))

    def has_bucket(self, name: str) -> bool:
        """See `Cloud`."""
        return storage.bucket(self._google, name) is not None

    def make_bucket(self, name: str, region: str) -> None:
        """See `Cloud`."""
        storage.make_bucket(self._google, name, region)

    def read_object(self, bucket: str, name: str) -> StoredObject | None:
        """See `Cloud`."""
        found = storage.stored(self._google, bucket, name)
        if found is None:
            return None
        content = storage.download(self._google, bucket, name, generation=found.generation)
        return StoredObject(content, found.generation)

    def write_object(self, bucket: str, name: str, content: bytes, generation: str | None) -> None:
        """See `Cloud`."""
        if not storage.write(self._google, bucket, name, content, over=generation):
            raise ObjectChanged(f"gs://{bucket}/{name}")

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
        if "@" in image:
            return image.partition("@")[2] if images.is_there(self._google, image) else None
        return images.digest(self._google, image)

    def start_build(self, request: dict[str, Any]) -> str:
        """See `Cloud`."""
        source = request["source"]["storageSource"]
        return images.build(self._google, self._region, request, bucket=source["bucket"], name=source["object"]).id

    def builds(self, tag: str) -> list[Running]:
        """See `Cloud`."""
        return [_build(one) for one in images.builds(self._google, self._region, tag)]

    def build(self, name: str) -> Running:
        """See `Cloud`."""
        return _build(images.look(self._google, self._region, name))

    def run_job(self, job: str, args: Sequence[str]) -> str:
        """See `Cloud`."""
        return run.run_job(self._google, self._region, job, args)

    def job_runs(self, job: str) -> list[Running]:
        """See `Cloud`."""
        return [_execution(one) for one in run.executions(self._google, self._region, job)]

    def job_run(self, name: str) -> Running:
        """See `Cloud`."""
        return _execution(run.execution(self._google, name))

    def services(self) -> list[Service]:
        """See `Cloud`."""
        return [
            Service(
                one.name,
                one.image,
                serves=one.settled and one.serves_newest,
                settled=one.settled,
                words=one.why,
                ever_ready=one.latest_ready != "",
            )
            for one in run.services(self._google, self._region)
        ]

    def queue_holds_work(self, queue: str) -> bool:
        """See `Cloud`."""
        return queues.holds_work(self._google, self._region, queue)


def _build(one: images.Build) -> Running:
    if one.running:
        return Running(one.id, "running", log=one.log_url)
    return Running(one.id, "done" if one.succeeded else "failed", one.detail or one.status, one.log_url)


def _execution(one: run.Execution) -> Running:
    if not one.ended:
        return Running(one.name, "running", log=one.log_uri)
    return Running(one.name, "done" if one.succeeded else "failed", one.why, one.log_uri)
