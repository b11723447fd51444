"""Cloud SQL's Admin API: the instance, its users, its backups, clones of it, and what a connector asks for."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sandbox.google.cloud import operation_id, paged
from sandbox.google.refusals import Refused, missing

if TYPE_CHECKING:
    from sandbox.google.cloud import Call, Cloud

Row = dict[str, Any]


def _instance(cloud: Cloud, project: str, name: str) -> Row:
    if project not in {cloud.project, cloud.number}:
        raise Refused(403, "The client is not authorized to make this request.", older="notAuthorized")
    row = cloud.terraform.named("google_sql_database_instance", name) or cloud.store.table("clones").get(name)
    if row is None:
        raise missing("The Cloud SQL instance does not exist.")
    return row


def get_instance(call: Call) -> Row:
    """sql.instances.get."""
    cloud = call.cloud
    return _shown(cloud, _instance(cloud, call.path["project"], call.path["instance"]))


def _shown(cloud: Cloud, row: Row) -> Row:
    settings = row["settings"][0]
    backup = (settings.get("backup_configuration") or [{}])[0]
    address = (settings.get("ip_configuration") or [{}])[0]
    flags = settings.get("database_flags") or ()
    shown: Row = {
        "kind": "sql#instance",
        "name": row["name"],
        "project": cloud.project,
        "region": row["region"],
        "connectionName": f"{cloud.project}:{row['region']}:{row['name']}",
        "databaseVersion": row["database_version"],
        "state": cloud.facts().get("instance_state", "RUNNABLE"),
        "currentDiskSize": cloud.facts().get("disk_bytes", "1000000000"),
        "settings": {
            "tier": settings["tier"],
            "activationPolicy": "ALWAYS",
            "availabilityType": settings.get("availability_type") or "ZONAL",
            "dataDiskSizeGb": str(settings.get("disk_size") or 10),
            "storageAutoResize": bool(settings.get("disk_autoresize")),
            "storageAutoResizeLimit": str(settings.get("disk_autoresize_limit") or 0),
            "deletionProtectionEnabled": bool(settings.get("deletion_protection_enabled")),
            "databaseFlags": [{"name": flag["name"], "value": flag["value"]} for flag in flags],
            "backupConfiguration": {
                "enabled": bool(backup.get("enabled")),
                "pointInTimeRecoveryEnabled": bool(backup.get("point_in_time_recovery_enabled")),
                "transactionLogRetentionDays": int(backup.get("transaction_log_retention_days") or 7),
            },
            "ipConfiguration": {
                "ipv4Enabled": bool(address.get("ipv4_enabled")),
                "authorizedNetworks": [
                    {"value": network["value"]} for network in address.get("authorized_networks") or ()
                ],
            },
        },
    }
    if address.get("ipv4_enabled"):
        shown["ipAddresses"] = [{"type": "PRIMARY", "ipAddress": cloud.facts().get("address", "127.0.0.1")}]
    return shown


def list_users(call: Call) -> Row:
    """sql.users.list."""
    instance = _instance(call.cloud, call.path["project"], call.path["instance"])
    rows = [row for row in call.cloud.terraform.of("google_sql_user") if row["instance"] == instance["name"]]
    shown = [
        {
            "kind": "sql#user",
            "name": row["name"],
            "instance": instance["name"],
            "project": call.cloud.project,
            "type": row.get("type") or "BUILT_IN",
        }
        for row in rows
    ]
    return {"kind": "sql#usersList", "items": shown}


def update_user(call: Call) -> Row:
    """sql.users.update: sets a password; of it only a digest is kept."""
    cloud = call.cloud
    instance = _instance(cloud, call.path["project"], call.path["instance"])
    name = str(call.query.get("name") or call.body.get("name") or "")
    known = [row for row in cloud.terraform.of("google_sql_user") if row["instance"] == instance["name"]]
    row = next((one for one in known if one["name"] == name), None)
    if row is None:
        raise missing(f"User {name} does not exist.")
    if (row.get("type") or "BUILT_IN") != "BUILT_IN":
        raise Refused(400, "Invalid request: an IAM user has no password.", older="invalidRequest")
    password = call.body.get("password", "")
    if not password:
        raise Refused(400, "Invalid request: password is required.", older="invalidRequest")
    cloud.store.table("passwords")[name] = hashlib.sha256(password.encode()).hexdigest()
    return _operation(cloud, "UPDATE_USER", instance["name"])


def _operation(cloud: Cloud, kind: str, target: str) -> Row:
    name = operation_id()
    row = {
        "kind": "sql#operation",
        "name": name,
        "operationType": kind,
        "status": "PENDING",
        "targetId": target,
        "targetProject": cloud.project,
        "insertTime": cloud.now(),
    }
    cloud.store.table("sql_operations")[name] = {"left": cloud.polls, "row": row}
    cloud.store.save()
    return row


def get_operation(call: Call) -> Row:
    """sql.operations.get."""
    kept = call.cloud.store.table("sql_operations").get(call.path["operation"])
    if kept is None:
        raise missing("The Cloud SQL instance operation does not exist.")
    if kept["left"] > 0:
        kept["left"] -= 1
        kept["row"]["status"] = "RUNNING"
    else:
        kept["row"] |= {"status": "DONE", "endTime": call.cloud.now()}
    call.cloud.store.save()
    row: Row = kept["row"]
    return row


def list_backups(call: Call) -> Row:
    """sql.backupRuns.list, the newest first: those that were told of."""
    instance = _instance(call.cloud, call.path["project"], call.path["instance"])
    rows = [
        {"kind": "sql#backupRun", "instance": instance["name"], "type": "AUTOMATED"} | row
        for row in call.cloud.facts().get("backups", [])
    ]
    return {"kind": "sql#backupRunsList"} | paged(call, rows, "items", size="maxResults", default=20)


def clone_instance(call: Call) -> Row:
    """sql.instances.clone: under another name, to a moment that point-in-time recovery covers."""
    cloud = call.cloud
    row = _instance(cloud, call.path["project"], call.path["instance"])
    context = call.body.get("cloneContext", {})
    name = context.get("destinationInstanceName", "")
    if not name:
        raise Refused(400, "Missing parameter: destinationInstanceName.", older="required")
    if cloud.terraform.named("google_sql_database_instance", name) or name in cloud.store.table("clones"):
        raise Refused(409, "The Cloud SQL instance already exists.", older="instanceAlreadyExists")
    moment = context.get("pointInTime")
    if moment is not None and not _shown(cloud, row)["settings"]["backupConfiguration"]["pointInTimeRecoveryEnabled"]:
        raise Refused(400, "Point-in-time recovery is not enabled for the instance.", older="invalidRequest")
    if moment is not None and moment > cloud.now():
        raise Refused(400, "The point in time lies in the future.", older="invalidRequest")
    cloud.store.table("clones")[name] = dict(row) | {"name": name}
    return _operation(cloud, "CLONE", name)


def connect_settings(call: Call) -> Row:
    """sql.connect.get: where the instance's own end is, and the certificate it shows."""
    cloud = call.cloud
    row = _instance(cloud, call.path["project"], call.path["instance"])
    shown = _shown(cloud, row)
    settings: Row = {
        "kind": "sql#connectSettings",
        "backendType": "SECOND_GEN",
        "databaseVersion": shown["databaseVersion"],
        "region": shown["region"],
        "ipAddresses": shown.get("ipAddresses", []),
    }
    if cloud.database_end is not None:
        settings["serverCaCert"] = {"kind": "sql#sslCert", "cert": cloud.database_end.authority_pem}
    return settings


def certificate(call: Call) -> Row:
    """sql.connect.generateEphemeral: a certificate for the caller's key, with its login in it when a token came along."""
    cloud = call.cloud
    _instance(cloud, call.path["project"], call.path["instance"])
    if cloud.database_end is None:
        raise Refused(501, "the stand-in has no database behind this instance")
    token = call.body.get("access_token")
    if token is not None and not cloud.knows_token(token):
        raise Refused(401, "The access token of the login is not valid.")
    login = cloud.operator if token is not None else None
    signed = cloud.database_end.signed(call.body.get("public_key", ""), login)
    return {"ephemeralCert": {"kind": "sql#sslCert", "cert": signed}}


ANSWERS = {
    "sql.backupRuns.list": list_backups,
    "sql.connect.generateEphemeral": certificate,
    "sql.connect.get": connect_settings,
    "sql.instances.clone": clone_instance,
    "sql.instances.get": get_instance,
    "sql.operations.get": get_operation,
    "sql.users.list": list_users,
    "sql.users.update": update_user,
}
