"""The REST interface: names and tombstones, checks and their errors, views, pages, queues."""

from __future__ import annotations

import asyncio
import base64
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.cloud.cloudtasks import Queue
from sandbox.stand_in.server import Server
from tests.waiting import all_that_can_happen, until

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.sandbox.cloudtasks.conftest import Stand

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
    "url host that is no name": {"url": "http://xn--/"},
    "url port beyond the last": {"url": "http://127.0.0.1:65536/"},
    "url port below the first": {"url": "http://127.0.0.1:-1/"},
    "url length": {"url": "http://127.0.0.1/" + "a" * 2083},
    "method": {"httpMethod": "POSTY"},
    "method by a number that none has": {"httpMethod": 77},
    "body with GET": {"httpMethod": "GET", "body": "eA=="},
    "body not base64": {"body": "***"},
    "header size": {"headers": {"X-A": "a" * 90_000}},
    "retry attempts": {"task": {"retryConfig": {"maxAttempts": -2}}},
    "retry backoffs": {"task": {"retryConfig": {"minBackoff": "9s", "maxBackoff": "8s"}}},
    "token for no account": {"oidcToken": {"audience": "https://target"}},
    "size": {"body": base64.b64encode(b"a" * 102_400).decode()},
}


@pytest.mark.parametrize("kind", BAD)
async def test_bad_tasks_are_refused_as_by_the_real_service(stand: Stand, kind: str) -> None:
    assert error(await stand.create(**BAD[kind])) == (400, "INVALID_ARGUMENT")
    await stand.tasks.idle()
    assert not stand.worker.requests


NOT_MODELLED: dict[str, dict[str, Any]] = {
    "App Engine target": {"task": {"httpRequest": None, "appEngineHttpRequest": {"relativeUri": "/"}}},
    "OAuth token": {"oauthToken": {"serviceAccountEmail": "i@p.iam.gserviceaccount.com"}},
}


@pytest.mark.parametrize("kind", NOT_MODELLED)
async def test_what_the_sandbox_cannot_deliver_is_not_taken(stand: Stand, kind: str) -> None:
    assert error(await stand.create(**NOT_MODELLED[kind])) == (501, "UNIMPLEMENTED")


@pytest.mark.parametrize(
    "setting",
    [
        {"httpTarget": {"httpMethod": "POST"}},
        {"stackdriverLoggingConfig": {"samplingRatio": 1}},
        {"appEngineRoutingOverride": {"service": "s"}},
    ],
    ids=lambda setting: next(iter(setting)),
)
async def test_queue_settings_that_would_change_nothing_are_not_taken(stand: Stand, setting: dict[str, Any]) -> None:
    answer = await stand.http.patch(stand.parent(), json=setting)
    assert error(answer) == (501, "UNIMPLEMENTED")


@pytest.mark.parametrize(
    "setting",
    [
        {"rateLimits": {"maxDispatchesPerSecond": 501}},
        {"rateLimits": {"maxConcurrentDispatches": 5001}},
        {"retryConfig": {"maxAttempts": -2}},
        {"retryConfig": {"minBackoff": "-1s"}},
        {"retryConfig": {"maxDoublings": -1}},
        {"unknown": 1},
    ],
    ids=str,
)
async def test_bad_queue_settings_are_refused(stand: Stand, setting: dict[str, Any]) -> None:
    refused = (400, "INVALID_ARGUMENT")
    assert error(await stand.http.patch(stand.parent(), json=setting)) == refused
    base = stand.parent().removesuffix("/q")
    new = {"name": "projects/p/locations/l/queues/new", **setting}
    assert error(await stand.http.post(base, json=new)) == refused
    assert list(stand.tasks.queues) == ["q"]


