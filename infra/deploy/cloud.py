"""What the commands ask of Google Cloud, as a port: `google_cloud.GoogleCloud` is the real one; tests bring their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Outcome = Literal["running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Project:
    """The project as it is.

    Attributes:
        number: as addresses have it.
        active: neither deleted nor about to be.
    """

    number: str
    active: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """A constraint of the organisation as it is in force for the project.

    Attributes:
        constraint: its name, such as `sql.restrictPublicIp`.
        enforced: a yes/no constraint says no.
        allowed: the only values that a list constraint lets through; None: it allows every one that `denied` does not name.
        denied: values that it refuses; None: every one.
    """

    constraint: str
    enforced: bool = False
    allowed: frozenset[str] | None = None
    denied: frozenset[str] | None = frozenset()


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version of a secret, without its value."""

    number: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a bucket; `generation` changes with every write."""

    content: bytes
    generation: str


@dataclass(frozen=True, slots=True)
class Running:
    """A build, or one run of the migrate job.

    Attributes:
        name: by which it is asked for again.
        outcome: `failed` also when it was cancelled or ran out of time.
        words: what the platform says of the end; "" while it runs.
        log: where its log can be read.
    """

    name: str
    outcome: Outcome
    words: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A function as the platform has it.

    Attributes:
        image: of its newest configuration.
        serves: the newest revision is ready and takes all the traffic.
        settled: the platform has finished trying, whatever came of it.
        ever_ready: some revision of it could start.
        words: what the platform says when it does not serve.
    """

    name: str
    image: str
    serves: bool
    settled: bool
    words: str = ""
    ever_ready: bool = True


class ObjectChanged(Exception):
    """The object was written by another since it was read."""


class Cloud(Protocol):
    """One project. Every method may raise `infra.google.client.GoogleError` or `NotLoggedIn`; none has a secret in its text."""

    def login(self) -> str:
        """Whose login is used."""

    def project(self) -> Project:
        """The project itself."""

    def billing_enabled(self) -> bool:
        """Whether a billing account pays for it."""

    def regions(self) -> frozenset[str]:
        """Regions in which functions can run."""

    def policy(self, constraint: str) -> Policy:
        """A constraint in force."""

    def enabled_apis(self, among: Iterable[str]) -> frozenset[str]:
        """Of these APIs, such as `run.googleapis.com`, at most thirty, those that are on."""

    def enable_apis(self, apis: Iterable[str]) -> None:
        """Turn them on and wait for it."""

    def has_bucket(self, name: str) -> bool:
        """Whether there is such a bucket, of this project."""

    def make_bucket(self, name: str, region: str) -> None:
        """Private, versioned, access by IAM alone."""

    def read_object(self, bucket: str, name: str) -> StoredObject | None:
        """An object, or None."""

    def write_object(self, bucket: str, name: str, content: bytes, generation: str | None) -> None:
        """Write it if it is still of that generation (None: if there is none).

        Raises:
            ObjectChanged
        """

    def secret_versions(self, secret_id: str) -> list[SecretVersion]:
        """Newest first."""

    def add_secret_version(self, secret_id: str, value: str) -> str:
        """The number of the version that was made."""

    def secret(self, secret_id: str, number: str) -> str:
        """A value. The read is in the audit log and raises an alert: only when there is no other way."""

    def image_digest(self, image: str) -> str | None:
        """`sha256:...` of an image named by tag or digest; None: the registry has none."""

    def start_build(self, request: dict[str, Any]) -> str:
        """The name of a build of this request (Cloud Build, builds.create)."""

    def builds(self, tag: str) -> list[Running]:
        """Builds with that tag, the newest first."""

    def build(self, name: str) -> Running:
        """A build as it is now."""

    def run_job(self, job: str, args: Sequence[str]) -> str:
        """Start a run of a job with these arguments; its name."""

    def job_runs(self, job: str) -> list[Running]:
        """Runs of a job, the newest first."""

    def job_run(self, name: str) -> Running:
        """A run as it is now."""

    def services(self) -> list[Service]:
        """Every function that is there."""

    def queue_holds_work(self, queue: str) -> bool:
        """Whether a task waits on it."""
