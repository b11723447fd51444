"""One project as the stand-in knows it: what Terraform made in it, what was done by the API, and what is told to go wrong."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sandbox.google.refusals import Refused, disabled, invalid
from sandbox.google.store import Store
from sandbox.google.terraform import TerraformState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sandbox.google.database_end import DatabaseEnd
    from sandbox.google.discovery import Api, Method

_ENABLED_IN_A_NEW_PROJECT = (
    "cloudapis",
    "logging",
    "monitoring",
    "servicemanagement",
    "serviceusage",
    "storage",
    "storage-api",
    "storage-component",
)
"""Of the services that Google enables in every new project, those that matter here (Service Usage, "Services enabled by default")."""

_NEEDS_NOTHING = frozenset({"oauth2", "serviceusage"})
_HOST = ".googleapis.com"


@dataclass
class Faults:
    """What goes wrong, by order. Each is used up as it happens.

    Attributes:
        refusals: method id = what its next calls are answered.
        executions: why the next executions of the migrate job fail; None: that one goes well.
        builds: why the next builds fail; None as above.
        revisions: service = why its next revision does not become ready.
        propagation: how many calls of an API are still refused after it was enabled.
    """

    refusals: dict[str, deque[Refused]] = field(default_factory=dict)
    executions: deque[str | None] = field(default_factory=deque)
    builds: deque[str | None] = field(default_factory=deque)
    revisions: dict[str, str] = field(default_factory=dict)
    propagation: int = 0

    def refuse(self, method: str, status: int, message: str = "by order", *, times: int = 1, name: str = "") -> None:
        """Answer the next `times` calls of a method with an error."""
        self.refusals.setdefault(method, deque()).extend(Refused(status, message, name=name) for _ in range(times))


@dataclass(frozen=True)
class Media:
    """The bytes that came with a request beside its JSON."""

    content: bytes
    kind: str


@dataclass(frozen=True)
class Call:
    """One request that the documents allow.

    Attributes:
        path: variables of the path.
        query: parameters, by type.
        body: JSON body; {} when there is none.
        media: an upload's bytes.
    """

    cloud: Cloud
    api: Api
    method: Method
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: dict[str, Any]
    media: Media | None = None


class Cloud:
    """A project with what is in it.

    Args:
        folder: where the stand-in keeps its own state.
        project: the project's id.
        terraform_state: the state file that says what Terraform made.
        polls: looks that an operation, a build or an execution takes until it is done.
    """

    def __init__(self, folder: Path, project: str, *, terraform_state: Path | None = None, polls: int = 1) -> None:
        self.project = project
        self.store = Store(folder)
        self.terraform = TerraformState(terraform_state)
        self.faults = Faults()
        self.polls = polls
        self.run_job: Callable[[list[str]], str | None] | None = None
        """Runs what an execution of the migrate job runs, by its arguments; why it failed, or None. Nothing is run when it is None."""
        self.database_end: DatabaseEnd | None = None
        """What listens at the instance's address (sandbox/google/database_end.py); None: connectors are refused."""

    # -- who asks ------------------------------------------------------------------------------------------------------

    @property
    def operator(self) -> str:
        """The account of the login that the stand-in hands out."""
        return f"operator@{self.project}.iam.gserviceaccount.com"

    def issue_token(self) -> str:
        """A bearer token that is good from now on."""
        token = f"stand-in-{secrets.token_urlsafe(24)}"
        self.store.table("tokens")[hashlib.sha256(token.encode()).hexdigest()] = self.now()
        self.store.save()
        return token

    def knows_token(self, token: str) -> bool:
        """Whether it was issued here."""
        return hashlib.sha256(token.encode()).hexdigest() in self.store.table("tokens")

    # -- the project ---------------------------------------------------------------------------------------------------

    @property
    def number(self) -> str:
        """The project's number: made from its id, or as Terraform knows it."""
        row = self.terraform.named("google_project", self.project, "project_id")
        if row is not None and row.get("number"):
            return str(row["number"])
        return str(int(hashlib.sha256(self.project.encode()).hexdigest(), 16))[:12]

    def assert_ours(self, name: str) -> None:
        """Raise 403 unless `name`, `projects/<id or number>...`, is of this project: Google tells a stranger no more."""
        known = name.removeprefix("projects/").partition("/")[0]
        if known not in {self.project, self.number}:
            raise Refused(403, f"The caller does not have permission on project {known} or it may not exist.")

    def facts(self) -> dict[str, Any]:
        """What can be set of the project: `state`, `billing`, `policies`."""
        facts = self.store.table("project")
        facts.setdefault("state", "ACTIVE")
        facts.setdefault("billing", "billingAccounts/012345-6789AB-CDEF01")
        facts.setdefault("policies", {})
        return facts

    def set_facts(self, **facts: Any) -> None:
        """Change them. `policies`: constraint = rules of the effective policy."""
        self.facts().update(facts)
        self.store.save()

    def enabled(self, api: str) -> bool:
        """Whether an API is, by Terraform or by the API."""
        return api in self.all_enabled()

    def all_enabled(self) -> set[str]:
        """Every API that is."""
        made = (str(row["service"]) for row in self.terraform.of("google_project_service"))
        return {*_ENABLED_IN_A_NEW_PROJECT, *(one.removesuffix(_HOST) for one in (*made, *self.store.table("enabled")))}

    def enable(self, service: str) -> None:
        """Enable an API, `run.googleapis.com`."""
        waits = 0 if self.enabled(service.removesuffix(_HOST)) else self.faults.propagation
        self.store.table("enabled").setdefault(service, waits)

    def assert_enabled(self, api: Api) -> None:
        """Raise 403 SERVICE_DISABLED unless the API may be called."""
        if api.name in _NEEDS_NOTHING:
            return
        service = f"{api.name}{_HOST}"
        waits = self.store.table("enabled").get(service, 0)
        if waits:
            self.store.table("enabled")[service] = waits - 1
            self.store.save()
        if waits or not self.enabled(api.name):
            raise disabled(service, api.title, self.project, self.number)

    # -- what everything needs -----------------------------------------------------------------------------------------

    def now(self) -> str:
        """RFC 3339."""
        return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def start(
        self, name: str, *, metadata: dict[str, Any] | None = None, response: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Begin a long-running operation; it ends well after `polls` looks, unless `end` says otherwise."""
        row = {"name": name, "left": self.polls, "metadata": metadata, "response": response, "error": None}
        self.store.table("operations")[name] = row
        self.store.save()
        return self.shown(row, done=False)

    def look(self, name: str) -> dict[str, Any]:
        """An operation as a look at it shows it.

        Raises:
            Refused: there is none.
        """
        row = self.store.table("operations").get(name)
        if row is None:
            raise Refused(404, f"Operation {name} not found.")
        done = row["left"] <= 0
        row["left"] -= 1
        self.store.save()
        return self.shown(row, done=done)

    def shown(self, row: dict[str, Any], *, done: bool) -> dict[str, Any]:
        """google.longrunning.Operation."""
        found: dict[str, Any] = {"name": row["name"]}
        if row["metadata"] is not None:
            found["metadata"] = row["metadata"]
        if done:
            found["done"] = True
            found |= {"error": row["error"]} if row["error"] else {"response": row["response"] or {}}
        return found


def operation_id() -> str:
    """Of a new operation."""
    return str(uuid.uuid4())


def paged(
    call: Call, items: list[Any], field_name: str, *, size: str = "pageSize", default: int = 100
) -> dict[str, Any]:
    """One page of a list; `pageToken` is where it begins.

    Raises:
        Refused: a size or a token that no page has.
    """
    wanted = int(call.query.get(size, 0)) or default
    token = str(call.query.get("pageToken", "0"))
    if wanted < 0 or not token.isdecimal() or int(token) > len(items):
        raise invalid("The page token or size is not valid.", "pageToken")
    begin = int(token)
    page: dict[str, Any] = {field_name: items[begin : begin + wanted]} if items else {}
    if begin + wanted < len(items):
        page["nextPageToken"] = str(begin + wanted)
    return page
