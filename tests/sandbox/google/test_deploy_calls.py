"""What a deploy asks of Google (infra/deploy/google_cloud.py) is what the documents allow, and the answers mean what it takes them for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from infra.deploy.cloud import ObjectChanged, Running, Service
from infra.deploy.google_cloud import GoogleCloud
from infra.google.client import Google, GoogleError
from tests.sandbox.google import made
from tests.sandbox.google.conftest import stand_in_state

if TYPE_CHECKING:
    from sandbox.google import Google as StandIn
    from sandbox.google.cloud import Cloud

SOURCE = f"{made.PROJECT}-source"
REQUEST: dict[str, Any] = {
    "serviceAccount": f"projects/{made.PROJECT}/serviceAccounts/{made.BUILDER}",
    "steps": [{"name": "pack", "args": ["build"]}],
    "options": {"logging": "CLOUD_LOGGING_ONLY"},
    "timeout": "1200s",
}
PRE, POST = (["--", "python", "-m", "lib.migrate", f"--{kind}"] for kind in ("pre", "post"))


@pytest.fixture
def deploy(google: Google) -> GoogleCloud:
    return GoogleCloud(google, made.REGION)


def _ended(deploy: GoogleCloud, cloud: Cloud, name: str, job: str | None = None) -> Running:
    """A build, or a run of a job, when it has ended."""
    for _ in range(cloud.polls + 1):
        seen = deploy.build(name) if job is None else deploy.job_run(name)
        if seen.outcome != "running":
            return seen
    raise AssertionError(f"{name} does not end")


def _built(deploy: GoogleCloud, cloud: Cloud, tag: str, **changed: Any) -> Running:
    """A build of a bundle of its own."""
    deploy.write_object(SOURCE, f"{tag}.zip", tag.encode(), None)
    source = {"storageSource": {"bucket": SOURCE, "object": f"{tag}.zip"}}
    request = REQUEST | {"source": source, "images": [f"{made.IMAGE}:{tag}"], "tags": [tag]} | changed
    return _ended(deploy, cloud, deploy.start_build(request))


def test_it_looks_before_it_touches(deploy: GoogleCloud, stand_in: StandIn) -> None:
    assert deploy.login() == stand_in.cloud.operator
    assert (deploy.project().number, deploy.project().active) == (stand_in.cloud.number, True)
    assert deploy.billing_enabled()
    assert made.REGION in deploy.regions()
    wanted = [f"{one}.googleapis.com" for one in (*made.APIS, "dns")]
    assert deploy.enabled_apis(wanted) == frozenset(wanted[:-1])
    stand_in.cloud.set_facts(billing="")
    assert not deploy.billing_enabled()
    with pytest.raises(GoogleError) as caught:
        deploy.enable_apis(["dns.googleapis.com"])
    assert caught.value.reason == "FAILED_PRECONDITION"
    stand_in.cloud.set_facts(billing="billingAccounts/012345-6789AB-CDEF01")
    deploy.enable_apis(["dns.googleapis.com", "run.googleapis.com"])
    assert deploy.enabled_apis(wanted) == frozenset(wanted)


def test_policies_of_the_organisation(deploy: GoogleCloud, stand_in: StandIn) -> None:
    free = deploy.policy("run.allowedIngress")
    assert (free.allowed, free.denied, free.enforced) == (None, frozenset(), False)
    assert not deploy.policy("sql.restrictPublicIp").enforced
    rules = {
        "run.allowedIngress": [{"values": {"allowedValues": ["internal"]}}],
        "sql.restrictPublicIp": [{"enforce": True}],
        "iam.allowedPolicyMemberDomains": [{"denyAll": True}],
    }
    stand_in.cloud.set_facts(policies=rules)
    assert deploy.policy("run.allowedIngress").allowed == frozenset({"internal"})
    assert deploy.policy("sql.restrictPublicIp").enforced
    assert deploy.policy("iam.allowedPolicyMemberDomains").denied is None
    stand_in.cloud.set_facts(policies={})


def test_an_api_that_is_off_is_told_apart(deploy: GoogleCloud, stand_in: StandIn) -> None:
    made.write(stand_in_state(stand_in), {})
    with pytest.raises(GoogleError, match="before or it is disabled") as caught:
        deploy.queue_holds_work("payments")
    assert (caught.value.status, caught.value.api_disabled) == (403, True)


def test_a_bucket_is_made_once(deploy: GoogleCloud, stand_in: StandIn) -> None:
    assert not deploy.has_bucket("atlas-made")
    deploy.make_bucket("atlas-made", "europe-west1")
    assert deploy.has_bucket("atlas-made")
    row = stand_in.cloud.store.table("buckets")["atlas-made"]
    assert (row["location"], row["versioning"]) == ("EUROPE-WEST1", {"enabled": True})
    with pytest.raises(GoogleError) as caught:
        deploy.make_bucket("atlas-made", "europe-west1")
    assert caught.value.status == 409


def test_an_object_is_written_over_what_was_read_and_nothing_else(deploy: GoogleCloud) -> None:
    content = b"one\r\n\r\n--two\0\xff" * 1000
    assert deploy.read_object(SOURCE, "deploy/state.json") is None
    deploy.write_object(SOURCE, "deploy/state.json", content, None)
    first = deploy.read_object(SOURCE, "deploy/state.json")
    assert first is not None
    assert first.content == content
    deploy.write_object(SOURCE, "deploy/state.json", b"next", first.generation)
    for stale in (first.generation, None):
        with pytest.raises(ObjectChanged):
            deploy.write_object(SOURCE, "deploy/state.json", b"late", stale)
    second = deploy.read_object(SOURCE, "deploy/state.json")
    assert second is not None
    assert (second.content, second.generation != first.generation) == (b"next", True)


def test_a_secret_is_added_and_read_by_its_number(deploy: GoogleCloud) -> None:
    number = deploy.add_secret_version("database-url", "marked-value")
    assert deploy.secret("database-url", number) == "marked-value"
    assert (deploy.secret_versions("database-url")[0].number, deploy.secret_versions("database-url")[0].enabled) == (
        number,
        True,
    )


def test_an_image_is_built_of_its_bundle_and_named_by_digest(deploy: GoogleCloud, stand_in: StandIn) -> None:
    assert deploy.image_digest(f"{made.IMAGE}:r1") is None
    assert _built(deploy, stand_in.cloud, "r1").outcome == "done"
    digest = deploy.image_digest(f"{made.IMAGE}:r1")
    assert digest is not None
    assert deploy.image_digest(f"{made.IMAGE}@{digest}") == digest
    assert deploy.image_digest(f"{made.IMAGE}@sha256:{'0' * 64}") is None
    assert [one.outcome for one in deploy.builds("r1")] == ["done"]
    assert deploy.builds("another") == []


def test_a_build_fails_in_words(deploy: GoogleCloud, stand_in: StandIn) -> None:
    gone = {"storageSource": {"bucket": SOURCE, "object": "gone.zip"}}
    assert "No such object" in _built(deploy, stand_in.cloud, "b1", source=gone).words
    elsewhere = {"storageSource": {"bucket": "elsewhere", "object": "gone.zip"}}
    assert "storage.objects.get" in _built(deploy, stand_in.cloud, "b2", source=elsewhere).words
    stand_in.cloud.faults.builds.append("step exited with non-zero status: 51")
    ended = _built(deploy, stand_in.cloud, "b3")
    assert (ended.outcome, ended.words) == ("failed", "step exited with non-zero status: 51")
    assert deploy.image_digest(f"{made.IMAGE}:b3") is None


def test_a_service_serves_its_newest_revision_or_says_why_not(deploy: GoogleCloud, stand_in: StandIn) -> None:
    _built(deploy, stand_in.cloud, "s1")
    number = deploy.add_secret_version("database-url", "x")
    pinned = f"{made.IMAGE}@{deploy.image_digest(f'{made.IMAGE}:s1')}"

    def deployed(image: str, version: str = number) -> Service:
        part = {"google_cloud_run_v2_service": [made.service("health", image, DATABASE_URL=version)]}
        made.write(stand_in_state(stand_in), made.foundation(), part)
        [found] = deploy.services()
        assert found.settled
        return found

    assert deployed(pinned) == Service("health", pinned, serves=True, settled=True)
    broken = deployed(f"{made.IMAGE}@sha256:{'0' * 64}")
    assert not broken.serves
    assert "not found" in broken.words
    assert "was not found" in deployed(pinned, "77").words
    stand_in.cloud.faults.revisions["health"] = "The user-provided container failed to start and listen on the port"
    assert "failed to start" in deployed(f"{made.IMAGE}:s1").words
    assert deployed(pinned).serves


def test_services_are_listed_over_pages(deploy: GoogleCloud, stand_in: StandIn) -> None:
    part = {"google_cloud_run_v2_service": [made.service(f"s{number:03}", "x") for number in range(130)]}
    made.write(stand_in_state(stand_in), made.foundation(), part)
    assert len(deploy.services()) == 130
    assert stand_in.requests == ["run.projects.locations.services.list"] * 2


def test_the_migrate_job_is_run_and_looked_at(deploy: GoogleCloud, stand_in: StandIn) -> None:
    _built(deploy, stand_in.cloud, "j1")
    number = deploy.add_secret_version("migrate-database-url", "x")
    part = {"google_cloud_run_v2_job": [made.job(f"{made.IMAGE}:j1", MIGRATE_DATABASE_URL=number)]}
    made.write(stand_in_state(stand_in), made.foundation(), part)
    ran: list[list[str]] = []
    stand_in.cloud.run_job = ran.append
    for arguments in (PRE, POST):
        ended = _ended(deploy, stand_in.cloud, deploy.run_job("migrate", arguments), "migrate")
        assert ended.outcome == "done"
    assert ran == [PRE, POST]
    stand_in.cloud.faults.executions.append("The container exited with code 1.")
    ended = _ended(deploy, stand_in.cloud, deploy.run_job("migrate", PRE), "migrate")
    assert (ended.outcome, ended.words) == ("failed", "The container exited with code 1.")
    assert [one.outcome for one in deploy.job_runs("migrate")] == ["failed", "done", "done"]
    stand_in.cloud.run_job = None


def test_a_queue_that_holds_work_is_told(deploy: GoogleCloud, stand_in: StandIn) -> None:
    assert not deploy.queue_holds_work("payments")
    assert not deploy.queue_holds_work("no-such-queue")
    stand_in.cloud.set_facts(tasks_waiting={"payments": 3})
    assert deploy.queue_holds_work("payments")
    stand_in.cloud.set_facts(tasks_waiting={})
