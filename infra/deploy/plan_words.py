"""A Terraform plan in an operator's words: functions, schedules, sums, what goes; and which plans are refused.

Input is `terraform show -json` of a saved plan. No value that Terraform marks sensitive is said.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.deploy.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_SERVICE = "google_cloud_run_v2_service"
_JOB = "google_cloud_run_v2_job"
_SCHEDULE = "google_cloud_scheduler_job"
_QUEUE = "google_cloud_tasks_queue"
_USER = "google_sql_user"

# What nothing can make anew: what it holds is not in this repository.
HOLDS_DATA = {
    "google_artifact_registry_repository": "images, which a rollback needs",
    "google_sql_database": "the database itself: customers, payments, books",
    "google_sql_database_instance": "the database server with its databases and its users",
    "google_secret_manager_secret": "a secret with all its values",
    "google_storage_bucket": "a bucket with what is in it",
}
_WORDS = {
    _SERVICE: ("function", "functions"),
    _JOB: ("job", "jobs"),
    _SCHEDULE: ("schedule", "schedules"),
    _QUEUE: ("queue", "queues"),
    _USER: ("database user", "database users"),
    "google_sql_database": ("database", "databases"),
    "google_sql_database_instance": ("database server", "database servers"),
    "google_secret_manager_secret": ("secret", "secrets"),
    "google_storage_bucket": ("bucket", "buckets"),
    "google_storage_bucket_object": ("uploaded file", "uploaded files"),
    "google_service_account": ("account", "accounts"),
    "google_project_service": ("API", "APIs"),
    "google_monitoring_alert_policy": ("alert", "alerts"),
    "google_monitoring_notification_channel": ("alert recipient", "alert recipients"),
    "google_monitoring_dashboard": ("dashboard", "dashboards"),
    "google_monitoring_uptime_check_config": ("uptime check", "uptime checks"),
    "google_logging_metric": ("log metric", "log metrics"),
    "google_billing_budget": ("budget", "budgets"),
    "google_artifact_registry_repository": ("image registry", "image registries"),
}
_GRANTS = ("_iam_member", "_iam_binding", "_iam_audit_config", "_iam_policy")
_ONLY_TERRAFORM = frozenset({"terraform_data"})


@dataclass(frozen=True, slots=True)
class Change:
    """One resource of a plan that does not stay as it is."""

    address: str
    kind: str
    actions: tuple[str, ...]
    before: dict[str, Any]
    after: dict[str, Any]
    unknown: dict[str, Any]
    hidden: dict[str, Any]

    @property
    def name(self) -> str:
        """What it is called on the platform."""
        of = self.after or self.before
        return str(of.get("name") or of.get("secret_id") or of.get("service") or of.get("account_id") or self.address)

    @property
    def is_made(self) -> bool:
        """It is not there yet."""
        return self.actions == ("create",)

    @property
    def goes(self) -> bool:
        """What is there now is deleted, also when it is made anew after or before."""
        return "delete" in self.actions


@dataclass(frozen=True)
class Plan:
    """What Terraform would do."""

    changes: tuple[Change, ...]
    outputs: dict[str, Any]
    before_outputs: dict[str, Any]

    @classmethod
    def read(cls, shown: dict[str, Any]) -> Plan:
        """From `terraform show -json PLAN`."""
        changes = []
        for one in shown.get("resource_changes", ()):
            change = one["change"]
            actions = tuple(change["actions"])
            if one.get("mode") != "managed" or actions in {("no-op",), ("read",)}:
                continue
            changes.append(
                Change(
                    address=one["address"],
                    kind=one["type"],
                    actions=actions,
                    before=change.get("before") or {},
                    after=change.get("after") or {},
                    unknown=_mapping(change.get("after_unknown")),
                    hidden=_mapping(change.get("after_sensitive")) | _mapping(change.get("before_sensitive")),
                )
            )
        outputs = shown.get("output_changes") or {}
        return cls(
            tuple(changes),
            {name: one.get("after") for name, one in outputs.items()},
            {name: one.get("before") for name, one in outputs.items()},
        )

    @property
    def empty(self) -> bool:
        """Nothing on the platform would change."""
        return not self.changes

    def of(self, kind: str) -> list[Change]:
        """Changes of one resource type."""
        return [change for change in self.changes if change.kind == kind]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def deleted_data(plan: Plan) -> list[Problem]:
    """What the plan would delete that can't be made anew; such a plan is never applied."""
    return [
        Problem(
            f"the plan deletes {change.name} ({change.address}): {HOLDS_DATA[change.kind]}",
            "undo the change that asks for it; what must really go is taken away by hand, as infra/terraform/README.md says (Delete what holds data)",
        )
        for change in plan.changes
        if change.goes and change.kind in HOLDS_DATA
    ]


def deleted_queues(plan: Plan) -> list[str]:
    """Queues that the plan deletes, by name: they may hold work."""
    return [str(change.before.get("name")) for change in plan.of(_QUEUE) if change.goes]


def lines(plan: Plan) -> list[str]:
    """The plan, what matters most to customers first; [] when it changes nothing."""
    if plan.empty:
        return []
    told = [*_gone(plan), *_functions(plan), *_schedules(plan), *_queues(plan), *_rest(plan), *_sums(plan)]
    return told or ["only Terraform's own records change"]


def _gone(plan: Plan) -> Iterator[str]:
    for change in plan.changes:
        if change.goes and change.kind not in _ONLY_TERRAFORM and not change.kind.endswith(_GRANTS):
            again = " and makes it anew" if "create" in change.actions else ""
            yield f"DELETES {_word(change.kind, 1)} {change.name}{again}"


