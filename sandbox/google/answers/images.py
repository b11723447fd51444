"""Cloud Build and Artifact Registry: a build looks for its source and its rights, and what it makes is an image that can be had."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from sandbox.google.answers.project import get_operation
from sandbox.google.answers.storage import content_digest, has_object
from sandbox.google.cloud import operation_id, paged
from sandbox.google.refusals import Refused, invalid, missing, unmet

if TYPE_CHECKING:
    from sandbox.google.cloud import Call, Cloud

_READS_OBJECTS = frozenset(
    {"roles/storage.objectViewer", "roles/storage.objectUser", "roles/storage.objectAdmin", "roles/storage.admin"}
)
_WRITES_IMAGES = frozenset(
    {"roles/artifactregistry.writer", "roles/artifactregistry.repoAdmin", "roles/artifactregistry.admin"}
)
_IMAGE = re.compile(
    r"(?P<location>[a-z0-9-]+)-docker\.pkg\.dev/(?P<project>[^/]+)/(?P<repository>[^/]+)/(?P<image>[^:@]+)"
    r"(?::(?P<tag>[\w.-]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_OWN_LOGS = ("CLOUD_LOGGING_ONLY", "NONE")


def digest_of(cloud: Cloud, image: str) -> str | None:
    """The digest of an image that is there, named by tag or digest; None when it is not."""
    found = _IMAGE.fullmatch(image)
    if found is None:
        return None
    versions = cloud.store.table("images").get(_place(found), {})
    if found["digest"]:
        return found["digest"] if found["digest"] in versions else None
    tag = found["tag"] or "latest"
    return next((digest for digest, row in versions.items() if tag in row["tags"]), None)


def _place(found: re.Match[str]) -> str:
    return f"{found['project']}/{found['location']}/{found['repository']}/{found['image']}"


# -- Cloud Build -----------------------------------------------------------------------------------------------------------


def create_build(call: Call) -> dict[str, Any]:
    """cloudbuild.projects.locations.builds.create: refused when it could not begin; how it ends is in the build."""
    cloud, body = call.cloud, call.body
    cloud.assert_ours(call.path["parent"])
    account = body.get("serviceAccount", "").rpartition("/")[2]
    if not body.get("steps"):
        raise invalid("invalid build: no build steps specified", "build.steps")
    if [step for step in body["steps"] if not step.get("name")]:
        raise invalid("invalid build: build step must specify a builder image name", "build.steps")
    logging = body.get("options", {}).get("logging")
    if account and not body.get("logsBucket") and logging not in _OWN_LOGS:
        raise invalid(
            "if 'build.service_account' is specified, the build must either (a) specify 'build.logs_bucket', (b) use the "
            "REGIONAL_USER_OWNED_BUCKET build.options.default_logs_bucket_behavior option, or (c) use either CLOUD_LOGGING_ONLY / "
            "NONE logging options"
        )
    if account and cloud.terraform.named("google_service_account", account, "email") is None:
        raise unmet(f"service account {account} does not exist or can't be acted as")
    source = body.get("source", {}).get("storageSource")
    if body.get("source") and (source is None or not source.get("bucket") or not source.get("object")):
        raise invalid("the stand-in builds from storageSource, with bucket and object", "build.source")
    number, location = operation_id(), call.path["parent"].rpartition("/")[2]
    name = f"projects/{cloud.number}/locations/{location}/builds/{number}"
    row = body | {
        "id": number,
        "name": name,
        "projectId": cloud.project,
        "status": "QUEUED",
        "createTime": cloud.now(),
        "logUrl": f"https://console.cloud.google.com/cloud-build/builds;region={location}/{number}?project={cloud.number}",
    }
    cloud.store.table("builds")[number] = {"build": row, "left": cloud.polls, "account": account}
    cloud.store.save()
    metadata = {"@type": "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata", "build": row}
    return cloud.start(f"projects/{cloud.project}/locations/{location}/operations/{number}", metadata=metadata)


def get_build(call: Call) -> dict[str, Any]:
    """cloudbuild.projects.locations.builds.get: each look takes it further."""
    cloud = call.cloud
    cloud.assert_ours(call.path["name"])
    kept = cloud.store.table("builds").get(call.path["name"].rpartition("/")[2])
    if kept is None:
        raise missing("Requested entity was not found.")
    row: dict[str, Any] = kept["build"]
    if row["status"] in {"QUEUED", "WORKING"}:
        if kept["left"] > 0:
            kept["left"] -= 1
            row["status"], row["startTime"] = "WORKING", cloud.now()
        else:
            row |= _ended(cloud, row, kept["account"]) | {"finishTime": cloud.now()}
        cloud.store.save()
    return row


def list_builds(call: Call) -> dict[str, Any]:
    """cloudbuild.projects.locations.builds.list, the newest first."""
    call.cloud.assert_ours(call.path["parent"])
    rows = [kept["build"] for kept in call.cloud.store.table("builds").values()]
    wanted = call.query.get("filter")
    if wanted is not None:
        found = re.fullmatch(r'tags\s*=\s*"(?P<tag>[^"]+)"', wanted)
        if found is None:
            raise Refused(501, 'the stand-in finds builds by one tag: filter=tags="..."')
        rows = [row for row in rows if found["tag"] in row.get("tags", ())]
    return paged(call, rows[::-1], "builds")


def _ended(cloud: Cloud, build: dict[str, Any], account: str) -> dict[str, Any]:
    ordered = cloud.faults.builds.popleft() if cloud.faults.builds else None
    if ordered is not None:
        return _failed("USER_BUILD_STEP", ordered)
    source = build.get("source", {}).get("storageSource", {})
    where, name = source.get("bucket", ""), source.get("object", "")
    if source and not _may(cloud, account, where):
        return _failed(
            "FETCH_SOURCE_FAILED",
            f"{account} does not have storage.objects.get access to the Google Cloud Storage object {where}/{name}. Permission "
            f"'storage.objects.get' denied on resource (or it may not exist).",
        )
    if source and not has_object(cloud, where, name):
        return _failed("FETCH_SOURCE_FAILED", f"No such object: {where}/{name}")
    steps = json.dumps(build["steps"], sort_keys=True)
    made = []
    for image in build.get("images", ()):
        content = f"{content_digest(cloud, where, name)} {steps} {image}"
        digest = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
        trouble = _pushed(cloud, account, image, digest)
        if trouble is not None:
            return _failed("PUSH_FAILED", trouble)
        made.append({"name": image, "digest": digest})
    return {"status": "SUCCESS", "results": {"images": made}}


def _failed(kind: str, detail: str) -> dict[str, Any]:
    return {"status": "FAILURE", "statusDetail": detail, "failureInfo": {"type": kind, "detail": detail}}


def _may(cloud: Cloud, account: str, bucket: str) -> bool:
    member = f"serviceAccount:{account}"
    grants = [
        *(row for row in cloud.terraform.of("google_storage_bucket_iam_member") if row["bucket"] == bucket),
        *cloud.terraform.of("google_project_iam_member"),
    ]
    return any(row["member"] == member and row["role"] in _READS_OBJECTS for row in grants)


def _pushed(cloud: Cloud, account: str, image: str, digest: str) -> str | None:
    """Push it; why that can't be."""
    found = _IMAGE.fullmatch(image)
    if found is None:
        return f"{image} is no image of Artifact Registry"
    repository = cloud.terraform.named("google_artifact_registry_repository", found["repository"], "repository_id")
    if repository is None or repository["location"] != found["location"] or found["project"] != cloud.project:
        return f'name unknown: Repository "{found["repository"]}" not found'
    member = f"serviceAccount:{account}"
    grants = [
        *cloud.terraform.of("google_artifact_registry_repository_iam_member"),
        *cloud.terraform.of("google_project_iam_member"),
    ]
    if not any(row["member"] == member and row["role"] in _WRITES_IMAGES for row in grants):
        return f'denied: Permission "artifactregistry.repositories.uploadArtifacts" denied on resource "{found["repository"]}"'
    versions = cloud.store.table("images").setdefault(_place(found), {})
    tag = found["tag"] or "latest"
    immutable = bool(repository.get("docker_config") and repository["docker_config"][0].get("immutable_tags"))
    for known, row in versions.items():
        if tag in row["tags"] and known != digest:
            if immutable:
                return f"the tag {tag} is immutable and names another image already"
            row["tags"].remove(tag)
    row = versions.setdefault(digest, {"tags": [], "made_at": cloud.now()})
    if tag not in row["tags"]:
        row["tags"].append(tag)
    return None


