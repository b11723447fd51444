"""The project: its APIs, its billing, the organisation's policies over it, its budgets, and who is asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.google.cloud import operation_id, paged
from sandbox.google.refusals import Refused, invalid, missing

if TYPE_CHECKING:
    from sandbox.google.cloud import Call, Cloud

_LISTS = ("iam.allowedPolicyMemberDomains", "run.allowedIngress", "gcp.resourceLocations")
_SWITCHES = ("iam.disableServiceAccountCreation", "run.managed.requireInvokerIam", "sql.restrictPublicIp")
_MOST_ENABLED_AT_ONCE = 20


def get_project(call: Call) -> dict[str, Any]:
    """cloudresourcemanager.projects.get."""
    cloud = call.cloud
    cloud.assert_ours(call.path["name"])
    return {
        "name": f"projects/{cloud.number}",
        "projectId": cloud.project,
        "displayName": cloud.project,
        "state": cloud.facts()["state"],
        "parent": "organizations/123456789012",
        "createTime": "2026-01-01T00:00:00Z",
        "etag": 'W/"1"',
    }


def test_permissions(call: Call) -> dict[str, Any]:
    """cloudresourcemanager.projects.testIamPermissions: an owner has all of them but what is denied by order."""
    call.cloud.assert_ours(call.path["resource"])
    denied = set(call.cloud.facts().get("denied", ()))
    return {"permissions": [one for one in call.body.get("permissions", ()) if one not in denied]}


def get_billing(call: Call) -> dict[str, Any]:
    """cloudbilling.projects.getBillingInfo."""
    cloud = call.cloud
    cloud.assert_ours(call.path["name"])
    account = cloud.facts()["billing"]
    return {
        "name": f"projects/{cloud.project}/billingInfo",
        "projectId": cloud.project,
        "billingAccountName": account or "",
        "billingEnabled": bool(account),
    }


def _service(cloud: Cloud, name: str) -> dict[str, Any]:
    return {
        "name": f"projects/{cloud.number}/services/{name}",
        "parent": f"projects/{cloud.number}",
        "state": "ENABLED" if cloud.enabled(name.removesuffix(".googleapis.com")) else "DISABLED",
    }


def get_services(call: Call) -> dict[str, Any]:
    """serviceusage.services.batchGet: at most 30 names, each a service of this project."""
    cloud, parent = call.cloud, call.path["parent"]
    cloud.assert_ours(parent)
    names = call.query.get("names", [])
    if not 0 < len(names) <= 30:  # noqa: PLR2004 - the method's own limit
        raise invalid("names must have 1 to 30 entries.", "names")
    found = []
    for name in names:
        before, _, service = name.rpartition("/services/")
        if before != parent or not service.endswith(".googleapis.com"):
            raise invalid(f"{name} is not a service of {parent}.", "names")
        found.append(_service(cloud, service))
    return {"services": found}


def list_services(call: Call) -> dict[str, Any]:
    """serviceusage.services.list: of those that are enabled."""
    cloud = call.cloud
    cloud.assert_ours(call.path["parent"])
    if call.query.get("filter") != "state:ENABLED":
        raise Refused(501, "the stand-in lists what is enabled: filter=state:ENABLED")
    names = sorted(f"{one}.googleapis.com" for one in cloud.all_enabled())
    rows = [_service(cloud, name) | {"config": {"name": name}} for name in names]
    return paged(call, rows, "services", default=50)


def enable_services(call: Call) -> dict[str, Any]:
    """serviceusage.services.batchEnable: at most 20 at once, all or none; done already where all are enabled."""
    cloud, wanted = call.cloud, call.body.get("serviceIds", [])
    cloud.assert_ours(call.path["parent"])
    if not 0 < len(wanted) <= _MOST_ENABLED_AT_ONCE:
        raise invalid(f"service_ids must have 1 to {_MOST_ENABLED_AT_ONCE} entries.", "serviceIds")
    unknown = [one for one in wanted if not one.endswith(".googleapis.com")]
    if unknown:
        raise Refused(404, f"Not found or permission denied for service(s): {', '.join(unknown)}.")
    if not cloud.facts()["billing"]:
        raise Refused(
            400,
            f"Billing account for project '{cloud.number}' is not found. Billing must be enabled for activation of service(s) "
            f"'{','.join(wanted)}' to proceed.",
            name="FAILED_PRECONDITION",
        )
    for service in wanted:
        cloud.enable(service)
    made = {
        "@type": "type.googleapis.com/google.api.serviceusage.v1.BatchEnableServicesResponse",
        "services": [_service(cloud, service) for service in wanted],
    }
    return cloud.start(f"operations/acat.p2-{cloud.number}-{operation_id()}", response=made)


def get_operation(call: Call) -> dict[str, Any]:
    """The operations of every API that has them below one name."""
    return call.cloud.look(call.path["name"])


def get_policy(call: Call) -> dict[str, Any]:
    """orgpolicy.projects.policies.getEffectivePolicy: as set, else all is allowed."""
    cloud = call.cloud
    cloud.assert_ours(call.path["name"])
    constraint = call.path["name"].rpartition("/")[2]
    if constraint not in (*_LISTS, *_SWITCHES):
        raise missing(f"Requested entity was not found: constraints/{constraint}")
    usual: dict[str, Any] = {"enforce": False} if constraint in _SWITCHES else {"allowAll": True}
    rules = cloud.facts()["policies"].get(constraint, [usual])
    return {"name": f"projects/{cloud.number}/policies/{constraint}", "spec": {"rules": rules}}


def list_budgets(call: Call) -> dict[str, Any]:
    """billingbudgets.billingAccounts.budgets.list."""
    account = call.path["parent"].removeprefix("billingAccounts/")
    rows = [row for row in call.cloud.terraform.of("google_billing_budget") if row["billing_account"] == account]
    return paged(call, [_budget(row) for row in rows], "budgets")


def _budget(row: dict[str, Any]) -> dict[str, Any]:
    amount = row["amount"][0]["specified_amount"][0]
    budget: dict[str, Any] = {
        "name": f"billingAccounts/{row['billing_account']}/budgets/{row['name']}",
        "displayName": row.get("display_name") or "",
        "amount": {"specifiedAmount": {"currencyCode": amount["currency_code"], "units": str(amount["units"])}},
        "budgetFilter": {"projects": row["budget_filter"][0].get("projects") or []},
        "thresholdRules": [
            {"thresholdPercent": rule["threshold_percent"], "spendBasis": rule["spend_basis"]}
            for rule in row.get("threshold_rules") or ()
        ],
    }
    rules = row.get("all_updates_rule") or []
    if rules:
        budget["notificationsRule"] = {
            "monitoringNotificationChannels": rules[0].get("monitoring_notification_channels") or []
        }
    return budget


def get_user(call: Call) -> dict[str, Any]:
    """oauth2.userinfo.get: whose token it is."""
    return {"email": call.cloud.operator, "verified_email": True, "id": "100000000000000000001"}


ANSWERS = {
    "billingbudgets.billingAccounts.budgets.list": list_budgets,
    "cloudbilling.projects.getBillingInfo": get_billing,
    "cloudresourcemanager.projects.get": get_project,
    "cloudresourcemanager.projects.testIamPermissions": test_permissions,
    "oauth2.userinfo.get": get_user,
    "orgpolicy.projects.policies.getEffectivePolicy": get_policy,
    "serviceusage.operations.get": get_operation,
    "serviceusage.services.list": list_services,
    "serviceusage.services.batchEnable": enable_services,
    "serviceusage.services.batchGet": get_services,
}