async def test_an_update_changes_what_its_mask_names_and_everything_without_one(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", rate=50, max_concurrent=5, max_attempts=7, max_doublings=0))
    new = {"rateLimits": {"maxDispatchesPerSecond": 10, "maxBurstSize": 9}, "retryConfig": {"maxAttempts": 3}}
    masked = await stand.http.patch(f"{stand.parent()}?updateMask=rateLimits.maxDispatchesPerSecond,state", json=new)
    assert masked.json()["rateLimits"]["maxDispatchesPerSecond"] == 10
    assert stand.tasks.queues["q"] == Queue("q", rate=10, max_concurrent=5, max_attempts=7, max_doublings=0)
    assert (await stand.http.patch(stand.parent(), json=new)).status_code == 200
    assert stand.tasks.queues["q"] == Queue("q", rate=10, max_attempts=3)
    bad = await stand.http.patch(f"{stand.parent()}?updateMask=rateLimits.speed", json=new)
    assert error(bad) == (400, "INVALID_ARGUMENT")
    made = await stand.http.patch(stand.parent("made"), json=new)
    assert made.json()["name"].endswith("/queues/made")


async def test_a_deleted_queue_is_gone_with_its_tasks_and_its_name_is_used_up_for_a_week(make_stand: Make) -> None:
    stand = await make_stand(Queue("q"), Queue("other"))
    stand.worker.gate.clear()
    stand.worker.default = 500
    running = (await stand.create()).json()["name"]
    await until(lambda: stand.worker.requests)
    stand.tasks.pause("q")
    await stand.create()
    dispatcher = stand.tasks.dispatcher("q")
    assert (await stand.http.delete(stand.parent())).json() == {}
    assert dispatcher._loop is None  # no longer looks for tasks
    with pytest.raises(TimeoutError):
        await stand.tasks.idle(0.05)  # what was under way still is
    stand.worker.gate.set()
    await stand.tasks.idle(include_scheduled=True)
    assert len(stand.worker.requests) == 1
    gone = (404, "NOT_FOUND")
    assert error(await stand.http.get(f"{stand.url}/v2/{running}")) == gone
    assert error(await stand.create()) == gone
    base = stand.parent().removesuffix("/q")
    new = {"name": "projects/p/locations/l/queues/q"}
    for wait in (timedelta(0), timedelta(days=6, hours=23)):
        stand.clock.travel(wait)
        answer = await stand.http.post(base, json=new)
        assert error(answer) == (400, "FAILED_PRECONDITION")
        assert "existed too recently" in answer.json()["error"]["message"]
        assert error(await stand.http.patch(stand.parent(), json={})) == (400, "FAILED_PRECONDITION")
    stand.clock.travel(timedelta(hours=1))
    assert (await stand.http.post(base, json=new)).json()["state"] == "RUNNING"
    stand.worker.default = 200
    await stand.create()
    await stand.tasks.idle()
    assert len(stand.worker.requests) == 2


async def test_a_batch_makes_what_can_be_made_and_says_what_could_not(stand: Stand) -> None:
    def one(name: str) -> dict[str, Any]:
        return {"task": {"name": stand.name(name), "httpRequest": {"url": stand.worker_url}}}

    stand.tasks.pause("q")
    url = f"{stand.parent()}/tasks:batchCreate"
    body = {"requests": [one("a"), one("a"), one("b.c"), one("d")], "requestId": "r1"}
    first = (await stand.http.post(url, json=body)).json()
    assert first["done"] is True
    assert [task["name"] for task in first["response"]["tasks"]] == [stand.name("a"), stand.name("d")]
    assert first["metadata"]["state"] == "PARTIALLY_SUCCEEDED"
    assert {number: failure["code"] for number, failure in first["metadata"]["failedRequests"].items()} == {
        "1": 6,
        "2": 3,
    }
    assert (await stand.http.post(url, json=body)).json() == first  # the same request, asked again
    second = (await stand.http.post(url, json=body | {"requestId": "r2", "requests": [one("a")]})).json()
    assert second["error"]["code"] == 10
    assert "response" not in second
    for requests in ([], [one(f"n{number}") for number in range(101)]):
        assert error(await stand.http.post(url, json={"requests": requests})) == (400, "INVALID_ARGUMENT")
    names = {"names": [stand.name("a"), stand.name("none"), stand.name("d")]}
    deleted = (await stand.http.post(f"{stand.parent()}/tasks:batchDelete", json=names)).json()
    assert set(deleted["metadata"]["failedRequests"]) == {"1"}
    assert not stand.tasks.tasks


async def test_a_used_name_says_whether_its_task_still_exists(stand: Stand) -> None:
    stand.tasks.pause("q")
    await stand.create(task={"name": stand.name("a")})
    there = await stand.create(task={"name": stand.name("a")})
    assert there.json()["error"]["message"] == "Requested entity already exists"
    stand.tasks.purge("q")
    gone = await stand.create(task={"name": stand.name("a")})
    assert gone.json()["error"]["message"].endswith("a task with this name existed too recently.")


async def test_a_task_that_never_ran_is_deleted_after_thirty_one_days(stand: Stand) -> None:
    stand.tasks.pause("q")
    old = (await stand.create()).json()["name"]
    stand.clock.travel(timedelta(days=30, hours=23))
    young = (await stand.create()).json()["name"]
    assert (await stand.http.get(f"{stand.url}/v2/{old}")).status_code == 200
    stand.clock.travel(timedelta(hours=1, seconds=1))
    assert [task["name"] for task in (await stand.http.get(f"{stand.parent()}/tasks")).json()["tasks"]] == [young]
    assert error(await stand.http.get(f"{stand.url}/v2/{old}")) == (404, "NOT_FOUND")
    await until(lambda: not stand.tasks.dispatcher("q")._wake.is_set())  # it sleeps, and no caller will ask
    stand.clock.travel(timedelta(days=31))
    await until(lambda: not stand.tasks.tasks)
    stand.tasks.resume("q")
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
    assert error(await stand.http.delete(stand.parent("nowhere"))) == gone
    for method, suffix in (("GET", ""), ("DELETE", ""), ("POST", ":run")):
        assert error(await stand.http.request(method, f"{stand.parent()}/tasks/none{suffix}")) == gone
    assert error(await stand.http.get(f"{stand.url}/v2/nonsense")) == gone
    assert error(await stand.http.post(f"{stand.parent()}:explode")) == (501, "UNIMPLEMENTED")


_NO_QUEUE = "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize."
_NO_ENTITY = "Requested entity was not found."


@pytest.mark.parametrize(
    ("method", "suffix", "words"),
    [
        ("GET", "nowhere", _NO_QUEUE),
        ("POST", "nowhere:pause", _NO_QUEUE),
        ("POST", "nowhere:purge", _NO_QUEUE),
        ("DELETE", "nowhere", _NO_ENTITY),
        ("GET", "q/tasks/none", _NO_ENTITY),
        ("DELETE", "q/tasks/none", _NO_ENTITY),
        ("POST", "q/tasks/none:run", _NO_ENTITY),
    ],
)
async def test_what_is_not_there_is_said_in_the_real_words(stand: Stand, method: str, suffix: str, words: str) -> None:
    answer = await stand.http.request(method, stand.parent(suffix))
    assert answer.json()["error"]["message"] == words


async def test_a_task_that_is_no_more_is_told_from_one_that_never_was(stand: Stand) -> None:
    name = (await stand.create()).json()["name"]
    await stand.tasks.idle()
    answer = await stand.http.get(f"{stand.url}/v2/{name}")
    assert answer.json()["error"]["message"] == (
        "The task no longer exists, though a task with this name existed recently."
        " The task either successfully completed or was deleted."
    )


_Q = "projects/p/locations/l/queues/q"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"url": ""}, "HttpRequest.url is required."),
        ({"url": "127.0.0.1/"}, "HttpTarget.url must start with 'http://' or 'https://'."),
        ({"url": "ftp://127.0.0.1/"}, "HttpTarget.url must start with 'http://' or 'https://'."),
        (
            {"task": {"name": f"{_Q}/tasks/no id"}},
            (
                'Task ID "no id" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens (-), or underscores (_).'
                " Task ID must between 1 and 500 characters."
            ),
        ),
        (
            {"task": {"name": f"{_Q}2/tasks/a"}},
            f"The queue name from request ('{_Q}') must be the same as the queue name in the named task ('{_Q}2').",
        ),
        (
            {"task": {"scheduleTime": "2100-01-01T00:00:00Z"}},
            (
                "The Task.scheduleTime, 2099-12-31T16:00:00-08:00, is too far in the future."
                " Schedule time must be no more than 720h in the future."
            ),
        ),
        ({"task": {"dispatchDeadline": "14s"}}, "Task.dispatchDeadline must be between [15s, 30m]."),
    ],
)
async def test_a_bad_task_is_refused_in_the_real_words(stand: Stand, asked: dict[str, Any], words: str) -> None:
    assert (await stand.create(**asked)).json()["error"]["message"] == words


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            {"name": "none"},
            'Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>".',
        ),
        ({"rateLimits": {"maxDispatchesPerSecond": -1}}, "RateLimits.maxDispatchesPerSecond cannot be negative."),
        (
            {"rateLimits": {"maxDispatchesPerSecond": 501}},
            "RateLimits.maxDispatchesPerSecond must be less than or equal to 500.",
        ),
        ({"rateLimits": {"maxConcurrentDispatches": -1}}, "RateLimits.maxConcurrentDispatches cannot be negative."),
        (
            {"rateLimits": {"maxConcurrentDispatches": 5001}},
            "RateLimits.maxConcurrentDispatches must be less than or equal to 5000.",
        ),
        ({"retryConfig": {"maxAttempts": -2}}, "RetryConfig.maxAttempts must be greater or equal to -1."),
        ({"retryConfig": {"maxDoublings": -1}}, "RetryConfig.maxDoublings cannot be negative."),
        ({"retryConfig": {"minBackoff": "-1s"}}, "RetryConfig.minBackoff cannot be negative."),
        (
            {"retryConfig": {"minBackoff": "9s", "maxBackoff": "8s"}},
            "RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff.",
        ),
    ],
    ids=str,
)
async def test_a_bad_queue_is_refused_in_the_real_words(stand: Stand, setting: dict[str, Any], words: str) -> None:
    new = {"name": f"{_Q}-new", **setting}
    answer = await stand.http.post(stand.parent().removesuffix("/q"), json=new)
    assert answer.json()["error"]["message"] == words


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
    beside = {
        "Origin": "http://localhost:1"
    }  # what another program of this machine serves: it may look and change nothing
    assert (await stand.http.get(stand.parent(), headers=beside)).status_code == 200
    assert (await stand.http.post(f"{stand.parent()}:purge", headers=beside)).status_code == 403
    assert not stand.tasks.purged


async def test_a_caller_that_dies_in_the_middle_of_its_request_is_no_defect_of_ours(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    server, logger = Server(stand.tasks.app), logging.getLogger("uvicorn.error")
    await server.start()
    logger.addHandler(caplog.handler)
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        path = stand.parent().removeprefix(stand.url)
        writer.write(f"POST {path}/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{{".encode())
        await writer.drain()
        await all_that_can_happen()
        writer.close()
        await all_that_can_happen()
    finally:
        logger.removeHandler(caplog.handler)
        await server.stop()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
