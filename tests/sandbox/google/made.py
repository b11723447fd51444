"""A state file as Terraform writes one, with the few resources that the stand-in looks at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = "atlas-test-123456"
REGION = "europe-west1"
BUILDER = f"image-build@{PROJECT}.iam.gserviceaccount.com"
IMAGE = f"{REGION}-docker.pkg.dev/{PROJECT}/atlas/functions"
APIS = (
    "artifactregistry",
    "billingbudgets",
    "cloudbilling",
    "cloudbuild",
    "cloudresourcemanager",
    "cloudscheduler",
    "cloudtasks",
    "orgpolicy",
    "run",
    "secretmanager",
    "sqladmin",
)


def container(image: str, **secrets: str) -> dict[str, Any]:
    """One container; `secrets`: setting = version."""
    environment: list[dict[str, Any]] = [{"name": "LOG_LEVEL", "value": "INFO", "value_source": []}]
    for setting, number in secrets.items():
        reference = {"secret": setting.lower().replace("_", "-"), "version": number}
        environment.append({"name": setting, "value": "", "value_source": [{"secret_key_ref": [reference]}]})
    return {"image": image, "env": environment, "command": None, "args": None}


def service(name: str, image: str, **secrets: str) -> dict[str, Any]:
    """A Cloud Run service."""
    template = {"service_account": f"fn-{name}@x", "containers": [container(image, **secrets)]}
    return {"name": name, "location": REGION, "ingress": "INGRESS_TRAFFIC_ALL", "template": [template]}


def job(image: str, **secrets: str) -> dict[str, Any]:
    """The job that migrates."""
    one = container(image, **secrets) | {"args": ["--", "python", "-m", "lib.migrate", "--pre"]}
    template = {"service_account": "migrate@x", "timeout": "900s", "containers": [one]}
    return {"name": "migrate", "location": REGION, "template": [{"template": [template]}]}


def foundation() -> dict[str, list[dict[str, Any]]]:
    """What is there before the first image: type = attributes of each."""
    return {
        "google_project_service": [{"service": f"{one}.googleapis.com"} for one in APIS],
        "google_service_account": [{"email": BUILDER}],
        "google_secret_manager_secret": [
            {"secret_id": one} for one in ("database-url", "health-key", "migrate-database-url")
        ],
        "google_artifact_registry_repository": [
            {"repository_id": "atlas", "location": REGION, "docker_config": [{"immutable_tags": True}]}
        ],
        "google_artifact_registry_repository_iam_member": [
            {"member": f"serviceAccount:{BUILDER}", "role": "roles/artifactregistry.writer"}
        ],
        "google_storage_bucket": [
            {"name": f"{PROJECT}-source", "location": REGION, "versioning": [{"enabled": True}]},
        ],
        "google_storage_bucket_iam_member": [
            {
                "bucket": f"{PROJECT}-source",
                "member": f"serviceAccount:{BUILDER}",
                "role": "roles/storage.objectViewer",
            }
        ],
        "google_sql_database_instance": [
            {
                "name": "atlas",
                "region": REGION,
                "database_version": "POSTGRES_18",
                "settings": [
                    {
                        "tier": "db-custom-2-7680",
                        "disk_size": 10,
                        "disk_autoresize": True,
                        "disk_autoresize_limit": 100,
                        "deletion_protection_enabled": True,
                        "database_flags": [{"name": "max_connections", "value": "400"}],
                        "backup_configuration": [
                            {
                                "enabled": True,
                                "point_in_time_recovery_enabled": True,
                                "transaction_log_retention_days": 7,
                            }
                        ],
                        "ip_configuration": [{"ipv4_enabled": True, "authorized_networks": []}],
                    }
                ],
            }
        ],
        "google_sql_user": [
            {"name": "atlas_owner", "instance": "atlas", "type": ""},
            {"name": "engineers@example.org", "instance": "atlas", "type": "CLOUD_IAM_GROUP"},
        ],
    }


def rest() -> dict[str, list[dict[str, Any]]]:
    """What the whole apply adds beside services and the job."""
    return {
        "google_cloud_tasks_queue": [
            {
                "name": "payments",
                "location": REGION,
                "rate_limits": [{"max_dispatches_per_second": 100, "max_concurrent_dispatches": 20}],
                "retry_config": [
                    {
                        "max_attempts": 9,
                        "max_retry_duration": "600s",
                        "min_backoff": "1s",
                        "max_backoff": "60s",
                        "max_doublings": 6,
                    }
                ],
            }
        ],
        "google_cloud_scheduler_job": [
            {
                "name": "sweep-expiry",
                "region": REGION,
                "schedule": "* * * * *",
                "time_zone": "Etc/UTC",
                "attempt_deadline": "180s",
                "http_target": [{"uri": "https://sweep-expiry.example", "http_method": "POST"}],
            }
        ],
        "google_monitoring_notification_channel": [
            {
                "name": f"projects/{PROJECT}/notificationChannels/1",
                "type": "email",
                "display_name": "on call",
                "labels": {"email_address": "oncall@example.org"},
                "enabled": True,
            }
        ],
        "google_monitoring_alert_policy": [
            {
                "name": f"projects/{PROJECT}/alertPolicies/1",
                "display_name": "a sweep is silent",
                "combiner": "OR",
                "conditions": [{"display_name": "none in five minutes"}],
                "notification_channels": [f"projects/{PROJECT}/notificationChannels/1"],
            }
        ],
        "google_billing_budget": [
            {
                "name": "1",
                "billing_account": "012345-6789AB-CDEF01",
                "display_name": "prod",
                "amount": [{"specified_amount": [{"currency_code": "USD", "units": "300"}]}],
                "budget_filter": [{"projects": ["projects/1"]}],
                "threshold_rules": [{"threshold_percent": 0.5, "spend_basis": "CURRENT_SPEND"}],
                "all_updates_rule": [
                    {"monitoring_notification_channels": [f"projects/{PROJECT}/notificationChannels/1"]}
                ],
            }
        ],
    }


def write(path: Path, *parts: dict[str, list[dict[str, Any]]]) -> None:
    """Write the state file: every part's resources."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        for kind, found in part.items():
            rows.setdefault(kind, []).extend(found)
    resources = [
        {"mode": "managed", "type": kind, "instances": [{"attributes": one} for one in found]}
        for kind, found in rows.items()
    ]
    path.write_text(json.dumps({"version": 4, "resources": resources}))
