"""The deploy's port over infra.google, against the strict stand-in: what is made once, written under its generation, and read back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from infra.deploy import releases
from infra.deploy.cloud import ObjectChanged
from infra.deploy.google_cloud import GoogleCloud
from infra.deploy.steps import apis
from infra.google.client import Google as Client
from infra.google.client import GoogleError
from sandbox.google.stand_in import Google

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECT, REGION = "atlas-port-1", "europe-west1"
BUCKET = f"{PROJECT}-terraform"


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    state = tmp_path / "terraform.tfstate"
    limits = {"max_dispatches_per_second": 8, "max_concurrent_dispatches": 8}
    retry = {
        "max_attempts": 5,
        "max_retry_duration": "300s",
        "min_backoff": "2s",
        "max_backoff": "60s",
        "max_doublings": 5,
    }
    queue = {"name": "messages", "location": REGION, "rate_limits": [limits], "retry_config": [retry]}
    resource = {"type": "google_cloud_tasks_queue", "instances": [{"attributes": queue}]}
    state.write_text(json.dumps({"resources": [resource]}))
    with Google(tmp_path / "google", PROJECT, terraform_state=state) as served:
        for name, value in served.environment().items():
            monkeypatch.setenv(name, value)
        yield served


@pytest.fixture
def cloud(google: Google) -> GoogleCloud:  # noqa: ARG001 -- it is what is asked
    return GoogleCloud(Client(PROJECT), REGION)


def test_a_new_project_has_most_apis_off_and_they_are_turned_on_once(cloud: GoogleCloud) -> None:
    off = set(apis.NEEDED) - cloud.enabled_apis(apis.NEEDED)
    assert "cloudresourcemanager.googleapis.com" in off
    with pytest.raises(GoogleError) as refused:
        cloud.project()
    assert refused.value.api_disabled
    cloud.enable_apis(off)
    assert cloud.enabled_apis(apis.NEEDED) == set(apis.NEEDED)
    assert cloud.project().active
    assert cloud.billing_enabled()
    assert REGION in cloud.regions()
    assert not cloud.policy("sql.restrictPublicIp").enforced


def test_policies_are_read_as_they_are_in_force(google: Google, cloud: GoogleCloud) -> None:
    cloud.enable_apis(apis.NEEDED)
    google.cloud.set_facts(
        policies={
            "sql.restrictPublicIp": [{"enforce": True}],
            "run.allowedIngress": [{"denyAll": True}],
            "gcp.resourceLocations": [{"values": {"allowedValues": ["in:us-locations"]}}],
        }
    )
    assert cloud.policy("sql.restrictPublicIp").enforced
    assert cloud.policy("run.allowedIngress").denied is None
    assert cloud.policy("gcp.resourceLocations").allowed == frozenset({"in:us-locations"})


def test_a_record_is_written_under_its_generation(google: Google, cloud: GoogleCloud) -> None:
    cloud.enable_apis(apis.NEEDED)
    assert not cloud.has_bucket(BUCKET)
    cloud.make_bucket(BUCKET, REGION)
    assert cloud.has_bucket(BUCKET)
    assert cloud.read_object(BUCKET, "a/b.json") is None
    cloud.write_object(BUCKET, "a/b.json", b"1", None)
    found = cloud.read_object(BUCKET, "a/b.json")
    assert found is not None
    assert found.content == b"1"
    with pytest.raises(ObjectChanged):
        cloud.write_object(BUCKET, "a/b.json", b"2", None)
    cloud.write_object(BUCKET, "a/b.json", b"2", found.generation)
    with pytest.raises(ObjectChanged):
        cloud.write_object(BUCKET, "a/b.json", b"3", found.generation)
    entry = releases.Recorded("1" * 16, "i@sha256:1", "c", {}, (), (), "2026-11-30T12:00:00+00:00")
    assert releases.add(cloud, BUCKET, "dev", entry)
    assert not releases.add(cloud, BUCKET, "dev", entry)
    assert releases.read(cloud, BUCKET, "dev") == [entry]
    releases.forget(cloud, BUCKET, "dev")
    assert releases.read(cloud, BUCKET, "dev") == []
    assert "storage.objects.delete" not in google.requests


def test_work_on_a_queue_is_seen(google: Google, cloud: GoogleCloud) -> None:
    cloud.enable_apis(apis.NEEDED)
    assert not cloud.queue_holds_work("messages")
    assert not cloud.queue_holds_work("never-made")
    google.cloud.set_facts(tasks_waiting={"messages": 1})
    assert cloud.queue_holds_work("messages")