# -- Artifact Registry -----------------------------------------------------------------------------------------------------

_REPOSITORY = re.compile(
    r"projects/[^/]+/locations/(?P<location>[^/]+)/repositories/(?P<repository>[^/]+)(?P<rest>/.*)?"
)


def _repository(cloud: Cloud, name: str) -> tuple[str, str]:
    """The key of images in it and what follows its name; it must be there."""
    cloud.assert_ours(name)
    found = _REPOSITORY.fullmatch(name)
    assert found is not None  # noqa: S101 - the document's pattern has been checked
    row = cloud.terraform.named("google_artifact_registry_repository", found["repository"], "repository_id")
    if row is None or row["location"] != found["location"]:
        raise missing(f'Repository "{name.partition("/packages")[0]}" not found.')
    return f"{cloud.project}/{found['location']}/{found['repository']}/", found["rest"] or ""


def _tag(package: str, tag: str, digest: str) -> dict[str, Any]:
    return {"name": f"{package}/tags/{tag}", "version": f"{package}/versions/{digest}"}


def get_tag(call: Call) -> dict[str, Any]:
    """artifactregistry...packages.tags.get."""
    name = call.path["name"]
    key, rest = _repository(call.cloud, name)
    _, _, package, _, tag = rest.split("/")
    for digest, row in call.cloud.store.table("images").get(f"{key}{package}", {}).items():
        if tag in row["tags"]:
            return _tag(name.partition("/tags/")[0], tag, digest)
    raise missing("Requested entity was not found.")


