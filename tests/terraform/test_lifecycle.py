"""A whole life without a cloud: foundation, release, nothing to do, the next release, refusal to destroy, the end."""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest

from lib import function_table
from tests.terraform.conftest import PASSWORDS
from tests.terraform.planned import RefusedError, Terraform, Values

if TYPE_CHECKING:
    from pathlib import Path

USERS: Values = {"database_passwords": PASSWORDS, "database_password_version": 1}
FOUNDATION = "-target=module.platform.terraform_data.foundation"
SERVICES = len(function_table.load().functions)


@pytest.fixture(scope="module")
def deployed(tree: Path, values: Values, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """A second copy of prod, deployed in the two steps of the README."""
    root = tmp_path_factory.mktemp("deployed")
    shutil.copytree(tree.parents[1], root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".terraform*", "*.bin"))
    bundle = root / "source.zip"
    terraform = Terraform(root / "infra/terraform/environments/prod", values | {"bundle_path": str(bundle)})
    terraform.init()
    _deploy(terraform)
    return terraform


def _deploy(terraform: Terraform) -> None:
    terraform.apply(FOUNDATION, variables=USERS | {"secret_versions": {}})
    there = terraform.state()
    assert not [address for address in there if "google_cloud_run_v2" in address]
    assert 'module.platform.google_secret_manager_secret.main["DATABASE_URL"]' in there
    terraform.apply(variables=USERS)


def test_plan_after_apply_is_empty_without_the_passwords(deployed: Terraform) -> None:
    assert len([one for one in deployed.state() if one.endswith("google_cloud_run_v2_service.main")]) == SERVICES
    assert deployed.plan().changed == {}
    assert deployed.plan(variables=USERS).changed == {}


def test_no_state_holds_a_password(deployed: Terraform) -> None:
    text = "".join(path.read_text() for path in deployed.folder.glob("terraform.tfstate*"))
    assert "google_sql_user" in text
    assert not any(password in text for password in PASSWORDS.values())


def test_another_bundle_changes_the_release_and_nothing_else(deployed: Terraform, tmp_path: Path) -> None:
    bundle = tmp_path / "other.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("main.py", "# another release\n")
    changed = deployed.plan(variables={"bundle_path": str(bundle)}).changed
    assert {address for address, actions in changed.items() if actions != ["update"]} == {
        "module.platform.google_storage_bucket_object.source"
    }
    updated = {address.rpartition(".module.function[")[2] or address for address in changed}
    assert {address for address in updated if not address.endswith("google_cloud_run_v2_service.main")} == {
        "module.platform.google_storage_bucket_object.source",
        "module.platform.google_cloud_run_v2_job.migrate",
        "module.platform.terraform_data.foundation",
    }
    assert len(updated) == SERVICES + 3


def test_a_rotated_secret_changes_its_readers_alone(deployed: Terraform) -> None:
    versions = deployed.variables["secret_versions"] | {"TELEGRAM_WEBHOOK_SECRET": "2"}
    changed = deployed.plan(variables={"secret_versions": versions}).changed
    services = {address for address in changed if "google_cloud_run_v2_service" in address}
    assert services == {'module.platform.module.function["telegram_webhook"].google_cloud_run_v2_service.main'}
    assert changed.keys() - services == {"module.platform.terraform_data.secret_versions"}


def test_destroy_refuses_what_is_protected_and_works_once_protection_is_off(deployed: Terraform) -> None:
    with pytest.raises(RefusedError, match="deletion_protection is true"):
        deployed.run("destroy", "-no-color", "-auto-approve", strict=True)
    left = deployed.state()
    assert "module.platform.google_sql_database_instance.main" in left
    assert len([address for address in left if "google_secret_manager_secret.main" in address]) == 8
    # Some of what hangs on the services is gone by now; the same apply that takes protection off puts it back first.
    deployed.apply(variables={"protected": False})
    deployed.run("destroy", "-no-color", "-auto-approve", strict=True, variables={"protected": False})
    assert deployed.state() == []
    _deploy(deployed)  # there again, for whichever test comes next
