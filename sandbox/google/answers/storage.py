"""Cloud Storage: buckets and objects, those of Terraform and our own."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from sandbox.google.cloud import paged
from sandbox.google.refusals import Refused, invalid, missing

if TYPE_CHECKING:
    from sandbox.google.cloud import Call, Cloud

_NO_BUCKET = "The specified bucket does not exist."
_KEPT = ("iamConfiguration", "labels", "lifecycle", "location", "softDeletePolicy", "storageClass", "versioning")


def bucket(cloud: Cloud, name: str) -> dict[str, Any]:
    """A bucket, of Terraform or made by the API.

    Raises:
        Refused: 404.
    """
    own: dict[str, Any] | None = cloud.store.table("buckets").get(name)
    if own is not None:
        return own
    row = cloud.terraform.named("google_storage_bucket", name)
    if row is None:
        raise missing(_NO_BUCKET)
    return {
        "name": name,
        "location": str(row["location"]).upper(),
        "metageneration": "1",
        "timeCreated": "2026-01-01T00:00:00Z",
        "versioning": {"enabled": bool(row.get("versioning") and row["versioning"][0]["enabled"])},
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": bool(row.get("uniform_bucket_level_access"))},
            "publicAccessPrevention": row.get("public_access_prevention") or "inherited",
        },
    }


def has_object(cloud: Cloud, bucket_name: str, name: str) -> bool:
    """Whether the object is there, of Terraform or put by the API."""
    return name in _objects(cloud, bucket_name) or any(
        row["bucket"] == bucket_name and row["name"] == name
        for row in cloud.terraform.of("google_storage_bucket_object")
    )


def content_digest(cloud: Cloud, bucket_name: str, name: str) -> str:
    """SHA-256 of its bytes; of its name where Terraform put it, since the state has no bytes."""
    own = _objects(cloud, bucket_name).get(name)
    return str(own["bytes"]) if own else hashlib.sha256(f"{bucket_name}/{name}".encode()).hexdigest()


def _objects(cloud: Cloud, bucket_name: str) -> dict[str, Any]:
    found: dict[str, Any] = cloud.store.table("objects").setdefault(bucket_name, {})
    return found


def get_bucket(call: Call) -> dict[str, Any]:
    """storage.buckets.get."""
    return _shown_bucket(call.cloud, bucket(call.cloud, call.path["bucket"]))


def insert_bucket(call: Call) -> dict[str, Any]:
    """storage.buckets.insert: 409 where the name is taken, 412 where the organisation forbids the place."""
    cloud, body = call.cloud, call.body
    if call.query["project"] not in {cloud.project, cloud.number}:
        raise Refused(400, f"Unknown project id: {call.query['project']}")
    name = body.get("name", "")
    if not 3 <= len(name) <= 63 or not name.replace("-", "").replace(".", "").replace("_", "").isalnum():  # noqa: PLR2004 - a name's lengths
        raise Refused(400, f"Invalid bucket name: '{name}'")
    if name in cloud.store.table("buckets") or cloud.terraform.named("google_storage_bucket", name):
        raise Refused(409, "Your previous request to create the named bucket succeeded and you already own it.")
    location = body.get("location", "US").upper()
    for rule in cloud.facts()["policies"].get("gcp.resourceLocations", ()):
        allowed = rule.get("values", {}).get("allowedValues")
        if rule.get("denyAll") or (
            allowed is not None and not any(location.lower() in one or "locations" in one for one in allowed)
        ):
            raise Refused(412, f"'{location.lower()}' violates constraint 'constraints/gcp.resourceLocations'")
    row = {key: body[key] for key in _KEPT if key in body}
    row |= {"name": name, "location": location, "metageneration": "1", "timeCreated": cloud.now()}
    cloud.store.table("buckets")[name] = row
    cloud.store.save()
    return _shown_bucket(cloud, row)


def patch_bucket(call: Call) -> dict[str, Any]:
    """storage.buckets.patch: what is named is replaced; 412 where another one changed it meanwhile."""
    cloud, name = call.cloud, call.path["bucket"]
    row = dict(bucket(cloud, name))
    wanted = call.query.get("ifMetagenerationMatch")
    if wanted is not None and str(wanted) != row["metageneration"]:
        raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
    unknown = set(call.body) - set(_KEPT)
    if unknown:
        raise invalid(f"The stand-in changes no {', '.join(sorted(unknown))} of a bucket.")
    row |= call.body | {"metageneration": str(int(row["metageneration"]) + 1)}
    cloud.store.table("buckets")[name] = row
    cloud.store.save()
    return _shown_bucket(cloud, row)


def delete_bucket(call: Call) -> dict[str, Any]:
    """storage.buckets.delete: only an empty one."""
    cloud, name = call.cloud, call.path["bucket"]
    bucket(cloud, name)
    if _objects(cloud, name):
        raise Refused(409, "The bucket you tried to delete is not empty.")
    cloud.store.table("buckets").pop(name, None)
    cloud.store.save()
    return {}


def _shown_bucket(cloud: Cloud, row: dict[str, Any]) -> dict[str, Any]:
    return row | {
        "kind": "storage#bucket",
        "id": row["name"],
        "projectNumber": cloud.number,
        "etag": row["metageneration"],
    }


def insert_object(call: Call) -> dict[str, Any]:
    """storage.objects.insert: of the bytes, with `ifGenerationMatch=0` only where there is none, and only undamaged."""
    cloud, where = call.cloud, call.path["bucket"]
    bucket(cloud, where)
    name = call.query.get("name") or call.body.get("name", "")
    if not name:
        raise Refused(400, "Required parameter: name", older="required")
    if call.media is None:
        raise Refused(400, "The request has no media.")
    there = _objects(cloud, where)
    wanted = call.query.get("ifGenerationMatch")
    if wanted is not None and str(wanted) != str(there.get(name, {}).get("generation", 0)):
        raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
    content = call.media.content
    md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    if call.body.get("md5Hash", md5) != md5:
        raise Refused(400, f'Provided MD5 hash "{call.body["md5Hash"]}" doesn\'t match calculated MD5 hash "{md5}".')
    there[name] = {
        "name": name,
        "bytes": cloud.store.keep_bytes(content),
        "size": str(len(content)),
        "md5Hash": md5,
        "contentType": call.body.get("contentType") or call.media.kind,
        "generation": str(1_700_000_000_000_000 + cloud.store.next("generation")),
        "metageneration": "1",
        "timeCreated": cloud.now(),
    }
    cloud.store.save()
    return _shown_object(where, there[name])


def get_object(call: Call) -> dict[str, Any] | bytes:
    """storage.objects.get; with `alt=media` its bytes."""
    cloud, where, name = call.cloud, call.path["bucket"], call.path["object"]
    bucket(cloud, where)
    own = _objects(cloud, where).get(name)
    if own is None:
        if not has_object(cloud, where, name):
            raise missing(f"No such object: {where}/{name}")
        return _shown_object(where, {"name": name, "generation": "1", "metageneration": "1"})
    if str(call.query.get("generation", own["generation"])) != own["generation"]:
        raise missing(
            f"No such object: {where}/{name}#{call.query['generation']}"
        )  # older ones are kept, and not shown here
    if call.query.get("alt") == "media":
        return cloud.store.kept_bytes(own["bytes"])
    return _shown_object(where, own)


def list_objects(call: Call) -> dict[str, Any]:
    """storage.objects.list, by `prefix`."""
    cloud, where = call.cloud, call.path["bucket"]
    bucket(cloud, where)
    names = {row["name"] for row in cloud.terraform.of("google_storage_bucket_object") if row["bucket"] == where}
    names |= set(_objects(cloud, where))
    rows = [
        _shown_object(where, _objects(cloud, where).get(name, {"name": name, "generation": "1"}))
        for name in sorted(names)
        if name.startswith(call.query.get("prefix", ""))
    ]
    return {"kind": "storage#objects"} | paged(call, rows, "items", size="maxResults", default=1000)


def delete_object(call: Call) -> dict[str, Any]:
    """storage.objects.delete."""
    cloud, where, name = call.cloud, call.path["bucket"], call.path["object"]
    bucket(cloud, where)
    if _objects(cloud, where).pop(name, None) is None:
        raise missing(f"No such object: {where}/{name}")
    cloud.store.save()
    return {}


def _shown_object(where: str, row: dict[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in row.items() if key != "bytes"}
    return known | {"kind": "storage#object", "bucket": where, "id": f"{where}/{row['name']}/{row['generation']}"}


ANSWERS = {
    "storage.buckets.delete": delete_bucket,
    "storage.buckets.get": get_bucket,
    "storage.buckets.insert": insert_bucket,
    "storage.buckets.patch": patch_bucket,
    "storage.objects.delete": delete_object,
    "storage.objects.get": get_object,
    "storage.objects.insert": insert_object,
    "storage.objects.list": list_objects,
}