def _functions(plan: Plan) -> Iterator[str]:
    images: dict[str, list[str]] = {}
    for change in [*plan.of(_SERVICE), *plan.of(_JOB)]:
        word = _word(change.kind, 1)
        if change.goes:
            continue
        if change.is_made:
            yield f"new {word} {change.name}{_size(change)}"
            continue
        before, after = _container(change.before), _container(change.after)
        if before.get("image") != after.get("image"):
            images.setdefault(_short(after.get("image")), []).append(change.name)
        for line in _settings(before, after):
            yield f"{word} {change.name}: {line}"
        for path, old, new in _numbers(change):
            yield f"{word} {change.name}: {path} {old} -> {new}"
    for image, names in images.items():
        yield f"new code ({image}) for {len(names)}: {', '.join(sorted(names))}"


def _size(change: Change) -> str:
    template = _first(change.after.get("template"))
    scaling = _first(template.get("scaling"))
    if not scaling:
        return ""
    least = _first(change.after.get("scaling")).get("min_instance_count") or scaling.get("min_instance_count") or 0
    return f", {least} to {scaling.get('max_instance_count')} instances"


def _settings(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    old, new = _variables(before), _variables(after)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield f"setting {name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"


def _variables(container: dict[str, Any]) -> dict[str, str]:
    found = {}
    for one in container.get("env") or ():
        reference = _first(_first(one.get("value_source")).get("secret_key_ref"))
        found[str(one.get("name"))] = (
            f"version {reference.get('version')} of its secret" if reference else repr(one.get("value") or "")
        )
    return found


_NUMBERS = (
    ("timeout", ("template", "timeout")),
    ("requests at once", ("template", "max_instance_request_concurrency")),
    ("least instances", ("scaling", "min_instance_count")),
    ("most instances", ("template", "scaling", "max_instance_count")),
    ("CPU", ("template", "containers", "resources", "limits", "cpu")),
    ("memory", ("template", "containers", "resources", "limits", "memory")),
    ("who may call", ("ingress",)),
)


def _numbers(change: Change) -> Iterator[tuple[str, Any, Any]]:
    for words, path in _NUMBERS:
        old, new = _at(change.before, path), _at(change.after, path)
        if old != new and new is not None:
            yield words, old, new


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        value = _first(value).get(part)
    return value


def _schedules(plan: Plan) -> Iterator[str]:
    for change in plan.of(_SCHEDULE):
        if change.is_made:
            yield f"new schedule {change.name}: {change.after.get('schedule')} (UTC)"
        elif not change.goes:
            told = _different(change, "schedule", "paused", "attempt_deadline")
            yield f"schedule {change.name}: {told or 'changes'}"


def _queues(plan: Plan) -> Iterator[str]:
    for change in plan.of(_QUEUE):
        if change.is_made:
            rate = _first(change.after.get("rate_limits"))
            yield f"new queue {change.name}: {rate.get('max_dispatches_per_second')} a second, {rate.get('max_concurrent_dispatches')} at once"
        elif not change.goes:
            yield f"queue {change.name}: {_different(change, 'rate_limits', 'retry_config') or 'changes'}"


def _different(change: Change, *names: str) -> str:
    return ", ".join(
        f"{name} {change.before.get(name)} -> {change.after.get(name)}"
        for name in names
        if change.before.get(name) != change.after.get(name)
    )


def _rest(plan: Plan) -> Iterator[str]:
    told = {_SERVICE, _JOB, _SCHEDULE, _QUEUE} | _ONLY_TERRAFORM
    made: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    taken = 0
    for change in plan.changes:
        if change.kind in told or (change.goes and not change.kind.endswith(_GRANTS)):
            continue
        kind = "grant" if change.kind.endswith(_GRANTS) else change.kind
        if change.goes:
            taken += 1
        elif change.is_made:
            made[kind] += 1
        else:
            changed[kind] += 1
    if made:
        yield "makes " + _counted(made)
    if changed:
        yield "changes " + _counted(changed)
    if taken:
        yield f"takes {taken} {_word('grant', taken)} away"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {_word(kind, number)}" for kind, number in sorted(counts.items()))


def _sums(plan: Plan) -> Iterator[str]:
    sums = plan.outputs.get("connections")
    if isinstance(sums, dict) and sums.get("needed") is not None:
        yield f"database connections: {sums['needed']} of {sums.get('limit')} when every function runs at its most"
    estimate = plan.outputs.get("monthly_estimate")
    if isinstance(estimate, dict):
        estimate = estimate.get("total", estimate.get("sum"))
    if estimate is not None:
        yield f"monthly estimate without traffic: {estimate} USD"


def _word(kind: str, number: int) -> str:
    if kind == "grant":
        return "grant" if number == 1 else "grants"
    one, many = _WORDS.get(kind, (kind.removeprefix("google_"), kind.removeprefix("google_")))
    return one if number == 1 else many


def _first(value: Any) -> dict[str, Any]:
    """A block: Terraform shows it as a list of one."""
    if isinstance(value, list):
        value = value[0] if value else {}
    return value if isinstance(value, dict) else {}


def _container(resource: dict[str, Any]) -> dict[str, Any]:
    template = _first(resource.get("template"))
    inner = _first(template.get("template")) or template  # a job's template has a template
    return _first(inner.get("containers"))


def _short(image: Any) -> str:
    text = str(image or "an image that is not known yet")
    name, _, digest = text.rpartition("@sha256:")
    return f"{name.rpartition('/')[2]}@{digest[:12]}" if name else text.rpartition("/")[2]
