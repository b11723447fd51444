"""The REST interface: names and tombstones, checks and their errors, views, pages; Google's own client against it."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import google.api_core.exceptions
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports.rest import CloudTasksRestTransport

from sandbox.cloudtasks import Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.sandbox_cloudtasks.conftest import Stand

    Make = Callable[..., Any]


def error(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()["error"]
    assert body["code"] == answer.status_code
    assert body["message"]
    return answer.status_code, body["status"]


async def test_a_name_is_used_while_the_task_exists_after_it_ran_and_after_it_was_deleted(stand: Stand) -> None:
    used = (409, "ALREADY_EXISTS")
    stand.tasks.pause("q")
    for kind in ("waiting", "deleted"):
        assert (await stand.create(task={"name": stand.name(kind)})).status_code == 200
        assert error(await stand.create(task={"name": stand.name(kind)})) == used
    assert (await stand.http.delete(f"{stand.url}/v2/{stand.name('deleted')}")).json() == {}
    stand.tasks.resume("q")
    await stand.tasks.idle()
    stand.clock.travel(timedelta(hours=23, minutes=59))
    for kind in ("waiting", "deleted"):
        assert error(await stand.create(task={"name": stand.name(kind)})) == used
    stand.clock.travel(timedelta(minutes=1))
    for kind in ("waiting", "deleted"):
        assert (await stand.create(task={"name": stand.name(kind)})).status_code == 200
    await stand.tasks.idle()
    assert [attempt.task for attempt in stand.tasks.attempts] == ["waiting", "waiting", "deleted"]


async def test_two_creates_of_one_name_at_once_make_one_task(stand: Stand) -> None:
    answers = await asyncio.gather(*(stand.create(task={"name": stand.name("race")}) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    await stand.tasks.idle()
    assert len(stand.worker.requests) == 1


BAD: dict[str, dict[str, Any]] = {
    "another queue's name": {"task": {"name": "projects/p/locations/l/queues/other/tasks/a"}},
    "another project's name": {"task": {"name": "projects/x/locations/l/queues/q/tasks/a"}},
    "short name": {"task": {"name": "a"}},
    "characters": {"task": {"name": "projects/p/locations/l/queues/q/tasks/a.b"}},
    "long name": {"task": {"name": "projects/p/locations/l/queues/q/tasks/" + "a" * 501}},
    "deadline low": {"task": {"dispatchDeadline": "14s"}},
    "deadline high": {"task": {"dispatchDeadline": "1801s"}},
    "deadline form": {"task": {"dispatchDeadline": "30"}},
    "time form": {"task": {"scheduleTime": "tomorrow"}},
    "unknown field": {"task": {"scheduledTime": "2026-01-01T00:00:00Z"}},
    "no target": {"task": {"httpRequest": None}},
    "url scheme": {"url": "ftp://127.0.0.1/"},
    "url host": {"url": "http://"},
    "url length": {"url": "http://127.0.0.1/" + "a" * 2083},
    "method": {"httpMethod": "POSTY"},
    "body with GET": {"httpMethod": "GET", "body": "eA=="},
    "body not base64": {"body": "***"},
    "header size": {"headers": {"X-A": "a" * 90_000}},
    "size": {"body": base64.b64encode(b"a" * 102_400).decode()},
}


@pytest.mark.parametrize("kind", BAD)
async def test_bad_tasks_are_refused_as_by_the_real_service(stand: Stand, kind: str) -> None:
    assert error(await stand.create(**BAD[kind])) == (400, "INVALID_ARGUMENT")
    await stand.tasks.idle()
    assert not stand.worker.requests


async def test_the_furthest_schedule_time_is_thirty_days(stand: Stand) -> None:
    near = (stand.clock.now() + timedelta(days=29, hours=23)).isoformat()
    far = (stand.clock.now() + timedelta(days=30, minutes=1)).isoformat()
    assert (await stand.create(task={"scheduleTime": near})).status_code == 200
    assert error(await stand.create(task={"scheduleTime": far})) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"task": 1}', b'{"tusk": {}}', b"[" * 100_000])
async def test_a_body_that_is_no_request_is_a_400(stand: Stand, body: bytes) -> None:
    answer = await stand.http.post(f"{stand.parent()}/tasks", content=body)
    assert error(answer) == (400, "INVALID_ARGUMENT")


async def test_what_is_not_there_is_a_404(stand: Stand) -> None:
    gone = (404, "NOT_FOUND")
    assert error(await stand.create("nowhere")) == gone
    assert error(await stand.http.get(stand.parent("nowhere"))) == gone
    assert error(await stand.http.post(f"{stand.parent('nowhere')}:purge")) == gone
    for method, suffix in (("GET", ""), ("DELETE", ""), ("POST", ":run")):
        assert error(await stand.http.request(method, f"{stand.parent()}/tasks/none{suffix}")) == gone
    assert error(await stand.http.get(f"{stand.url}/v2/nonsense")) == gone
    assert error(await stand.http.post(f"{stand.parent()}:explode")) == (501, "UNIMPLEMENTED")


async def test_a_finished_task_is_gone(stand: Stand) -> None:
    name = (await stand.create()).json()["name"]
    await stand.tasks.idle()
    assert error(await stand.http.get(f"{stand.url}/v2/{name}")) == (404, "NOT_FOUND")
    assert error(await stand.http.delete(f"{stand.url}/v2/{name}")) == (404, "NOT_FOUND")


async def test_the_body_is_shown_in_the_full_view_only(stand: Stand) -> None:
    stand.tasks.pause("q")
    made = (await stand.create(body="eA==")).json()
    assert made["view"] == "BASIC"
    assert "body" not in made["httpRequest"]
    assert made["httpRequest"]["httpMethod"] == "POST"
    assert made["dispatchDeadline"] == "600s"
    full = (await stand.http.get(f"{stand.url}/v2/{made['name']}?responseView=FULL")).json()
    assert full["httpRequest"]["body"] == "eA=="


async def test_lists_come_in_pages(stand: Stand) -> None:
    stand.tasks.pause("q")
    wanted = {(await stand.create()).json()["name"] for _ in range(5)}
    seen: list[str] = []
    token = ""
    while True:
        page = (await stand.http.get(f"{stand.parent()}/tasks?pageSize=2&pageToken={token}")).json()
        assert len(page["tasks"]) <= 2
        seen += [task["name"] for task in page["tasks"]]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert len(seen) == 5
    assert set(seen) == wanted
    assert error(await stand.http.get(f"{stand.parent()}/tasks?pageSize=x"))[0] == 400


async def test_queues_show_their_configuration_and_can_be_made_paused_resumed_purged(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", max_concurrent=5, rate=50, max_attempts=7, min_backoff=2, max_backoff=60))
    shown = (await stand.http.get(stand.parent())).json()
    assert shown["rateLimits"] == {"maxDispatchesPerSecond": 50.0, "maxBurstSize": 10, "maxConcurrentDispatches": 5}
    assert shown["retryConfig"]["maxAttempts"] == 7
    assert (shown["retryConfig"]["minBackoff"], shown["retryConfig"]["maxBackoff"]) == ("2s", "60s")
    assert shown["state"] == "RUNNING"
    assert (await stand.http.post(f"{stand.parent()}:pause", json={})).json()["state"] == "PAUSED"
    await stand.create()
    assert "purgeTime" in (await stand.http.post(f"{stand.parent()}:purge", json={})).json()
    assert (await stand.http.post(f"{stand.parent()}:resume", json={})).json()["state"] == "RUNNING"
    await stand.tasks.idle()
    assert not stand.worker.requests

    made = {"name": "projects/p/locations/l/queues/new", "rateLimits": {"maxConcurrentDispatches": 2}}
    base = f"{stand.url}/v2/projects/p/locations/l/queues"
    assert (await stand.http.post(base, json=made)).json()["rateLimits"]["maxConcurrentDispatches"] == 2
    assert error(await stand.http.post(base, json=made))[0] == 409
    assert error(await stand.http.post(base, json={"name": "projects/p/locations/l/queues/a_b"}))[0] == 400
    names = [queue["name"] for queue in (await stand.http.get(base)).json()["queues"]]
    assert names == [f"projects/p/locations/l/queues/{name}" for name in ("new", "q")]
    await stand.create("new")
    await stand.tasks.idle()
    assert len(stand.worker.requests) == 1


async def test_foreign_hosts_and_origins_are_turned_away(stand: Stand) -> None:
    for headers in ({"Host": "rebound.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert (await stand.http.get(stand.parent(), headers=headers)).status_code == 403
    assert (await stand.http.get(stand.parent(), headers={"Origin": "http://localhost:1"})).status_code == 200


async def test_googles_own_client_works(make_stand: Make) -> None:
    stand = await make_stand(served=True)
    stand.tasks.pause("q")
    parent = "projects/p/locations/l/queues/q"
    when = stand.clock.now() + timedelta(minutes=5)

    def as_the_application_does() -> None:
        anonymous: Callable[[], Any] = AnonymousCredentials
        host = stand.url.removeprefix("http://")
        transport = CloudTasksRestTransport(host=host, url_scheme="http", credentials=anonymous())
        with tasks_v2.CloudTasksClient(transport=transport) as client:
            task = tasks_v2.Task(
                name=f"{parent}/tasks/named",
                schedule_time=when,
                dispatch_deadline=timedelta(seconds=30),
                http_request=tasks_v2.HttpRequest(
                    url=stand.worker_url,
                    http_method=tasks_v2.HttpMethod.PUT,
                    headers={"Content-Type": "application/json"},
                    body=b'{"id": 1}',
                    oidc_token=tasks_v2.OidcToken(service_account_email="i@p.iam.gserviceaccount.com", audience="a"),
                ),
            )
            plain = tasks_v2.Task(http_request={"url": stand.worker_url})
            made = client.create_task(parent=parent, task=task)
            assert made.name == task.name
            assert made.schedule_time.timestamp() == pytest.approx(when.timestamp())
            with pytest.raises(google.api_core.exceptions.Conflict):
                client.create_task(parent=parent, task=task)
            unnamed = client.create_task(parent=parent, task=plain)
            assert client.get_task(name=unnamed.name).http_request.http_method == tasks_v2.HttpMethod.POST
            assert {found.name for found in client.list_tasks(parent=parent)} == {made.name, unnamed.name}
            client.delete_task(name=unnamed.name)
            with pytest.raises(google.api_core.exceptions.NotFound):
                client.get_task(name=unnamed.name)
            with pytest.raises(google.api_core.exceptions.NotFound):
                client.create_task(parent=f"{parent}x", task=plain)
            with pytest.raises(google.api_core.exceptions.BadRequest):
                client.create_task(parent=parent, task=tasks_v2.Task(http_request={"url": "nowhere"}))
            assert client.get_queue(name=parent).state == tasks_v2.Queue.State.PAUSED
            assert client.resume_queue(name=parent).state == tasks_v2.Queue.State.RUNNING
            assert client.run_task(name=made.name).name == made.name
            with pytest.raises(google.api_core.exceptions.Conflict):
                client.create_queue(parent="projects/p/locations/l", queue=tasks_v2.Queue(name=parent))
            assert [queue.name for queue in client.list_queues(parent="projects/p/locations/l")] == [parent]
            client.purge_queue(name=parent)

    await asyncio.to_thread(as_the_application_does)
    await stand.tasks.idle()
    (got,) = stand.worker.requests
    assert (got.method, got.body) == ("PUT", b'{"id": 1}')
    assert got.headers["authorization"].startswith("Bearer ")