def list_tags(call: Call) -> dict[str, Any]:
    """artifactregistry...packages.tags.list."""
    parent = call.path["parent"]
    key, rest = _repository(call.cloud, parent)
    versions = call.cloud.store.table("images").get(f"{key}{rest.rpartition('/')[2]}", {})
    rows = [_tag(parent, tag, digest) for digest, row in versions.items() for tag in row["tags"]]
    return paged(call, rows, "tags")


def get_version(call: Call) -> dict[str, Any]:
    """artifactregistry...packages.versions.get, by digest."""
    name = call.path["name"]
    key, rest = _repository(call.cloud, name)
    _, _, package, _, digest = rest.split("/")
    row = call.cloud.store.table("images").get(f"{key}{package}", {}).get(digest)
    if row is None:
        raise missing("Requested entity was not found.")
    return {"name": name, "createTime": row["made_at"], "updateTime": row["made_at"]}


def _docker_image(cloud: Cloud, location: str, repository: str, image: str, digest: str) -> dict[str, Any]:
    row = cloud.store.table("images")[f"{cloud.project}/{location}/{repository}/{image}"][digest]
    return {
        "name": f"projects/{cloud.project}/locations/{location}/repositories/{repository}/dockerImages/{image}@{digest}",
        "uri": f"{location}-docker.pkg.dev/{cloud.project}/{repository}/{image}@{digest}",
        "tags": row["tags"],
        "uploadTime": row["made_at"],
        "updateTime": row["made_at"],
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    }


def get_docker_image(call: Call) -> dict[str, Any]:
    """artifactregistry...dockerImages.get, by `<image>@<digest>`."""
    key, rest = _repository(call.cloud, call.path["name"])
    image, _, digest = rest.rpartition("/")[2].partition("@")
    if digest not in call.cloud.store.table("images").get(f"{key}{image}", {}):
        raise missing("Requested entity was not found.")
    _, location, repository, _ = key.split("/")
    return _docker_image(call.cloud, location, repository, image, digest)


def list_docker_images(call: Call) -> dict[str, Any]:
    """artifactregistry...dockerImages.list."""
    key, _ = _repository(call.cloud, call.path["parent"])
    _, location, repository, _ = key.split("/")
    rows = [
        _docker_image(call.cloud, location, repository, place.removeprefix(key), digest)
        for place, versions in call.cloud.store.table("images").items()
        if place.startswith(key)
        for digest in versions
    ]
    if "orderBy" in call.query:
        raise Refused(501, "the stand-in does not order images")
    return paged(call, rows, "dockerImages")


_PACKAGES = "artifactregistry.projects.locations.repositories"
ANSWERS = {
    f"{_PACKAGES}.dockerImages.get": get_docker_image,
    f"{_PACKAGES}.dockerImages.list": list_docker_images,
    f"{_PACKAGES}.packages.tags.get": get_tag,
    f"{_PACKAGES}.packages.tags.list": list_tags,
    f"{_PACKAGES}.packages.versions.get": get_version,
    "cloudbuild.projects.locations.builds.create": create_build,
    "cloudbuild.projects.locations.builds.get": get_build,
    "cloudbuild.projects.locations.builds.list": list_builds,
    "cloudbuild.projects.locations.operations.get": get_operation,
}
