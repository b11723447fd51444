"""Cloud Run: services whose revisions become ready or don't, and the job that migrates.

What is deployed is what Terraform's state says. A template that was not seen before is a new revision; whether it becomes ready is
decided once, as the platform does: its image must be there, and each version of a secret it names enabled.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import string
from typing import TYPE_CHECKING, Any

from sandbox.google.answers.images import digest_of
from sandbox.google.answers.project import get_operation
from sandbox.google.answers.secret_manager import version
from sandbox.google.cloud import operation_id, paged
from sandbox.google.refusals import Refused, missing

if TYPE_CHECKING:
    from sandbox.google.cloud import Call, Cloud

Row = dict[str, Any]


def _container(template: Row) -> Row:
    inner = template["template"][0] if "template" in template else template
    found: Row = inner["containers"][0]
    return found


def _trouble(cloud: Cloud, template: Row) -> tuple[str, str] | None:
    """Why a container of this template can't start: Google's reason and sentence."""
    container = _container(template)
    if digest_of(cloud, container["image"]) is None:
        return "CONTAINER_MISSING", f"Image '{container['image']}' not found."
    for variable in container.get("env") or ():
        for source in variable.get("value_source") or ():
            for wanted in source["secret_key_ref"]:
                secret_id = wanted["secret"].rpartition("/")[2]
                found = version(cloud, secret_id, wanted["version"])
                name = f"projects/{cloud.number}/secrets/{secret_id}/versions/{wanted['version']}"
                if found is None:
                    return "SECRETS_ACCESS_CHECK_FAILED", f"Secret {name} was not found"
                if found["state"] != "ENABLED":
                    return "SECRETS_ACCESS_CHECK_FAILED", f"Secret {name} is in {found['state']} state."
    return None


def _shown_container(container: Row) -> Row:
    shown: Row = {"image": container["image"]}
    for plain in ("command", "args"):
        if container.get(plain):
            shown[plain] = container[plain]
    environment: list[Row] = []
    for variable in container.get("env") or ():
        sources = variable.get("value_source") or ()
        if sources:
            wanted = sources[0]["secret_key_ref"][0]
            reference = {"secret": wanted["secret"], "version": wanted["version"]}
            environment.append({"name": variable["name"], "valueSource": {"secretKeyRef": reference}})
        else:
            environment.append({"name": variable["name"], "value": variable.get("value") or ""})
    if environment:
        shown["env"] = environment
    return shown


# -- services --------------------------------------------------------------------------------------------------------------


def _revisions(cloud: Cloud, row: Row) -> list[Row]:
    """Every revision of a service, the newest last; a template that is new makes one."""
    name, template = row["name"], row["template"][0]
    kept: list[Row] = cloud.store.table("revisions").setdefault(name, [])
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()
    if not kept or kept[-1]["template"] != digest:
        ordered = cloud.faults.revisions.pop(name, None)
        trouble = ("HEALTH_CHECK_CONTAINER_ERROR", ordered) if ordered is not None else _trouble(cloud, template)
        made = {
            "name": f"{name}-{len(kept) + 1:05d}-{digest[:3]}",
            "template": digest,
            "ready": trouble is None,
            "reason": trouble[0] if trouble else "",
            "message": trouble[1] if trouble else "",
            "made_at": cloud.now(),
        }
        kept.append(made)
    return kept


def _service(cloud: Cloud, row: Row) -> Row:
    full = f"projects/{cloud.project}/locations/{row['location']}/services/{row['name']}"
    revisions = _revisions(cloud, row)
    newest = revisions[-1]
    ready = next((one for one in reversed(revisions) if one["ready"]), None)
    condition: Row = {
        "type": "Ready",
        "state": "CONDITION_SUCCEEDED" if newest["ready"] else "CONDITION_FAILED",
        "lastTransitionTime": newest["made_at"],
    }
    if not newest["ready"]:
        condition["message"] = f"Revision '{newest['name']}' is not ready and cannot serve traffic. {newest['message']}"
        kind = "revisionReason" if newest["reason"] == "HEALTH_CHECK_CONTAINER_ERROR" else "reason"
        condition[kind] = newest["reason"]
    generation = str(len(revisions))
    latest = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    service: Row = {
        "name": full,
        "uid": str(row.get("uid") or ""),
        "generation": generation,
        "observedGeneration": generation,
        "createTime": "2026-01-01T00:00:00Z",
        "updateTime": newest["made_at"],
        "ingress": row.get("ingress") or "INGRESS_TRAFFIC_ALL",
        "invokerIamDisabled": bool(row.get("invoker_iam_disabled")),
        "template": {
            "serviceAccount": row["template"][0].get("service_account") or "",
            "containers": [_shown_container(_container(row["template"][0]))],
        },
        "traffic": [{"type": latest, "percent": 100}],
        "latestCreatedRevision": f"{full}/revisions/{newest['name']}",
        "terminalCondition": condition,
        "conditions": [{"type": "RoutesReady", "state": condition["state"]}],
        "urls": [f"https://{row['name']}-{cloud.number}.{row['location']}.run.app"],
        "uri": f"https://{row['name']}-{cloud.number}.{row['location']}.run.app",
        "reconciling": False,
        "etag": f'"{generation}"',
        "labels": row.get("labels") or {},
    }
    if ready is not None:
        service["latestReadyRevision"] = f"{full}/revisions/{ready['name']}"
        service["trafficStatuses"] = [{"type": latest, "percent": 100}]
    return service


def get_service(call: Call) -> Row:
    """run.projects.locations.services.get."""
    _, project, _, location, _, name = call.path["name"].split("/")
    call.cloud.assert_ours(f"projects/{project}")
    row = call.cloud.terraform.named("google_cloud_run_v2_service", name)
    if row is None or row["location"] != location:
        raise missing(
            f"Resource '{name}' of kind 'SERVICE' in region '{location}' in project '{project}' does not exist."
        )
    return _saved(call.cloud, [row])[0]


def _saved(cloud: Cloud, rows: list[Row]) -> list[Row]:
    shown = [_service(cloud, row) for row in rows]
    cloud.store.save()  # of revisions that were seen for the first time
    return shown


def list_services(call: Call) -> Row:
    """run.projects.locations.services.list."""
    call.cloud.assert_ours(call.path["parent"])
    location = call.path["parent"].rpartition("/")[2]
    rows = sorted(call.cloud.terraform.of("google_cloud_run_v2_service"), key=lambda row: str(row["name"]))
    return paged(call, _saved(call.cloud, [row for row in rows if row["location"] == location]), "services")


# -- jobs ------------------------------------------------------------------------------------------------------------------


def _job(cloud: Cloud, name: str) -> Row:
    cloud.assert_ours(name)
    _, project, _, location, _, job = name.split("/")[:6]
    row = cloud.terraform.named("google_cloud_run_v2_job", job)
    if row is None or row["location"] != location:
        raise missing(f"Resource '{job}' of kind 'JOB' in region '{location}' in project '{project}' does not exist.")
    return row


def get_job(call: Call) -> Row:
    """run.projects.locations.jobs.get."""
    return _shown_job(call.cloud, _job(call.cloud, call.path["name"]))


def list_jobs(call: Call) -> Row:
    """run.projects.locations.jobs.list."""
    call.cloud.assert_ours(call.path["parent"])
    location = call.path["parent"].rpartition("/")[2]
    rows = [row for row in call.cloud.terraform.of("google_cloud_run_v2_job") if row["location"] == location]
    return paged(call, [_shown_job(call.cloud, row) for row in rows], "jobs")


def _shown_job(cloud: Cloud, row: Row) -> Row:
    inner = row["template"][0]["template"][0]
    return {
        "name": f"projects/{cloud.project}/locations/{row['location']}/jobs/{row['name']}",
        "generation": "1",
        "observedGeneration": "1",
        "etag": '"1"',
        "reconciling": False,
        "terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"},
        "executionCount": len(_executions(cloud, row["name"])),
        "template": {
            "template": {
                "serviceAccount": inner.get("service_account") or "",
                "timeout": inner.get("timeout") or "600s",
                "containers": [_shown_container(_container(row["template"][0]))],
            }
        },
    }


def _executions(cloud: Cloud, job: str) -> dict[str, Row]:
    found: dict[str, Row] = cloud.store.table("executions").setdefault(job, {})
    return found


def run_job(call: Call) -> Row:
    """run.projects.locations.jobs.run: makes an execution; how it ends is in that."""
    cloud, overrides = call.cloud, call.body.get("overrides", {})
    row = _job(cloud, call.path["name"])
    if call.body.get("etag", '"1"') != '"1"':
        raise Refused(409, "Conflict for resource: the etag is of another version.", name="ABORTED")
    if overrides.get("taskCount", 1) != 1:
        raise Refused(501, "the stand-in runs one task")
    container = _shown_container(_container(row["template"][0]))
    changed = overrides.get("containerOverrides", [])
    if len(changed) > 1:
        raise Refused(400, "containerOverrides names more containers than the job has.", name="INVALID_ARGUMENT")
    for one in changed:
        if one.get("clearArgs") and one.get("args"):
            raise Refused(400, "Args and clear_args can't be given together.", name="INVALID_ARGUMENT")
        if one.get("clearArgs"):
            container.pop("args", None)
        container |= {"args": one["args"]} if one.get("args") else {}
        container["env"] = [*container.get("env", ()), *one.get("env", ())]
    suffix = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(5))
    execution: Row = {
        "name": f"{call.path['name']}/executions/{row['name']}-{suffix}",
        "job": call.path["name"],
        "createTime": cloud.now(),
        "startTime": cloud.now(),
        "taskCount": 1,
        "runningCount": 1,
        "reconciling": True,
        "generation": "1",
        "logUri": f"https://console.cloud.google.com/logs/viewer?project={cloud.project}",
        "template": {"containers": [container]},
    }
    operation = f"{call.path['name'].partition('/jobs/')[0]}/operations/{operation_id()}"
    kept = {
        "execution": execution,
        "left": cloud.polls,
        "trouble": _trouble(cloud, row["template"][0]),
        "operation": operation,
    }
    _executions(cloud, row["name"])[f"{row['name']}-{suffix}"] = kept
    return cloud.start(operation, metadata=_typed(execution), response=_typed(execution))


def _typed(execution: Row) -> Row:
    return {"@type": "type.googleapis.com/google.cloud.run.v2.Execution"} | execution


def _advance(cloud: Cloud, kept: Row) -> Row:
    execution: Row = kept["execution"]
    if "completionTime" in execution:
        return execution
    if kept["left"] > 0:
        kept["left"] -= 1
        cloud.store.save()
        return execution
    arguments = execution["template"]["containers"][0].get("args", [])
    failed = kept["trouble"][1] if kept["trouble"] else None
    if failed is None and cloud.faults.executions:
        failed = cloud.faults.executions.popleft()
    elif failed is None and cloud.run_job is not None:
        failed = cloud.run_job(list(arguments))
    condition: Row = {"type": "Completed", "state": "CONDITION_SUCCEEDED" if failed is None else "CONDITION_FAILED"}
    if failed is not None:
        condition |= {"executionReason": "NON_ZERO_EXIT_CODE", "message": failed}
    execution |= {
        "completionTime": cloud.now(),
        "runningCount": 0,
        "reconciling": False,
        "succeededCount": int(failed is None),
        "failedCount": int(failed is not None),
        "conditions": [condition],
        "observedGeneration": "1",
    }
    operation = cloud.store.table("operations")[kept["operation"]]
    operation["left"], operation["metadata"] = 0, _typed(execution)
    if failed is None:
        operation["response"] = _typed(execution)
    else:
        operation["error"] = {"code": 10, "message": failed}
    cloud.store.save()
    return execution


def get_execution(call: Call) -> Row:
    """run.projects.locations.jobs.executions.get: each look takes it further."""
    row = _job(call.cloud, call.path["name"])
    name = call.path["name"].rpartition("/")[2]
    kept = _executions(call.cloud, row["name"]).get(name)
    if kept is None:
        raise missing(f"Resource '{name}' of kind 'EXECUTION' does not exist.")
    return _advance(call.cloud, kept)


def list_executions(call: Call) -> Row:
    """run.projects.locations.jobs.executions.list, the newest first."""
    row = _job(call.cloud, call.path["parent"])
    rows = [kept["execution"] for kept in _executions(call.cloud, row["name"]).values()]
    return paged(call, rows[::-1], "executions")


def get_run_operation(call: Call) -> Row:
    """run.projects.locations.operations.get: of an execution, a look takes it further as well."""
    for executions in call.cloud.store.table("executions").values():
        for kept in executions.values():
            if kept["operation"] == call.path["name"]:
                _advance(call.cloud, kept)
                row = call.cloud.store.table("operations")[call.path["name"]]
                return call.cloud.shown(row, done="completionTime" in kept["execution"])
    return get_operation(call)


_PLACE = "run.projects.locations"
ANSWERS = {
    f"{_PLACE}.jobs.executions.get": get_execution,
    f"{_PLACE}.jobs.executions.list": list_executions,
    f"{_PLACE}.jobs.get": get_job,
    f"{_PLACE}.jobs.list": list_jobs,
    f"{_PLACE}.jobs.run": run_job,
    f"{_PLACE}.operations.get": get_run_operation,
    f"{_PLACE}.services.get": get_service,
    f"{_PLACE}.services.list": list_services,
}
