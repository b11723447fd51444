"""Secret Manager: versions of secrets. A value is in a return value or an argument, and in no text."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from infra.google.client import Google

State = Literal["ENABLED", "DISABLED", "DESTROYED"]
_CRC32C = 0x82F63B78


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a secret, without its value.

    Attributes:
        number: "1", "2", ...: what `secret_versions` of the tfvars names.
        made_at: RFC 3339.
    """

    number: str
    state: State
    made_at: str


class DamagedValue(RuntimeError):
    """A value did not arrive as it was sent: its checksum is another one."""


def versions(google: Google, secret_id: str) -> list[Version]:
    """Every version, the newest first.

    Raises:
        infra.google.client.GoogleError: 404: there is no such secret.
    """
    collection = _versions(google)
    first = collection.list(parent=_secret(google, secret_id))
    return [_version(one) for one in google.pages(collection, first, "versions")]


def access(google: Google, secret_id: str, number: str = "latest") -> str:
    """The value. The read is in the project's audit log, under the name of who reads.

    Raises:
        infra.google.client.GoogleError: 404: no such version; 400 FAILED_PRECONDITION: it is disabled or destroyed.
        DamagedValue
    """
    answer = google.execute(_versions(google).access(name=f"{_secret(google, secret_id)}/versions/{number}"))
    payload = answer["payload"]
    try:
        value = base64.b64decode(payload.get("data", ""), validate=True)
    except binascii.Error:
        raise DamagedValue(f"secret {secret_id}: the value is not base64") from None
    if "dataCrc32c" in payload and int(payload["dataCrc32c"]) != crc32c(value):
        raise DamagedValue(f"secret {secret_id}: the value's checksum is another one")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DamagedValue(f"secret {secret_id}: the value is no text in UTF-8") from None


def add_version(google: Google, secret_id: str, value: str) -> Version:
    """Add a value; the version that holds it. Not repeated by itself: each call makes one more.

    Raises:
        infra.google.client.GoogleError: 404: there is no such secret.
        ValueError: it is empty, or longer than the 64 KiB that a version holds.
    """
    data = value.encode()
    if not 0 < len(data) <= 64 * 1024:
        raise ValueError(f"secret {secret_id}: a value has 1 to 65536 bytes")
    body = {"payload": {"data": base64.b64encode(data).decode(), "dataCrc32c": str(crc32c(data))}}
    request = google.api("secretmanager").projects().secrets().addVersion(parent=_secret(google, secret_id), body=body)
    return _version(google.execute(request, repeatable=False))


def disable(google: Google, secret_id: str, number: str) -> Version:
    """Take a version out of use; it can be enabled again. Idempotent.

    Raises:
        infra.google.client.GoogleError
    """
    name = f"{_secret(google, secret_id)}/versions/{number}"
    return _version(google.execute(_versions(google).disable(name=name, body={})))


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of `data`, as Secret Manager checks what it is sent."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CRC32C if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _versions(google: Google) -> Any:
    return google.api("secretmanager").projects().secrets().versions()


def _secret(google: Google, secret_id: str) -> str:
    return f"projects/{google.project}/secrets/{secret_id}"


def _version(answer: dict[str, Any]) -> Version:
    return Version(answer["name"].rpartition("/")[2], answer["state"], answer.get("createTime", ""))
