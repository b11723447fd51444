"""What operators' commands ask of Google, through the modules that ask it: each call once well, and the refusals they tell apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from infra.google import (
    billing,
    images,
    login,
    monitoring,
    policies,
    projects,
    queues,
    run,
    secrets,
    services,
    sql,
    storage,
)
from infra.google.client import Google, GoogleError
from infra.google.waiting import TookTooLong, until
from tests.sandbox.google import made
from tests.sandbox.google.conftest import stand_in_state

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.google import Google as StandIn

SOURCE = f"{made.PROJECT}-source"
CONFIG: dict[str, Any] = {
    "serviceAccount": f"projects/{made.PROJECT}/serviceAccounts/{made.BUILDER}",
    "steps": [{"name": "pack", "args": ["build"]}],
    "options": {"logging": "CLOUD_LOGGING_ONLY"},
    "timeout": "1200s",
}


def _built(google: Google, tmp_path: Path, tag: str) -> images.Build:
    """An image of a bundle of its own."""
    bundle = tmp_path / f"{tag}.zip"
    bundle.write_bytes(tag.encode())
    storage.upload(google, SOURCE, bundle.name, bundle)
    config = CONFIG | {"images": [f"{made.IMAGE}:{tag}"]}
    begun = images.build(google, made.REGION, config, bucket=SOURCE, name=bundle.name)
    assert begun.running
    return images.wait(google, made.REGION, begun.id)


def test_the_project_and_who_is_logged_in(google: Google, stand_in: StandIn) -> None:
    found = projects.get(google)
    assert (found.id, found.number, found.active) == (made.PROJECT, stand_in.cloud.number, True)
    assert login.email(google) == f"operator@{made.PROJECT}.iam.gserviceaccount.com"
    assert login.database_user(login.email(google)) == f"operator@{made.PROJECT}.iam"
    assert login.database_user("ann@example.org") == "ann@example.org"


def test_permissions_that_are_missing_are_named(google: Google, stand_in: StandIn) -> None:
    stand_in.cloud.set_facts(denied=["run.jobs.run"])
    assert projects.missing_permissions(google, ["run.jobs.run", "run.services.get"]) == ["run.jobs.run"]
    stand_in.cloud.set_facts(denied=[])


def test_apis_are_enabled_and_found_so(google: Google) -> None:
    assert services.enabled(google, ["run", "pubsub"]) == {"run": True, "pubsub": False}
    services.enable(google, ["pubsub", "run"])
    assert services.enabled(google, ["pubsub"]) == {"pubsub": True}


def test_billing_and_budgets(google: Google, stand_in: StandIn) -> None:
    assert billing.of_project(google) == billing.Billing("012345-6789AB-CDEF01", enabled=True)
    [budget] = billing.budgets(google, "012345-6789AB-CDEF01")
    assert (budget.amount, budget.currency, len(budget.channels)) == (300, "USD", 1)
    assert billing.budgets(google, "000000-000000-000000") == []
    stand_in.cloud.set_facts(billing="")
    assert not billing.of_project(google).enabled
    with pytest.raises(GoogleError) as caught:
        services.enable(google, ["dns"])
    assert caught.value.reason == "FAILED_PRECONDITION"
    stand_in.cloud.set_facts(billing="billingAccounts/012345-6789AB-CDEF01")


def test_policies_of_the_organisation(google: Google, stand_in: StandIn) -> None:
    assert policies.effective(google, "run.allowedIngress").allows("all")
    assert not policies.effective(google, "sql.restrictPublicIp").enforced
    rules = {
        "run.allowedIngress": [{"values": {"allowedValues": ["internal"]}}],
        "sql.restrictPublicIp": [{"enforce": True}],
        "iam.allowedPolicyMemberDomains": [{"denyAll": True}],
    }
    stand_in.cloud.set_facts(policies=rules)
    assert not policies.effective(google, "run.allowedIngress").allows("all")
    assert policies.effective(google, "sql.restrictPublicIp").enforced
    assert not policies.effective(google, "iam.allowedPolicyMemberDomains").allows("C0")
    stand_in.cloud.set_facts(policies={})


def test_a_bucket_is_made_once_and_keeps_versions(google: Google) -> None:
    assert storage.bucket(google, "atlas-made") is None
    made_now = storage.make_bucket(google, "atlas-made", "europe-west1")
    assert made_now == storage.Bucket("atlas-made", "EUROPE-WEST1", versioned=True, private=True)
    with pytest.raises(GoogleError) as caught:
        storage.make_bucket(google, "atlas-made", "europe-west1")
    assert caught.value.status == 409
    assert storage.keep_versions(google, "atlas-made").versioned
    storage.delete_bucket(google, "atlas-made")
    storage.delete_bucket(google, "atlas-made")
    assert storage.bucket(google, "atlas-made") is None


def test_an_object_is_put_once(google: Google, tmp_path: Path) -> None:
    bundle = tmp_path / "x.zip"
    bundle.write_bytes(b"one\r\n\r\n--two\0\xff" * 1000)
    assert storage.stored(google, SOURCE, "folder/x.zip") is None
    assert storage.upload(google, SOURCE, "folder/x.zip", bundle)
    kept = bundle.read_bytes()
    bundle.write_bytes(b"another")
    assert not storage.upload(google, SOURCE, "folder/x.zip", bundle)
    assert storage.download(google, SOURCE, "folder/x.zip") == kept
    assert [one.name for one in storage.objects(google, SOURCE, "folder/")] == ["folder/x.zip"]
    storage.delete_object(google, SOURCE, "folder/x.zip")
    storage.delete_object(google, SOURCE, "folder/x.zip")
    assert storage.objects(google, SOURCE, "folder/") == []


def test_a_secret_has_versions_whose_states_count(google: Google) -> None:
    assert secrets.versions(google, "health-key") == []
    first, second = (secrets.add_version(google, "health-key", value) for value in ("marked-one", "marked-two"))
    assert [one.number for one in secrets.versions(google, "health-key")] == ["2", "1"]
    assert secrets.access(google, "health-key", first.number) == "marked-one"
    assert secrets.access(google, "health-key") == "marked-two"
    assert secrets.disable(google, "health-key", second.number).state == "DISABLED"
    with pytest.raises(GoogleError, match="DISABLED state") as caught:
        secrets.access(google, "health-key")
    assert (caught.value.status, caught.value.reason) == (400, "FAILED_PRECONDITION")
    assert secrets.enable(google, "health-key", second.number).state == "ENABLED"
    assert secrets.version(google, "health-key", "latest").number == "2"
    for missing in (("health-key", "9"), ("no-such-secret", "1")):
        with pytest.raises(GoogleError) as caught:
            secrets.access(google, *missing)
        assert caught.value.missing
    for wrong in ("", "x" * 65_537):
        with pytest.raises(ValueError, match="1 to 65536 bytes"):
            secrets.add_version(google, "health-key", wrong)


def test_an_image_is_built_of_its_bundle_and_named_by_digest(google: Google, tmp_path: Path) -> None:
    assert images.digest(google, f"{made.IMAGE}:r1") is None
    ended = _built(google, tmp_path, "r1")
    assert ended.succeeded
    assert images.digest(google, f"{made.IMAGE}:r1") == ended.digests[f"{made.IMAGE}:r1"]
    assert images.digest(google, f"{made.IMAGE.replace('/atlas/', '/other/')}:r1") is None
    with pytest.raises(ValueError, match="no tagged image"):
        images.digest(google, "functions:r1")


def test_a_build_fails_in_words(google: Google, stand_in: StandIn, tmp_path: Path) -> None:
    config = CONFIG | {"images": [f"{made.IMAGE}:none"]}
    begun = images.build(google, made.REGION, config, bucket=SOURCE, name="nothing.zip")
    assert "No such object" in images.wait(google, made.REGION, begun.id).detail
    begun = images.build(google, made.REGION, config, bucket="another-bucket", name="nothing.zip")
    assert "storage.objects.get" in images.wait(google, made.REGION, begun.id).detail
    stand_in.cloud.faults.builds.append("step exited with non-zero status: 51")
    ended = _built(google, tmp_path, "broken")
    assert (ended.succeeded, ended.detail) == (False, "step exited with non-zero status: 51")
    assert images.digest(google, f"{made.IMAGE}:broken") is None


def test_a_service_serves_its_newest_revision_or_says_why_not(
    google: Google, stand_in: StandIn, tmp_path: Path
) -> None:
    state = stand_in_state(stand_in)
    digest = _built(google, tmp_path, "s1").digests[f"{made.IMAGE}:s1"]
    number = secrets.add_version(google, "database-url", "x").number
    pinned = f"{made.IMAGE}@{digest}"

    def deployed(image: str, number: str = number) -> run.Service:
        part = {"google_cloud_run_v2_service": [made.service("health", image, DATABASE_URL=number)]}
        made.write(state, made.foundation(), part)
        return run.service(google, made.REGION, "health")

    first = deployed(pinned)
    assert (first.serves_newest, first.image, first.settled) == (True, pinned, True)
    broken = deployed(f"{made.IMAGE}@sha256:{'0' * 64}")
    assert not broken.serves_newest
    assert "not found" in broken.why
    assert (broken.latest_ready, broken.latest_created != broken.latest_ready) == (first.latest_ready, True)
    assert "versions/7 was not found" in deployed(pinned, "7").why
    stand_in.cloud.faults.revisions["health"] = "The user-provided container failed to start and listen on the port"
    assert "failed to start" in deployed(f"{made.IMAGE}:s1").why
    again = deployed(pinned)
    assert again.serves_newest
    assert [one.name for one in run.settled_services(google, made.REGION)] == ["health"]
    with pytest.raises(GoogleError) as caught:
        run.service(google, made.REGION, "no-such")
    assert caught.value.missing


def test_the_migrate_job_is_run_and_waited_for(google: Google, stand_in: StandIn, tmp_path: Path) -> None:
    _built(google, tmp_path, "j1")
    number = secrets.add_version(google, "migrate-database-url", "x").number
    part = {"google_cloud_run_v2_job": [made.job(f"{made.IMAGE}:j1", MIGRATE_DATABASE_URL=number)]}
    made.write(stand_in_state(stand_in), made.foundation(), part)
    ran: list[list[str]] = []
    stand_in.cloud.run_job = ran.append
    arguments = ["--", "python", "-m", "lib.migrate", "--post"]
    for given in (None, arguments):
        ended = run.wait(google, run.run_job(google, made.REGION, "migrate", given), within_s=60)
        assert ended.succeeded
    assert ran == [[*arguments[:-1], "--pre"], arguments]
    stand_in.cloud.faults.executions.append("The container exited with code 1.")
    ended = run.wait(google, run.run_job(google, made.REGION, "migrate"), within_s=60)
    assert (ended.ended, ended.succeeded, ended.why) == (True, False, "The container exited with code 1.")
    assert run.executions(google, made.REGION, "migrate")[0] == ended
    stand_in.cloud.run_job = None


def test_a_job_whose_secret_is_disabled_fails(google: Google, stand_in: StandIn, tmp_path: Path) -> None:
    _built(google, tmp_path, "j2")
    number = secrets.add_version(google, "migrate-database-url", "x").number
    secrets.disable(google, "migrate-database-url", number)
    part = {"google_cloud_run_v2_job": [made.job(f"{made.IMAGE}:j2", MIGRATE_DATABASE_URL=number)]}
    made.write(stand_in_state(stand_in), made.foundation(), part)
    ended = run.wait(google, run.run_job(google, made.REGION, "migrate"), within_s=60)
    assert "DISABLED state" in ended.why


def test_the_instance_its_logins_and_a_copy_of_it(google: Google, stand_in: StandIn) -> None:
    found = sql.instance(google, "atlas")
    assert (found.state, found.recovery_days, found.networks, found.disk_limit_gb) == ("RUNNABLE", 7, (), 100)
    assert found.flags["max_connections"] == "400"
    assert {one.name: one.kind for one in sql.users(google, "atlas")} == {
        "atlas_owner": "BUILT_IN",
        "engineers@example.org": "CLOUD_IAM_GROUP",
    }
    sql.set_password(google, "atlas", "atlas_owner", "marked-password")
    assert "marked-password" not in (stand_in.folder / "google.json").read_text()
    for user, said in (("nothing", "does not exist"), ("engineers@example.org", "has no password")):
        with pytest.raises(GoogleError, match=said) as caught:
            sql.set_password(google, "atlas", user, "marked-password")
        assert "marked-password" not in str(caught.value)
    moment = (datetime.now(UTC) - timedelta(minutes=5)).isoformat(timespec="seconds").replace("+00:00", "Z")
    sql.clone(google, "atlas", "atlas-2", moment)
    assert sql.instance(google, "atlas-2").tier == found.tier
    with pytest.raises(GoogleError, match="already exists"):
        sql.clone(google, "atlas", "atlas-2", None)
    stand_in.cloud.set_facts(backups=[{"status": "SUCCESSFUL", "endTime": moment}])
    assert sql.backups(google, "atlas") == [sql.Backup("SUCCESSFUL", moment)]


def test_queues_and_schedules(google: Google, stand_in: StandIn) -> None:
    [queue] = queues.queues(google, made.REGION)
    assert (queue.name, queue.state, queue.rate_per_second, queue.max_attempts) == ("payments", "RUNNING", 100, 9)
    [schedule] = queues.schedules(google, made.REGION)
    assert (schedule.name, schedule.last_attempt, schedule.state) == ("sweep-expiry", "", "ENABLED")
    told = {"sweep-expiry": {"state": "PAUSED", "last_attempt": "2026-11-30T12:00:00Z", "code": 7}}
    stand_in.cloud.set_facts(paused_queues=["payments"], scheduler_jobs=told)
    assert queues.queues(google, made.REGION)[0].state == "PAUSED"
    [schedule] = queues.schedules(google, made.REGION)
    assert (schedule.state, schedule.last_attempt, schedule.last_code) == ("PAUSED", "2026-11-30T12:00:00Z", 7)


def test_alerts_their_addressees_and_a_figure(google: Google, stand_in: StandIn) -> None:
    [channel] = monitoring.channels(google)
    [alert] = monitoring.alerts(google)
    assert alert.channels == (channel.name,)
    assert channel.labels == {"email_address": "oncall@example.org"}
    point = {"interval": {"endTime": "2026-11-30T12:00:00Z"}, "value": {"int64Value": "3"}}
    row = {"resource": {"type": "cloud_tasks_queue", "labels": {"queue_id": "payments"}}, "points": [point]}
    stand_in.cloud.set_facts(series={"cloudtasks.googleapis.com/queue/depth": [row]})
    now = datetime.now(UTC)
    depth = monitoring.newest(
        google, "cloudtasks.googleapis.com/queue/depth", since=now - timedelta(minutes=5), until=now
    )
    assert depth == [monitoring.Series({"queue_id": "payments"}, 3.0)]


def test_lists_go_on_over_pages(google: Google, stand_in: StandIn) -> None:
    part = {"google_cloud_run_v2_service": [made.service(f"s{number:03}", "x") for number in range(230)]}
    made.write(stand_in_state(stand_in), made.foundation(), part)
    assert len(run.services(google, made.REGION)) == 230
    assert stand_in.requests == ["run.projects.locations.services.list"] * 3


def test_a_passing_failure_is_asked_again_where_that_may_be(
    google: Google, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("googleapiclient.http.time.sleep", pauses.append)
    stand_in.cloud.faults.refuse("cloudresourcemanager.projects.get", 503, times=2)
    stand_in.cloud.faults.refuse("cloudresourcemanager.projects.get", 429)
    assert projects.get(google).active
    assert len(pauses) == 3
    stand_in.cloud.faults.refuse("secretmanager.projects.secrets.addVersion", 503)
    with pytest.raises(GoogleError) as caught:
        secrets.add_version(google, "health-key", "marked-value")
    assert caught.value.status == 503
    assert "marked-value" not in str(caught.value)
    assert len(pauses) == 3


def test_an_api_that_is_off_is_told_apart(google: Google, stand_in: StandIn) -> None:
    made.write(stand_in_state(stand_in), {})
    with pytest.raises(GoogleError, match="before or it is disabled") as caught:
        queues.queues(google, made.REGION)
    assert (caught.value.status, caught.value.api_disabled) == (403, True)


def test_waiting_ends_at_its_limit(google: Google) -> None:  # noqa: ARG001 - the stand-in's short pauses
    with pytest.raises(TookTooLong, match="the thing has not ended after 0 s"):
        until(lambda: 1, lambda _seen: False, what="the thing", within_s=0)
