"""Cloud Build and Artifact Registry: an image is built of a bundle and then named by its digest."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from infra.google.client import GoogleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.google.client import Google

_TAGGED = re.compile(
    r"(?P<location>[a-z0-9-]+)-docker\.pkg\.dev/(?P<project>[^/]+)/(?P<repository>[^/]+)/(?P<image>[^:@]+):(?P<tag>[\w.-]+)"
)
_PINNED = re.compile(
    r"(?P<location>[a-z0-9-]+)-docker\.pkg\.dev/(?P<project>[^/]+)/(?P<repository>[^/]+)/(?P<image>[^:@]+)@(?P<digest>sha256:[0-9a-f]{64})"
)
_RUNNING: Final = frozenset({"PENDING", "QUEUED", "WORKING", "STATUS_UNKNOWN"})


@dataclass(frozen=True, slots=True)
class Build:
    """A build as a look at it shows it.

    Attributes:
        status: Google's word: QUEUED, WORKING, SUCCESS, FAILURE, TIMEOUT, ...
        detail: why it failed; "" otherwise.
        log_url: where its log is.
        digests: image by tag = its digest, of a build that went well.
    """

    id: str
    status: str
    detail: str
    log_url: str
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """It has not ended."""
        return self.status in _RUNNING

    @property
    def succeeded(self) -> bool:
        """It has ended well."""
        return self.status == "SUCCESS"


def digest(google: Google, image: str) -> str | None:
    """The digest of a tagged image, `sha256:...`; None when there is no such image or no repository.

    Raises:
        GoogleError
        ValueError: that names no tagged image of Artifact Registry.
    """
    found = _TAGGED.fullmatch(image)
    if found is None:
        raise ValueError(f"{image} is no tagged image of Artifact Registry")
    name = (
        f"projects/{found['project']}/locations/{found['location']}/repositories/{found['repository']}"
        f"/packages/{found['image'].replace('/', '%2F')}/tags/{found['tag']}"
    )
    tags = google.api("artifactregistry").projects().locations().repositories().packages().tags()
    try:
        answer = google.execute(tags.get(name=name))
    except GoogleError as error:
        if error.missing:
            return None
        raise
    return str(answer["version"].rpartition("/")[2])


def build(google: Google, region: str, config: Mapping[str, Any], *, bucket: str, name: str) -> Build:
    """Begin a build of an object in Cloud Storage. Not repeated by itself: each call begins one more.

    Args:
        google: the project.
        region: of the build.
        config: a Build of Cloud Build's API without its source, as Terraform's output `build` has it.
        bucket: that holds the bundle.
        name: of the bundle in it.

    Raises:
        GoogleError
    """
    body = dict(config) | {"source": {"storageSource": {"bucket": bucket, "object": name}}}
    parent = f"projects/{google.project}/locations/{region}"
    request = google.api("cloudbuild").projects().locations().builds().create(parent=parent, body=body)
    begun = google.execute(request, repeatable=False)
    return _build(begun["metadata"]["build"])


def look(google: Google, region: str, build_id: str) -> Build:
    """A build as it is now.

    Raises:
        GoogleError
    """
    name = f"projects/{google.project}/locations/{region}/builds/{build_id}"
    return _build(google.execute(google.api("cloudbuild").projects().locations().builds().get(name=name)))


def builds(google: Google, region: str, tag: str) -> list[Build]:
    """Builds with that tag, the newest first.

    Raises:
        GoogleError
    """
    collection = google.api("cloudbuild").projects().locations().builds()
    parent = f"projects/{google.project}/locations/{region}"
    rows = google.pages(collection, collection.list(parent=parent, filter=f'tags="{tag}"'), "builds")
    found = sorted(rows, key=lambda row: str(row.get("createTime", "")), reverse=True)
    return [_build(row) for row in found if tag in row.get("tags", ())]


def is_there(google: Google, image: str) -> bool:
    """Whether the registry has an image by its digest, `...@sha256:...`.

    Raises:
        GoogleError
        ValueError: that names no image of Artifact Registry by digest.
    """
    found = _PINNED.fullmatch(image)
    if found is None:
        raise ValueError(f"{image} is no image of Artifact Registry by its digest")
    name = (
        f"projects/{found['project']}/locations/{found['location']}/repositories/{found['repository']}"
        f"/packages/{found['image'].replace('/', '%2F')}/versions/{found['digest']}"
    )
    versions = google.api("artifactregistry").projects().locations().repositories().packages().versions()
    try:
        google.execute(versions.get(name=name))
    except GoogleError as error:
        if error.missing:
            return False
        raise
    return True


def _build(row: dict[str, Any]) -> Build:
    return Build(
        id=row["id"],
        status=row.get("status", "STATUS_UNKNOWN"),
        detail=row.get("failureInfo", {}).get("detail", "") or row.get("statusDetail", ""),
        log_url=row.get("logUrl", ""),
        digests={one["name"]: one["digest"] for one in row.get("results", {}).get("images", ())},
    )
