"""The stand-in refuses what Google refuses: by the discovery documents, and by the states of things."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox.google.answers import ANSWERS
from sandbox.google.cloud import Call
from sandbox.google.discovery import APIS, Impossible, api
from tests.sandbox.google import made
from tests.sandbox.google.conftest import stand_in_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.google import Google as StandIn

P, R = made.PROJECT, made.REGION
LOCATION = f"projects/{P}/locations/{R}"
JOB = f"run/v2/{LOCATION}/jobs/migrate"
BUILDS = f"cloudbuild/v1/{LOCATION}/builds"
SECRET = f"secretmanager/v1/projects/{P}/secrets/health-key"
BUILD: dict[str, Any] = {
    "steps": [{"name": "pack"}],
    "serviceAccount": f"projects/{P}/serviceAccounts/{made.BUILDER}",
    "options": {"logging": "CLOUD_LOGGING_ONLY"},
    "source": {"storageSource": {"bucket": f"{P}-source", "object": "x.zip"}},
}


@pytest.fixture
def http(stand_in: StandIn) -> Iterator[httpx.Client]:
    """Past the library, which would refuse some of it before it is sent."""
    made.write(stand_in_state(stand_in), made.foundation(), made.rest())
    headers = {"Authorization": f"Bearer {stand_in.cloud.issue_token()}"}
    with httpx.Client(base_url=stand_in.url, headers=headers, trust_env=False) as client:
        yield client


def _error(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    return answer.status_code, error.get("status", ""), error["message"]


REFUSED: dict[str, tuple[str, str, Any, str]] = {
    "an unknown field": ("POST", f"{JOB}:run", {"override": {}}, 'Unknown name "override": Cannot find field.'),
    "an unknown field below": (
        "POST",
        f"{JOB}:run",
        {"overrides": {"containerOverrides": [{"arg": []}]}},
        "Unknown name \"arg\" at 'overrides.containerOverrides[0]'",
    ),
    "a text for a list": (
        "POST",
        f"{JOB}:run",
        {"overrides": {"containerOverrides": [{"args": "x"}]}},
        "Invalid value at 'overrides.containerOverrides[0].args' (repeated field)",
    ),
    "a number for a text": ("POST", f"{JOB}:run", {"etag": 1}, "Invalid value at 'etag' (TYPE_STRING), 1"),
    "a text for a number": (
        "POST",
        f"{JOB}:run",
        {"overrides": {"taskCount": "1"}},
        "Invalid value at 'overrides.taskCount' (TYPE_INT32)",
    ),
    "a word for a switch": ("POST", f"{JOB}:run", {"validateOnly": "yes"}, "(TYPE_BOOLEAN)"),
    "a duration without its unit": ("POST", f"{JOB}:run", {"overrides": {"timeout": "600"}}, "(TYPE_GOOGLE_DURATION)"),
    "an unknown enum": ("POST", BUILDS, BUILD | {"options": {"logging": "LOUD"}}, "(TYPE_ENUM)"),
    "a list for an object": ("POST", BUILDS, BUILD | {"options": []}, "(Map)"),
    "what is no base64": ("POST", f"{SECRET}:addVersion", {"payload": {"data": "???"}}, "(TYPE_BYTE)"),
    "an unknown parameter": ("GET", f"{SECRET}?force=true", None, "Cannot bind query parameter"),
    "a parameter of another method": ("GET", f"{SECRET}?pageSize=3", None, "Cannot bind query parameter"),
    "a parameter twice": ("GET", f"{SECRET}/versions?pageSize=3&pageSize=4", None, "given twice"),
    "a parameter of another type": ("GET", f"{SECRET}/versions?pageSize=all", None, "(TYPE_INTEGER)"),
    "a parameter that is missing": ("POST", "storage/storage/v1/b", {"name": "abc"}, "Required parameter: project"),
    "a page that there is not": ("GET", f"{SECRET}/versions?pageToken=nine", None, "page token"),
    "a body for what takes none": ("GET", SECRET, {"a": 1}, "takes no body"),
    "no object": ("POST", f"{JOB}:run", [], "must be an object"),
    "half a body": ("POST", f"{JOB}:run", b'{"etag": ', "Parser terminated"),
    "a build without steps": ("POST", BUILDS, BUILD | {"steps": []}, "no build steps specified"),
    "a step without a builder": ("POST", BUILDS, BUILD | {"steps": [{}]}, "must specify a builder image name"),
    "own account, default logs": ("POST", BUILDS, BUILD | {"options": {}}, "logs_bucket"),
    "an empty secret": ("POST", f"{SECRET}:addVersion", {"payload": {"data": ""}}, "cannot be empty"),
    "a damaged secret": (
        "POST",
        f"{SECRET}:addVersion",
        {"payload": {"data": base64.b64encode(b"x").decode(), "dataCrc32c": "1"}},
        "checksum",
    ),
    "twenty-one APIs at once": (
        "POST",
        f"serviceusage/v1/projects/{P}/services:batchEnable",
        {"serviceIds": [f"a{number}.googleapis.com" for number in range(21)]},
        "1 to 20",
    ),
    "another project's API": (
        "GET",
        f"serviceusage/v1/projects/{P}/services:batchGet?names=projects/other/services/run.googleapis.com",
        None,
        "is not a service of",
    ),
    "a figure of no time": ("GET", f"monitoring/v3/projects/{P}/timeSeries?filter=x", None, "interval.endTime"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_document_allows_is_refused_with_400(name: str, http: httpx.Client) -> None:
    method, path, body, said = REFUSED[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    headers = {"Content-Type": "application/json"} if content else {}
    answer = http.request(method, f"/{path}", content=content, headers=headers)
    status, _, message = _error(answer)
    assert status == 400
    assert said in message


STATES: dict[str, tuple[str, str, Any, int]] = {
    "no such method": ("GET", f"run/v2/{LOCATION}/nothing", None, 404),
    "another verb": ("PUT", f"{JOB}:run", None, 404),
    "another version": ("GET", f"run/v1/{LOCATION}/services", None, 404),
    "another project": ("GET", f"run/v2/projects/other/locations/{R}/services", None, 403),
    "another region": ("GET", f"run/v2/projects/{P}/locations/us-east1/services/health", None, 404),
    "no such job": ("POST", f"{JOB}:run", {}, 404),
    "no such execution": ("GET", f"{JOB}/executions/x", None, 404),
    "no such build": ("GET", f"{BUILDS}/x", None, 404),
    "no such queue": ("GET", f"cloudtasks/v2/{LOCATION}/queues/x", None, 404),
    "no such schedule": ("GET", f"cloudscheduler/v1/{LOCATION}/jobs/x", None, 404),
    "no such operation": ("GET", "serviceusage/v1/operations/x", None, 404),
    "no such instance": ("GET", f"sqladmin/v1/projects/{P}/instances/x", None, 404),
    "no such policy": ("GET", f"orgpolicy/v2/projects/{P}/policies/x.y:getEffectivePolicy", None, 404),
    "no such bucket": ("GET", "storage/storage/v1/b/x", None, 404),
    "no such image": ("GET", f"artifactregistry/v1/{LOCATION}/repositories/atlas/dockerImages/a@b", None, 404),
    "no such repository": ("GET", f"artifactregistry/v1/{LOCATION}/repositories/b/dockerImages", None, 404),
    "a method it does not answer": ("DELETE", SECRET, None, 501),
    "parts of a resource": ("GET", f"{SECRET}?fields=name", None, 501),
}


@pytest.mark.parametrize("name", STATES)
def test_what_is_not_there_is_told_by_its_status(name: str, http: httpx.Client) -> None:
    method, path, body, status = STATES[name]
    answer = http.request(method, f"/{path}", json=body)
    assert _error(answer)[0] == status


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer made-up", "Basic eDp5"])
def test_without_a_token_of_its_own_nothing_is_answered(header: str | None, stand_in: StandIn) -> None:
    headers = {"Authorization": header} if header is not None else {}
    answer = httpx.get(f"{stand_in.url}/{SECRET}", headers=headers, trust_env=False)
    assert _error(answer)[:2] == (401, "UNAUTHENTICATED")


def test_a_login_that_was_not_signed_by_its_key_gets_no_token(stand_in: StandIn) -> None:
    answer = httpx.post(f"{stand_in.url}/token", data={"assertion": "a.b.c"}, trust_env=False)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_an_api_that_was_enabled_just_now_may_be_refused_for_a_while(stand_in: StandIn, http: httpx.Client) -> None:
    made.write(stand_in_state(stand_in), {})
    stand_in.cloud.faults.propagation = 2
    path = f"/orgpolicy/v2/projects/{P}/policies/run.allowedIngress:getEffectivePolicy"
    assert http.get(path).status_code == 403
    body = {"serviceIds": ["orgpolicy.googleapis.com"]}
    assert http.post(f"/serviceusage/v1/projects/{P}/services:batchEnable", json=body).is_success
    assert [http.get(path).status_code for _ in range(3)] == [403, 403, 200]
    stand_in.cloud.faults.propagation = 0
    detail = next(iter(_disabled(http)["details"]))
    assert (detail["reason"], detail["metadata"]["service"]) == ("SERVICE_DISABLED", "run.googleapis.com")


def _disabled(http: httpx.Client) -> dict[str, Any]:
    error: dict[str, Any] = http.get(f"/run/v2/{LOCATION}/services").json()["error"]
    return error


def test_errors_of_storage_and_sql_have_the_older_shape(http: httpx.Client) -> None:
    for path in ("storage/storage/v1/b/nothing", f"sqladmin/v1/projects/{P}/instances/nothing"):
        error = http.get(f"/{path}").json()["error"]
        assert error["errors"][0]["reason"] == "notFound"
        assert "status" not in error


def test_names_are_taken_as_google_s_front_end_takes_them(http: httpx.Client) -> None:
    answer = http.post(f"/{SECRET}:addVersion", json={"payload": {"data": "eA==", "data_crc32c": "1"}})
    assert "checksum" in _error(answer)[2]  # snake case was understood


def test_a_tag_is_not_moved_to_another_image(stand_in: StandIn, http: httpx.Client) -> None:
    seen: list[dict[str, Any]] = []
    for number, content in enumerate(("one", "two")):
        upload = f"/storage/upload/storage/v1/b/{P}-source/o?uploadType=media&name=t{number}.zip"
        assert http.post(upload, content=content, headers={"Content-Type": "application/zip"}).is_success
        source = {"storageSource": {"bucket": f"{P}-source", "object": f"t{number}.zip"}}
        begun = http.post(f"/{BUILDS}", json=BUILD | {"source": source, "images": [f"{made.IMAGE}:same"]}).json()
        name = begun["metadata"]["build"]["id"]
        seen = [http.get(f"/{BUILDS}/{name}").json() for _ in range(stand_in.cloud.polls + 1)]
        assert seen[-1]["status"] == ("SUCCESS", "FAILURE")[number]
    assert "immutable" in seen[-1]["failureInfo"]["detail"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("google_storage_bucket_iam_member", "storage.objects.get"),
        ("google_artifact_registry_repository_iam_member", "uploadArtifacts"),
        ("google_artifact_registry_repository", "not found"),
    ],
)
def test_a_build_needs_its_rights(kind: str, said: str, stand_in: StandIn, http: httpx.Client) -> None:
    upload = f"/storage/upload/storage/v1/b/{P}-source/o?uploadType=media&name=x.zip"
    http.post(upload, content=b"x", headers={"Content-Type": "application/zip"})
    made.write(stand_in_state(stand_in), made.foundation() | {kind: []})
    begun = http.post(f"/{BUILDS}", json=BUILD | {"images": [f"{made.IMAGE}:rights"]}).json()
    path = f"/{BUILDS}/{begun['metadata']['build']['id']}"
    seen = [http.get(path).json() for _ in range(stand_in.cloud.polls + 1)]
    assert said in seen[-1]["failureInfo"]["detail"]


def test_a_place_that_the_organisation_forbids_is_refused(stand_in: StandIn, http: httpx.Client) -> None:
    stand_in.cloud.set_facts(policies={"gcp.resourceLocations": [{"values": {"allowedValues": ["europe-west1"]}}]})
    body = {"name": "atlas-elsewhere", "location": "us-east1"}
    assert _error(http.post(f"/storage/storage/v1/b?project={P}", json=body))[0] == 412
    assert http.post(f"/storage/storage/v1/b?project={P}", json=body | {"location": "europe-west1"}).is_success
    stand_in.cloud.set_facts(policies={})


def test_state_is_kept_from_one_run_to_the_next(stand_in: StandIn, http: httpx.Client) -> None:
    made_now = http.post(f"/{SECRET}:addVersion", json={"payload": {"data": "eA=="}}).json()
    again = type(stand_in)(stand_in.folder, P, terraform_state=stand_in_state(stand_in))
    number = made_now["name"].rpartition("/")[2]
    assert again.cloud.store.table("secret_versions")["health-key"][number]["state"] == "ENABLED"


def test_every_answer_is_of_a_method_that_its_document_has() -> None:
    known = {method.id for name in APIS for method in api(name).methods}
    assert set(ANSWERS) <= known


def test_an_answer_that_google_could_not_give_is_a_defect(stand_in: StandIn) -> None:
    run = api("run")
    method, path = run.find("GET", f"v2/{LOCATION}/services")
    assert Call(stand_in.cloud, run, method, path, {}, {}).path == {"parent": LOCATION}
    with pytest.raises(Impossible, match="Cannot find field"):
        run.check_answer(method, {"service": []})
    with pytest.raises(Impossible, match="TYPE_ENUM"):
        run.check_answer(method, {"services": [{"ingress": "SOMEWHERE"}]})


def test_what_is_enabled_and_where_queues_can_be(http: httpx.Client) -> None:
    listed = http.get(f"/serviceusage/v1/projects/{P}/services?filter=state:ENABLED&pageSize=200").json()["services"]
    assert {f"{one}.googleapis.com" for one in made.APIS} < {one["config"]["name"] for one in listed}
    for name, version in (("cloudtasks", "v2"), ("cloudscheduler", "v1")):
        found = http.get(f"/{name}/{version}/projects/{P}/locations").json()["locations"]
        assert R in {one["locationId"] for one in found}


def test_tasks_that_wait_are_listed_page_by_page(stand_in: StandIn, http: httpx.Client) -> None:
    path = f"/cloudtasks/v2/{LOCATION}/queues/payments/tasks?pageSize=1"
    assert http.get(path).json() == {}
    stand_in.cloud.set_facts(tasks_waiting={"payments": 2})
    first = http.get(path).json()
    assert (len(first["tasks"]), first["nextPageToken"]) == (1, "1")
    stand_in.cloud.set_facts(tasks_waiting={})


def test_builds_are_found_by_their_tag(http: httpx.Client) -> None:
    http.post(f"/{BUILDS}", json=BUILD | {"tags": ["r7"]})
    found = http.get(f"/{BUILDS}", params={"filter": 'tags="r7"'}).json()["builds"]
    assert [one["tags"] for one in found] == [["r7"]]
    assert http.get(f"/{BUILDS}", params={"filter": "status=SUCCESS"}).status_code == 501
