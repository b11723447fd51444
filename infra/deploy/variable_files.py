"""The files of variables that the commands write beside terraform.tfvars; Terraform reads them by itself.

`secrets.auto.tfvars.json` says which version of each secret is in force, `release.auto.tfvars.json` which image runs,
`database.auto.tfvars.json` which instance is the database, once one was restored; git takes this one alone. None holds a secret.
All can be had again: from the record of releases, or from what Secret Manager holds.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECRETS = "secrets.auto.tfvars.json"
RELEASE = "release.auto.tfvars.json"
DATABASE = "database.auto.tfvars.json"
BEGUN_ROTATIONS = "rotate.begun.json"


@dataclass(frozen=True, slots=True)
class Release:
    """What runs: the id that names all its inputs, and the image by digest.

    Attributes:
        back_from: of a rollback that is under way, the release that served when it began; Terraform passes it over.
    """

    id: str
    image: str
    back_from: str = ""


def release(folder: Path) -> Release | None:
    """What the folder says runs.

    Raises:
        Refused: the file is damaged.
    """
    found = _read(folder / RELEASE).get("release")
    if found is None:
        return None
    try:
        return Release(str(found["id"]), str(found["image"]), str(found.get("back_from", "")))
    except (KeyError, TypeError, AttributeError):
        raise Refused(_damaged(folder / RELEASE)) from None


def write_release(folder: Path, value: Release) -> None:
    """Say what runs."""
    told = {"id": value.id, "image": value.image} | ({"back_from": value.back_from} if value.back_from else {})
    _write(folder / RELEASE, {"release": told})


def secret_versions(folder: Path) -> dict[str, str] | None:
    """Setting = number; None: there is no file.

    Raises:
        Refused: the file is damaged.
    """
    found = _read(folder / SECRETS).get("secret_versions")
    if found is None:
        return None
    if not isinstance(found, dict):
        raise Refused(_damaged(folder / SECRETS))
    return {str(setting): str(number) for setting, number in found.items()}


def write_secret_versions(folder: Path, versions: Mapping[str, str]) -> None:
    """Say which version of each secret is in force."""
    _write(folder / SECRETS, {"secret_versions": dict(sorted(versions.items()))})


def database_name(folder: Path) -> str:
    """The instance that a restore put in force; "" before the first.

    Raises:
        Refused: the file is damaged.
    """
    found = _read(folder / DATABASE).get("database_name", "")
    if not isinstance(found, str):
        raise Refused(_damaged(folder / DATABASE))
    return found


def write_database_name(folder: Path, name: str) -> None:
    """Say which instance is the database."""
    _write(folder / DATABASE, {"database_name": name})


def begun_rotations(folder: Path) -> dict[str, str]:
    """Rotations that did not come to their end here: setting = SHA-256 of its new value, which tells the version of that command.

    Raises:
        Refused: the file is damaged.
    """
    found = _read(folder / BEGUN_ROTATIONS)
    return {str(setting): str(digest) for setting, digest in found.items()}


def write_begun_rotations(folder: Path, begun: Mapping[str, str]) -> None:
    """Say which rotations are under way. No variables: Terraform does not read the file."""
    if begun:
        _write(folder / BEGUN_ROTATIONS, dict(begun))
    else:
        (folder / BEGUN_ROTATIONS).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        raise Refused(_damaged(path)) from None
    if not isinstance(found, dict):
        raise Refused(_damaged(path))
    return found


def _damaged(path: Path) -> Problem:
    return Problem(f"{path} is not what the commands wrote", f"rm {path}: it is made again from what is known")


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all: a command that is stopped here leaves the old file."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
