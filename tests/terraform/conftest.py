"""A plan of the prod environment, made without a cloud; and what is skipped where that can't be done."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from infra.bundle import build
from infra.terraform.check import copied
from tests.terraform.planned import Plan, Terraform, Values

PASSWORDS = {"owner": "marked-owner-password-000000", "functions": "marked-functions-password-00"}
USERS: Values = {"database_passwords": PASSWORDS, "database_password_version": 1}
"""What the first apply is given besides, when it makes the database's users."""
RELEASE = {
    "id": "0123456789abcdef",
    "image": f"europe-west1-docker.pkg.dev/atlas-prod-123456/atlas/functions@sha256:{'0123456789abcdef' * 4}",
}


@pytest.fixture(scope="session")
def kit() -> None:
    """Terraform, and providers that plan and apply without a cloud; else a skip by name."""
    if shutil.which("terraform") is None:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail("no terraform (>= 1.11) on PATH")
        pytest.skip("terraform: not on PATH")
    configuration = Path(os.environ.get("TF_CLI_CONFIG_FILE") or "/nonexistent")
    if not configuration.exists() or "filesystem_mirror" not in configuration.read_text():
        pytest.skip("terraform plan and apply: no offline providers (TF_CLI_CONFIG_FILE)")


@pytest.fixture(scope="session")
def tree(kit: None, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 -- kit skips where this can't be done
    """A copy of what Terraform reads, with a bundle: the folder of Terraform."""
    folder = tmp_path_factory.mktemp("terraform")
    build(folder / "source.zip")
    return copied(folder)


@pytest.fixture(scope="session")
def values(tree: Path) -> Values:
    """Every variable of an environment, well chosen."""
    return {
        "alert_emails": ["oncall@example.org"],
        "budget": {"billing_account": "012345-6789AB-CDEF01", "amount": 300},
        "bundle_path": str(tree.parents[1] / "source.zip"),
        "domain": "vpn.example.org",
        "project_id": "atlas-prod-123456",
        "region": "europe-west1",
        "release": RELEASE,
        "runbooks_url": "https://example.org/runbooks",
        "settings": {
            "TELEGRAM_BOT_USERNAME": "atlas_bot",
            "XRAY_API_URL": "https://node1.example.org:8443",
            "XRAY_API_PIN": "0a" * 32,
        },
        "secret_versions": {
            "CRYPTOPAY_TOKEN": "1",
            "DATABASE_URL": "2",
            "HEALTH_KEY": "1",
            "LEDGER_EXPORT_KEY": "1",
            "MIGRATE_DATABASE_URL": "1",
            "TELEGRAM_BOT_TOKEN": "3",
            "TELEGRAM_PROVIDER_TOKEN": "1",
            "TELEGRAM_WEBHOOK_SECRET": "1",
            "XRAY_API_KEY": "1",
            "NODE_MASTER_KEYS": "1",
        },
    }


@pytest.fixture(scope="session")
def prod(tree: Path, values: Values) -> Terraform:
    """The prod environment, nothing applied."""
    terraform = Terraform(tree / "environments" / "prod", values, shared=True)
    terraform.init()
    return terraform


@pytest.fixture(scope="module")
def own_prod(tree: Path, values: Values, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """A copy of the prod environment that one module has for itself, to apply in."""
    root = tmp_path_factory.mktemp("own")
    shutil.copytree(tree.parents[1], root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".terraform*", "*.bin"))
    terraform = Terraform(root / "infra/terraform/environments/prod", values)
    terraform.init()
    return terraform


@pytest.fixture(scope="session")
def plan(prod: Terraform) -> Plan:
    """The plan of a first deploy, with the passwords that it needs."""
    return prod.plan(variables=USERS)


@pytest.fixture(scope="session")
def platform(tree: Path, values: Values) -> Terraform:
    """The platform module by itself, so that a test can give it another table."""
    terraform = Terraform(
        tree / "modules" / "platform",
        values | USERS | {"environment": "prod", "database": {"tier": "db-custom-2-7680"}},
    )
    terraform.init()
    return terraform
