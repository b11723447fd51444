"""A dry run of the README: its commands, a terminal, Terraform in strict mode, Google's and Telegram's stand-ins, no cloud."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from sandbox.google.stand_in import Google
from sandbox.postgres.server import Postgres
from tests.deploy.dry_run import checkout
from tests.deploy.dry_run.dry_run import DryRun
from tests.deploy.dry_run.instance import Instance
from tests.deploy.dry_run.outside import Deployed, ServedTelegram
from tests.terraform.conftest import kit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["kit"]

_PROJECT = "atlas-offline-1"
# Named as what it is: the doctor has its own tests, and would ask of functions that do not run here.
_DOCTOR = """import sys
print("doctor: not part of the dry run:", *sys.argv[1:])
"""

# As above: no database is here that could be bought in.
_PURCHASE = """import sys
print("purchase: not part of the dry run:", *sys.argv[1:])
"""


@pytest.fixture
def dry_run(
    kit: None,  # noqa: ARG001 -- it skips where this can't be done
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[DryRun]:
    """A fresh checkout of prod, or of the environment and with the functions that the test's parameter says, and nothing deployed."""
    environment, functions = getattr(request, "param", ("prod", frozenset()))
    with _begun(tmp_path_factory.mktemp("dry_run"), environment, functions) as made:
        yield made


@pytest.fixture
def with_doctor(
    kit: None,  # noqa: ARG001 -- as above
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DryRun]:
    """Prod with the real doctor at the end of a deploy, and a database that is migrated and that the webhook's function writes to."""
    root = tmp_path_factory.mktemp("dry_run")
    with Postgres(root / "postgres", durable=False) as server, _begun(root, "prod", frozenset(), doctor=None) as made:
        instance = Instance(server, made.google.cloud, made.checkout)
        made.served.deployed.database = lambda: instance.url("atlas_functions")
        with instance.serving():
            yield made


@contextmanager
def _begun(
    root: Path, environment: str, functions: frozenset[str], *, doctor: str | None = _DOCTOR
) -> Iterator[DryRun]:
    """Args: doctor: a program in the doctor's place; None: itself."""
    folder = checkout.fresh(root / "atlas", functions=functions)
    if doctor is not None:
        (folder / "infra" / "doctor" / "__main__.py").write_text(doctor)
        (folder / "infra" / "release_purchase.py").write_text(_PURCHASE)
    state = folder / "infra" / "terraform" / "environments" / environment / "terraform.tfstate"
    with (
        Google(root / "google", _PROJECT, terraform_state=state) as google,
        ServedTelegram(Deployed(folder, google.cloud)) as served,
    ):
        made = DryRun(folder, google, served, root / "tools", environment)
        made.lay_tools()
        yield made
