"""The record of releases: an object in the state bucket, so that every machine finds the last one and the one before.

A release is recorded once it serves. Its entry holds all that Terraform is told of it (id, image by digest, numbers of secrets) and which
migrations its code knows; no secret. Written under the object's generation: two deploys at once lose no entry.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from infra.deploy.cloud import ObjectChanged
from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from infra.deploy.cloud import Cloud

KEPT = 50
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Recorded:
    """A release that served.

    Attributes:
        id: of all the image's inputs.
        image: by digest.
        commit: of the checkout; "" when git could not say.
        secret_versions: setting = number that was in force.
        migrations: names of the files that its code knows, pre and post.
        at: when it was recorded, UTC.
        back_from: of a rollback, the release that served before it; "" of a deploy.
        database: the instance that a restore put in force; "" before the first.
        schema: names of the migrations that the database had; a rollback's entry has more of them than its code knows.
    """

    id: str
    image: str
    commit: str
    secret_versions: dict[str, str]
    migrations: tuple[str, ...]
    schema: tuple[str, ...]
    at: str
    back_from: str = ""
    database: str = ""


def bucket(project: str) -> str:
    """The bucket of the state, which has the record as well."""
    return f"{project}-terraform"


def object_name(environment: str) -> str:
    """Where the record lies in the state bucket."""
    return f"atlas/releases/{environment}.json"


def read(cloud: Cloud, bucket: str, environment: str) -> list[Recorded]:
    """Every release that is recorded, the oldest first; [] before the first.

    Raises:
        Refused: the record is damaged.
    """
    return _read(cloud, bucket, environment)[0]


def add(cloud: Cloud, bucket: str, environment: str, release: Recorded) -> bool:
    """Record what serves now; False: it is the newest entry already.

    Raises:
        Refused: it is damaged, or others keep writing it.
    """
    for _ in range(_TRIES):
        known, generation = _read(cloud, bucket, environment)
        if known:  # another deploy may have come in between, and its migrations with it: the database has them all
            release = replace(release, schema=tuple(sorted({*release.schema, *known[-1].schema})))
            if same(known[-1], release):
                return False
        text = json.dumps({"releases": [asdict(one) for one in [*known, release][-KEPT:]]}, indent=1)
        try:
            cloud.write_object(bucket, object_name(environment), text.encode(), generation)
        except ObjectChanged:
            continue
        return True
    raise Refused(
        Problem("the record of releases is being written by others", "wait for the other deploy, then this one again")
    )


def forget(cloud: Cloud, bucket: str, environment: str) -> None:
    """Empty the record, when nothing of the environment is there any more; the bucket keeps the old version.

    Raises:
        ObjectChanged: a deploy is under way.
    """
    known, generation = _read(cloud, bucket, environment)
    if known:
        cloud.write_object(bucket, object_name(environment), b'{"releases": []}', generation)


def same(one: Recorded, other: Recorded) -> bool:
    """The same in force, whenever it was recorded and of whichever commit."""
    return (one.id, one.image, one.secret_versions, one.schema, one.database) == (
        other.id,
        other.image,
        other.secret_versions,
        other.schema,
        other.database,
    )


def _read(cloud: Cloud, bucket: str, environment: str) -> tuple[list[Recorded], str | None]:
    found = cloud.read_object(bucket, object_name(environment))
    if found is None:
        return [], None
    try:
        return [_entry(one) for one in json.loads(found.content)["releases"]], found.generation
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refused(
            Problem(
                f"gs://{bucket}/{object_name(environment)} is not a record of releases",
                "put an older version of the object back: the bucket keeps versions",
            )
        ) from None


def _entry(one: dict[str, Any]) -> Recorded:
    return Recorded(
        id=str(one["id"]),
        image=str(one["image"]),
        commit=str(one["commit"]),
        secret_versions={str(setting): str(number) for setting, number in one["secret_versions"].items()},
        migrations=tuple(map(str, one["migrations"])),
        schema=tuple(map(str, one["schema"])),
        at=str(one["at"]),
        back_from=str(one["back_from"]),
        database=str(one.get("database", "")),
    )
