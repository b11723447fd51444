"""Cloud Storage: the bucket of Terraform's state, and bundles that images are built of."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from googleapiclient.http import MediaIoBaseUpload

from infra.google.client import GoogleError

if TYPE_CHECKING:
    from infra.google.client import Google

_TAKEN = 412


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket.

    Attributes:
        location: upper case, as Google says it.
        private: neither object lists of their own nor public access.
    """

    name: str
    location: str
    versioned: bool
    private: bool


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object; `generation` tells one content under its name from another."""

    bucket: str
    name: str
    size: int
    generation: str


def bucket(google: Google, name: str) -> Bucket | None:
    """The bucket, or None when there is none.

    Raises:
        GoogleError: 403: it is another project's.
    """
    try:
        return _bucket(google.execute(google.api("storage").buckets().get(bucket=name)))
    except GoogleError as error:
        if error.missing:
            return None
        raise


def make_bucket(google: Google, name: str, region: str) -> Bucket:
    """Make a private bucket that keeps what is overwritten.

    Raises:
        GoogleError: 409: the name is taken, maybe by another project; 412: the organisation forbids the region.
    """
    body = {
        "name": name,
        "location": region,
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": True},
            "publicAccessPrevention": "enforced",
        },
        "versioning": {"enabled": True},
    }
    return _bucket(google.execute(google.api("storage").buckets().insert(project=google.project, body=body)))


def stored(google: Google, where: str, name: str) -> StoredObject | None:
    """The object, or None when there is none.

    Raises:
        GoogleError: 404 where there is no bucket either is None as well.
    """
    try:
        return _object(google.execute(google.api("storage").objects().get(bucket=where, object=name)))
    except GoogleError as error:
        if error.missing:
            return None
        raise


def write(google: Google, where: str, name: str, content: bytes, *, over: str | None) -> bool:
    """Write an object if it still is what it was; whether it was. Repeated after an answer was lost it says False: look, then.

    Args:
        google: the project.
        where: the bucket.
        name: of the object.
        content: JSON.
        over: the generation that it replaces; None: there is none.

    Raises:
        GoogleError
    """
    media = MediaIoBaseUpload(io.BytesIO(content), mimetype="application/json", resumable=False)
    objects = google.api("storage").objects()
    return _sent(google, objects.insert(bucket=where, name=name, ifGenerationMatch=over or "0", media_body=media))


def _sent(google: Google, request: Any) -> bool:
    """Send an upload; False: what it was to replace is something else by now."""
    try:
        google.execute(request)
    except GoogleError as error:
        if error.status == _TAKEN:
            return False
        raise
    return True


def download(google: Google, where: str, name: str, *, generation: str | None = None) -> bytes:
    """An object's bytes; of this generation, when one is said.

    Raises:
        GoogleError
    """
    which = {} if generation is None else {"generation": generation}
    content: bytes = google.execute(google.api("storage").objects().get_media(bucket=where, object=name, **which))
    return content


def _bucket(row: dict[str, Any]) -> Bucket:
    access = row.get("iamConfiguration", {})
    return Bucket(
        name=row["name"],
        location=row.get("location", ""),
        versioned=bool(row.get("versioning", {}).get("enabled")),
        private=bool(access.get("uniformBucketLevelAccess", {}).get("enabled"))
        and access.get("publicAccessPrevention") == "enforced",
    )


def _object(row: dict[str, Any]) -> StoredObject:
    return StoredObject(row["bucket"], row["name"], int(row.get("size", 0)), str(row["generation"]))
