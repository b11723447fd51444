"""Secret Manager: the secrets are Terraform's, the versions our own."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from sandbox.google.cloud import paged
from sandbox.google.refusals import Refused, invalid, missing, unmet

if TYPE_CHECKING:
    from sandbox.google.cloud import Call, Cloud

_MOST_BYTES = 65_536
_CRC32C = 0x82F63B78


def version(cloud: Cloud, secret_id: str, number: str) -> dict[str, Any] | None:
    """A version's row, `latest` too; None when there is none."""
    rows: dict[str, Any] = cloud.store.table("secret_versions").get(secret_id, {})
    if number == "latest":
        number = max(rows, key=int, default="")
    found: dict[str, Any] | None = rows.get(number)
    return found


def _secret_id(cloud: Cloud, name: str) -> str:
    """The id in `projects/<p>/secrets/<id>...`, which there must be."""
    cloud.assert_ours(name)
    secret_id = name.split("/")[3]
    if cloud.terraform.named("google_secret_manager_secret", secret_id, "secret_id") is None:
        raise missing(f"Secret [projects/{cloud.number}/secrets/{secret_id}] not found.")
    return secret_id


def _row(call: Call) -> tuple[str, dict[str, Any]]:
    secret_id = _secret_id(call.cloud, call.path["name"])
    number = call.path["name"].split("/")[5]
    row = version(call.cloud, secret_id, number)
    if row is None:
        raise missing(f"Secret Version [projects/{call.cloud.number}/secrets/{secret_id}/versions/{number}] not found.")
    return secret_id, row


def _shown(cloud: Cloud, secret_id: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"projects/{cloud.number}/secrets/{secret_id}/versions/{row['number']}",
        "createTime": row["made_at"],
        "state": row["state"],
        "etag": f'"{row["etag"]}"',
        "replicationStatus": {"automatic": {}},
    }


def get_secret(call: Call) -> dict[str, Any]:
    """secretmanager.projects.secrets.get."""
    secret_id = _secret_id(call.cloud, call.path["name"])
    return {
        "name": f"projects/{call.cloud.number}/secrets/{secret_id}",
        "createTime": "2026-01-01T00:00:00Z",
        "replication": {"automatic": {}},
        "etag": '"1"',
    }


def list_secrets(call: Call) -> dict[str, Any]:
    """secretmanager.projects.secrets.list."""
    call.cloud.assert_ours(call.path["parent"])
    ids = sorted(row["secret_id"] for row in call.cloud.terraform.of("google_secret_manager_secret"))
    rows = [
        {"name": f"projects/{call.cloud.number}/secrets/{one}", "replication": {"automatic": {}}, "etag": '"1"'}
        for one in ids
    ]
    return paged(call, rows, "secrets", default=25_000) | {"totalSize": len(rows)}


def add_version(call: Call) -> dict[str, Any]:
    """secretmanager.projects.secrets.addVersion: 1 to 65536 bytes, undamaged."""
    cloud = call.cloud
    secret_id = _secret_id(cloud, call.path["parent"])
    payload = call.body.get("payload", {})
    content = base64.b64decode(payload.get("data", ""))
    if not content:
        raise invalid("Secret Payload cannot be empty.", "payload.data")
    if len(content) > _MOST_BYTES:
        raise invalid(f"The secret payload is too large: {len(content)} bytes, at most {_MOST_BYTES}.", "payload.data")
    if "dataCrc32c" in payload and int(payload["dataCrc32c"]) != _crc32c(content):
        raise invalid("The checksum of the payload is not the one that was sent with it.", "payload.data_crc32c")
    rows = cloud.store.table("secret_versions").setdefault(secret_id, {})
    number = str(max((int(one) for one in rows), default=0) + 1)
    rows[number] = {
        "number": number,
        "state": "ENABLED",
        "made_at": cloud.now(),
        "etag": "1",
        "data": base64.b64encode(content).decode(),
    }
    cloud.store.save()
    return _shown(cloud, secret_id, rows[number]) | {"clientSpecifiedPayloadChecksum": "dataCrc32c" in payload}


def list_versions(call: Call) -> dict[str, Any]:
    """secretmanager.projects.secrets.versions.list: the newest first."""
    secret_id = _secret_id(call.cloud, call.path["parent"])
    rows = call.cloud.store.table("secret_versions").get(secret_id, {})
    shown = [_shown(call.cloud, secret_id, rows[number]) for number in sorted(rows, key=int, reverse=True)]
    return paged(call, shown, "versions", default=25_000) | {"totalSize": len(shown)}


def get_version(call: Call) -> dict[str, Any]:
    """secretmanager.projects.secrets.versions.get."""
    return _shown(call.cloud, *_row(call))


def access_version(call: Call) -> dict[str, Any]:
    """secretmanager.projects.secrets.versions.access: of an enabled one."""
    secret_id, row = _row(call)
    name = f"projects/{call.cloud.number}/secrets/{secret_id}/versions/{row['number']}"
    if row["state"] != "ENABLED":
        raise unmet(f"Secret Version [{name}] is in {row['state']} state.")
    crc = str(_crc32c(base64.b64decode(row["data"])))
    return {"name": name, "payload": {"data": row["data"], "dataCrc32c": crc}}


def _moved(call: Call, state: str) -> dict[str, Any]:
    secret_id, row = _row(call)
    if "etag" in call.body and call.body["etag"].strip('"') != row["etag"]:
        raise Refused(409, "The etag provided does not match the current etag.", name="ABORTED")
    if row["state"] == "DESTROYED" and state != "DESTROYED":
        raise unmet(f"Secret Version {row['number']} is in DESTROYED state.")
    row["state"], row["etag"] = state, str(int(row["etag"]) + (row["state"] != state))
    if state == "DESTROYED":
        row["data"] = ""
    call.cloud.store.save()
    return _shown(call.cloud, secret_id, row)


def disable_version(call: Call) -> dict[str, Any]:
    """secretmanager.projects.secrets.versions.disable."""
    return _moved(call, "DISABLED")


def enable_version(call: Call) -> dict[str, Any]:
    """secretmanager.projects.secrets.versions.enable."""
    return _moved(call, "ENABLED")


def destroy_version(call: Call) -> dict[str, Any]:
    """secretmanager.projects.secrets.versions.destroy."""
    return _moved(call, "DESTROYED")


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CRC32C if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


ANSWERS = {
    "secretmanager.projects.secrets.addVersion": add_version,
    "secretmanager.projects.secrets.get": get_secret,
    "secretmanager.projects.secrets.list": list_secrets,
    "secretmanager.projects.secrets.versions.access": access_version,
    "secretmanager.projects.secrets.versions.destroy": destroy_version,
    "secretmanager.projects.secrets.versions.disable": disable_version,
    "secretmanager.projects.secrets.versions.enable": enable_version,
    "secretmanager.projects.secrets.versions.get": get_version,
    "secretmanager.projects.secrets.versions.list": list_versions,
}
