"""A dry run of the README: its commands, a terminal, Terraform in strict mode, Google's and Telegram's stand-ins, no cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.google.stand_in import Google
from tests.deploy.dry_run import checkout
from tests.deploy.dry_run.dry_run import DryRun
from tests.deploy.dry_run.outside import Deployed, ServedTelegram
from tests.terraform.conftest import kit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["kit"]

_PROJECT = "atlas-offline-1"
# Named as what it is: the doctor has its own tests, and would ask of functions that do not run here.
_DOCTOR = """import sys
print("doctor: not part of the dry run:", *sys.argv[1:])
"""


@pytest.fixture
def dry_run(
    kit: None,  # noqa: ARG001 -- it skips where this can't be done
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[DryRun]:
    """A fresh checkout of prod, or of the environment and with the functions that the test's parameter says, and nothing deployed."""
    environment, functions = getattr(request, "param", ("prod", frozenset()))
    root = tmp_path_factory.mktemp("dry_run")
    folder = checkout.fresh(root / "atlas", functions=functions)
    doctor = folder / "infra" / "doctor"
    doctor.mkdir(exist_ok=True)
    (doctor / "__init__.py").touch()
    (doctor / "__main__.py").write_text(_DOCTOR)
    state = folder / "infra" / "terraform" / "environments" / environment / "terraform.tfstate"
    with (
        Google(root / "google", _PROJECT, terraform_state=state) as google,
        ServedTelegram(Deployed(folder, google.cloud)) as served,
    ):
        made = DryRun(folder, google, served, root / "tools", environment)
        made.lay_tools()
        yield made
