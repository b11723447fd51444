"""A whole life without a cloud: foundation, release, nothing to do, the next release, refusal to destroy, the end."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from lib import function_table
from tests.terraform.conftest import PASSWORDS, RELEASE, USERS
from tests.terraform.planned import RefusedError, Terraform

if TYPE_CHECKING:
    from pathlib import Path

FOUNDATION = "-target=module.platform.terraform_data.foundation"
SERVICES = len(function_table.load().functions)


@pytest.fixture(scope="module")
def deployed(own_prod: Terraform) -> Terraform:
    """A copy of prod, deployed in the two steps of the README."""
    _deploy(own_prod)
    return own_prod


def _deploy(terraform: Terraform) -> None:
    terraform.apply(FOUNDATION, variables=USERS | {"secret_versions": {}, "release": None})
    there = terraform.state()
    assert not [address for address in there if "google_cloud_run_v2" in address]
    assert 'module.platform.google_secret_manager_secret.main["DATABASE_URL"]' in there
    terraform.apply()


def test_plan_after_apply_is_empty_without_the_passwords(deployed: Terraform) -> None:
    assert len([one for one in deployed.state() if one.endswith("google_cloud_run_v2_service.main")]) == SERVICES
    assert deployed.plan().changed == {}
    assert deployed.plan(variables=USERS).changed == {}


def test_users_are_never_made_without_passwords(deployed: Terraform) -> None:
    """Not when the instance is another one either; and nothing is asked for once they are there."""
    with pytest.raises(RefusedError, match="two users are to be made, and have no passwords"):
        deployed.plan("-replace=module.platform.terraform_data.passwords[0]")


def test_no_state_holds_a_password(deployed: Terraform) -> None:
    text = "".join(path.read_text() for path in deployed.folder.glob("terraform.tfstate*"))
    assert "google_sql_user" in text
    assert not any(password in text for password in PASSWORDS.values())


def _another_bundle(folder: Path) -> str:
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("main.py", "# another release\n")
    return str(folder / "other.zip")


def test_the_build_of_a_second_release_is_told_after_its_foundation(deployed: Terraform, tmp_path: Path) -> None:
    """Each output by itself: one of all would keep the first release's values under -target."""
    before = json.loads(deployed.run("output", "-json", "build"))
    deployed.apply(FOUNDATION, variables={"bundle_path": _another_bundle(tmp_path)})
    after = json.loads(deployed.run("output", "-json", "build"))
    deployed.apply(FOUNDATION)
    assert after["release"] != before["release"]
    assert after["source"]["object"] == f"source-{after['release']}.zip"
    assert json.loads(deployed.run("output", "-json", "build")) == before


def test_another_release_changes_what_runs_and_nothing_else(deployed: Terraform, tmp_path: Path) -> None:
    release = {"id": "fedcba9876543210", "image": RELEASE["image"].replace("0123", "3210")}
    changed = deployed.plan(variables={"bundle_path": _another_bundle(tmp_path), "release": release}).changed
    assert {address for address, actions in changed.items() if actions != ["update"]} == {
        "module.platform.google_storage_bucket_object.source"
    }
    updated = {address.rpartition(".module.function[")[2] or address for address in changed}
    assert {address for address in updated if not address.endswith("google_cloud_run_v2_service.main")} == {
        "module.platform.google_storage_bucket_object.source",
        "module.platform.google_cloud_run_v2_job.migrate",
        "module.platform.terraform_data.foundation",
        "module.platform.terraform_data.release",
    }
    assert len(updated) == SERVICES + 4


def test_a_rollback_changes_no_more_than_the_image(deployed: Terraform) -> None:
    release = {"id": "fedcba9876543210", "image": RELEASE["image"].replace("0123", "3210")}
    changed = deployed.plan(variables={"release": release}).changed
    assert all(actions == ["update"] for actions in changed.values())
    assert len([address for address in changed if address.endswith("google_cloud_run_v2_service.main")]) == SERVICES
    assert len(changed) == SERVICES + 2  # and the migrate job, and the record


def test_a_service_that_failed_to_start_is_replaced(deployed: Terraform) -> None:
    """The provider marks it; what is marked is destroyed and made anew by the next apply."""
    address = 'module.platform.module.function["health"].google_cloud_run_v2_service.main'
    deployed.run("taint", address)
    deployed.apply()
    assert deployed.plan().changed == {}


def test_a_row_may_be_renamed(deployed: Terraform) -> None:
    """The service of the old name goes with all that hung on it; the database stays protected."""
    table = deployed.folder.parents[3] / "functions/table.json"
    before = table.read_text()
    table.write_text(before.replace('"task_notify"', '"task_deliver"'))
    deployed.apply()
    assert 'module.platform.module.function["task_deliver"].google_cloud_run_v2_service.main' in deployed.state()
    table.write_text(before)
    deployed.apply()
    assert deployed.plan().changed == {}


def test_what_is_there_can_be_taken_over(deployed: Terraform) -> None:
    """`terraform import` reads every for_each before anything is known."""
    address = 'module.platform.google_cloud_tasks_queue.main["messages"]'
    deployed.run("state", "rm", address)
    project, region = deployed.variables["project_id"], deployed.variables["region"]
    deployed.run("import", "-no-color", address, f"projects/{project}/locations/{region}/queues/messages")
    deployed.apply()
    assert deployed.plan().changed == {}


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
    assert "module.platform.google_sql_database_instance.main[0]" in left
    assert len([address for address in left if "google_secret_manager_secret.main" in address]) == 10
    # Some of what hangs on the services is gone by now; the same apply that takes protection off puts it back first.
    deployed.apply(variables={"protected": False} | USERS)
    deployed.run("destroy", "-no-color", "-auto-approve", strict=True, variables={"protected": False})
    assert deployed.state() == []
    _deploy(deployed)  # there again, for whichever test comes next
