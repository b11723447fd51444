"""A stand-in with what Terraform made, and this process logged in there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.google.client import Google
from sandbox.google import Google as StandIn
from tests.sandbox.google import made

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stand-in keeps its state; `terraform.tfstate` is beside it."""
    place = tmp_path_factory.mktemp("google")
    made.write(place / "terraform.tfstate", made.foundation(), made.rest())
    return place


@pytest.fixture(scope="module")
def stand_in(folder: Path) -> Iterator[StandIn]:
    """One for a module: each test has names of its own."""
    with StandIn(folder / "state", made.PROJECT, terraform_state=folder / "terraform.tfstate") as one:
        yield one


@pytest.fixture(scope="module")
def one_google() -> Google:
    """One for a module: its clients take a while to make."""
    return Google(made.PROJECT)


@pytest.fixture
def google(one_google: Google, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    """As a command has it, through the very library and its login."""
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_QUOTA_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in stand_in.environment().items():
        monkeypatch.setenv(name, value)
    stand_in.requests.clear()
    yield one_google
    stand_in.cloud.faults.refusals.clear()
    made.write(stand_in_state(stand_in), made.foundation(), made.rest())


def stand_in_state(stand_in: StandIn) -> Path:
    """The state file that it looks at."""
    return stand_in.folder.parent / "terraform.tfstate"
