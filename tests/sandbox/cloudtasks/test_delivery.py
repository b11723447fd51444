"""How tasks are delivered: headers, retries, backoff, deadlines, rates, concurrency, slowdown."""

from __future__ import annotations

import base64
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import google.auth.exceptions
import google.auth.jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cloud.cloudtasks import Queue
from sandbox.cloud.cloudtasks.queues import Throttle
from tests.still_clock import StillClock
from tests.waiting import all_that_can_happen, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.cloudtasks.conftest import Stand

    Make = Callable[..., Any]


async def test_a_task_arrives_with_the_real_headers(stand: Stand) -> None:
    body = base64.b64encode(b'{"id": 7}').decode()
    await stand.create(
        body=body, headers={"Content-Type": "application/json", "X-Own": "1"}, task={"name": stand.name("abc")}
    )
    await stand.tasks.idle()
    (got,) = stand.worker.requests
    assert (got.method, got.path, got.body) == ("POST", "/work", b'{"id": 7}')
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-own"] == "1"
    assert got.headers["user-agent"] == "Google-Cloud-Tasks"
    assert got.headers["x-cloudtasks-queuename"] == "q"
    assert got.headers["x-cloudtasks-taskname"] == "abc"
    assert got.headers["x-cloudtasks-taskretrycount"] == "0"
    assert got.headers["x-cloudtasks-taskexecutioncount"] == "0"
    assert abs(float(got.headers["x-cloudtasks-tasketa"]) - datetime.now(UTC).timestamp()) < 5
    assert "x-cloudtasks-taskpreviousresponse" not in got.headers
    (attempt,) = stand.tasks.attempts
    assert (attempt.queue, attempt.task, attempt.attempt, attempt.status) == ("q", "abc", 1, 200)
    assert attempt.body == b'{"id": 7}'
    assert attempt.duration is not None
    assert attempt.duration < 5


async def test_a_header_beyond_ascii_travels_as_utf8(stand: Stand) -> None:
    await stand.create(headers={"X-Own": "ключ"})
    await stand.tasks.idle()
    (got,) = stand.worker.requests
    assert got.headers["x-own"] == "ключ"


async def test_no_content_type_unless_given_and_reserved_headers_are_replaced(stand: Stand) -> None:
    await stand.create(
        headers={
            "User-Agent": "me",
            "X-CloudTasks-TaskName": "forged",
            "X-Google-Y": "1",
            "x-appengine-z": "1",
            "Host": "evil",
        }
    )
    await stand.tasks.idle()
    (got,) = stand.worker.requests
    assert "content-type" not in got.headers
    assert got.headers["user-agent"] == "Google-Cloud-Tasks"
    assert got.headers["x-cloudtasks-taskname"].isdigit()
    assert got.headers["host"].startswith("127.0.0.1:")
    assert not {"x-google-y", "x-appengine-z"} & set(got.headers)


async def test_the_oidc_token_is_verifiable_by_the_served_keys(stand: Stand) -> None:
    oidc = {"serviceAccountEmail": "invoker@p.iam.gserviceaccount.com", "audience": "https://target"}
    await stand.create(oidcToken=oidc)
    await stand.create(oidcToken={"serviceAccountEmail": "invoker@p.iam.gserviceaccount.com"})
    await stand.tasks.idle()
    (key,) = (await stand.http.get(f"{stand.url}/oauth2/v3/certs")).json()["keys"]
    tokens = [got.headers["authorization"].removeprefix("Bearer ") for got in stand.worker.requests]
    decode: Callable[..., Any] = google.auth.jwt.decode
    decode_header: Callable[..., Any] = google.auth.jwt.decode_header
    pem = stand.tasks.signer.public_key_pem
    assert decode_header(tokens[0])["kid"] == key["kid"]
    claims = decode(tokens[0], certs=pem, audience="https://target")
    assert claims["email"] == "invoker@p.iam.gserviceaccount.com"
    assert claims["email_verified"] is True
    assert claims["iss"] == "https://accounts.google.com"
    decode(tokens[1], certs=pem, audience=stand.worker_url)
    head, _, signature = tokens[0].split(".")
    forged = f"{head}.{tokens[1].split('.')[1]}.{signature}"
    with pytest.raises(google.auth.exceptions.MalformedError, match="Could not verify token signature"):
        decode(forged, certs=pem, audience="https://target")
    number = int.from_bytes(base64.urlsafe_b64decode(key["n"] + "=="), "big")
    assert number.bit_length() == 2048


async def test_failures_retry_with_counts_reason_and_backoff_in_sandbox_time(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", min_backoff=60, max_backoff=3600, max_doublings=3), clock=StillClock())
    stand.worker.answers = [(500, {}), (404, {}), (500, {})]
    await stand.create()
    begun = stand.clock.now()
    for _ in range(3):
        await stand.tasks.idle()
        (task,) = stand.tasks.tasks.values()
        stand.clock.travel(task.eta - stand.clock.now())
    await stand.tasks.idle()
    counts = [
        (
            got.headers["x-cloudtasks-taskretrycount"],
            got.headers["x-cloudtasks-taskexecutioncount"],
            got.headers.get("x-cloudtasks-taskpreviousresponse"),
        )
        for got in stand.worker.requests
    ]
    # The execution count leaves out answers of 5xx.
    assert counts == [("0", "0", None), ("1", "0", "500"), ("2", "1", "404"), ("3", "1", "500")]
    reasons = [got.headers.get("x-cloudtasks-taskretryreason") for got in stand.worker.requests]
    assert reasons == [None, "", "", ""]  # as recorded of the real service: there, and empty for HTTP targets
    starts = [(attempt.start - begun).total_seconds() for attempt in stand.tasks.attempts]
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert gaps == [60, 120, 240]
    assert not stand.tasks.tasks


def test_backoff_is_the_documented_schedule() -> None:
    queue = Queue("q", min_backoff=10, max_backoff=300, max_doublings=3)
    assert [queue.backoff(n) for n in range(8)] == [10, 20, 40, 80, 160, 240, 300, 300]


@given(
    low=st.floats(0.1, 100),
    high=st.floats(100, 4000),
    doublings=st.integers(0, 30),
    retries=st.integers(0, 10_000),
)
def test_backoff_grows_and_keeps_its_limits(low: float, high: float, doublings: int, retries: int) -> None:
    queue = Queue("q", min_backoff=low, max_backoff=high, max_doublings=doublings)
    assert low <= queue.backoff(retries) <= queue.backoff(retries + 1) <= high


@pytest.mark.parametrize(
    ("max_attempts", "duration", "attempts", "after", "given_up"),
    [
        (3, 0, 3, 0, True),
        (3, 0, 2, 9999, False),
        (3, 600, 3, 599, False),  # dropped only when both are used up
        (3, 600, 3, 600, True),
        (3, 600, 2, 601, False),
        (-1, 0, 10_000, 86400, False),
        (-1, 600, 2, 601, True),
        (-1, 0, 5, 31 * 86400, True),  # the retention ends everything
    ],
)
def test_a_task_is_given_up_only_when_attempts_and_duration_are(
    max_attempts: int, duration: float, attempts: int, after: float, *, given_up: bool
) -> None:
    queue = Queue("q", max_attempts=max_attempts, max_retry_duration=duration)
    first = datetime(2026, 1, 1, tzinfo=UTC)
    assert queue.is_used_up(attempts, first, first + timedelta(seconds=after)) is given_up


async def test_a_used_up_task_is_dropped_and_its_name_stays_used(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", max_attempts=3, min_backoff=0.01, max_backoff=0.02))
    stand.worker.default = 500
    await stand.create(task={"name": stand.name("deleted")})
    await stand.tasks.idle(include_scheduled=True)
    assert [attempt.attempt for attempt in stand.tasks.attempts] == [1, 2, 3]
    assert (await stand.create(task={"name": stand.name("deleted")})).status_code == 409


async def test_a_scheduled_task_waits_for_its_time(stand: Stand) -> None:
    when = stand.clock.now() + timedelta(hours=3)
    created = await stand.create(task={"scheduleTime": when.isoformat()})
    assert created.json()["scheduleTime"].startswith(when.strftime("%Y-%m-%dT%H:%M:%S"))
    await stand.tasks.idle()
    assert not stand.worker.requests
    stand.clock.travel(timedelta(hours=2, minutes=59))
    await stand.tasks.idle()
    assert not stand.worker.requests
    stand.clock.travel(timedelta(minutes=1))
    await stand.tasks.idle(include_scheduled=True)
    assert len(stand.worker.requests) == 1


async def test_waiting_for_idle_is_bounded(stand: Stand) -> None:
    stand.worker.gate.clear()
    await stand.create()
    with pytest.raises(TimeoutError):
        await stand.tasks.idle(0.1)


async def test_an_attempt_past_its_deadline_fails_while_the_handler_goes_on(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", min_backoff=0.01), deadline_limit=0.1)
    stand.worker.gate.clear()
    await stand.create()
    await until(lambda: len(stand.worker.requests) >= 2)  # retried while the first still runs
    stand.tasks.deadline_limit = None  # it was the handler that was slow, not this machine
    stand.worker.gate.set()
    await stand.tasks.idle(include_scheduled=True)
    first, second, *_ = stand.tasks.attempts
    assert (first.status, first.reason) == (None, "DEADLINE_EXCEEDED")
    assert second.headers["X-CloudTasks-TaskPreviousResponse"] == "504"  # as recorded of the real service
    assert second.headers["X-CloudTasks-TaskExecutionCount"] == "0"


async def test_no_answer_at_all_is_no_previous_response(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", min_backoff=0.01))
    stand.worker.answers = [(500, {})]
    name = (await stand.create()).json()["name"]
    await until(lambda: stand.tasks.attempts and stand.tasks.attempts[-1].status == 500)
    stand.tasks.tasks[name].message.http_request.url = "http://127.0.0.1:1/"
    await until(lambda: len(stand.tasks.attempts) >= 3)
    assert stand.tasks.attempts[1].headers["X-CloudTasks-TaskPreviousResponse"] == "500"
    assert "X-CloudTasks-TaskPreviousResponse" not in stand.tasks.attempts[2].headers


async def test_an_unreachable_worker_is_retried(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", max_attempts=2, min_backoff=0.01))
    await stand.create(url="http://127.0.0.1:1/")
    await stand.tasks.idle(include_scheduled=True)
    assert [attempt.reason.split(":")[0] for attempt in stand.tasks.attempts] == ["UNAVAILABLE", "UNAVAILABLE"]


async def test_no_more_at_once_than_the_queue_allows(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", max_concurrent=3), Queue("other"))
    stand.worker.gate.clear()
    for _ in range(8):
        await stand.create()
    await stand.create("other")
    await until(lambda: len(stand.worker.requests) == 4)
    await all_that_can_happen()
    assert len(stand.worker.requests) == 4
    stand.worker.gate.set()
    await stand.tasks.idle()
    assert len(stand.worker.requests) == 9
    assert stand.worker.most_at_once == 4


async def test_no_faster_than_the_queue_allows(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", rate=20))  # a burst of 4, then one each 50 ms
    for _ in range(12):
        await stand.create()
    await stand.tasks.idle()
    starts = sorted(attempt.start for attempt in stand.tasks.attempts)
    assert len(starts) == 12
    assert (starts[-1] - starts[0]).total_seconds() >= 8 / 20 - 0.02


@pytest.mark.parametrize("status", [429, 503])
async def test_429_and_503_slow_the_whole_queue(make_stand: Make, status: int) -> None:
    stand = await make_stand(Queue("q", min_backoff=30), Queue("other"))
    stand.worker.answers = [(status, {"Retry-After": "20"})]
    await stand.create()
    await until(lambda: stand.tasks.attempts and not stand.tasks.attempts[0].running)
    await stand.create()
    await stand.create("other")
    await until(lambda: len(stand.worker.requests) == 2)
    assert stand.tasks.attempts[1].queue == "other"  # the other task of this queue waits, other queues don't
    with pytest.raises(TimeoutError):
        await stand.tasks.idle(0.1)
    stand.clock.travel(timedelta(seconds=20))
    await stand.tasks.idle()
    assert len(stand.worker.requests) == 3


async def test_nearly_nothing_but_errors_slows_the_queue_too(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", min_backoff=3600, max_backoff=3600), Queue("other"))
    stand.worker.answers = [(500, {})] * 17
    for _ in range(17):
        await stand.create()
    await stand.tasks.idle()
    throttle = stand.tasks.dispatcher("q").throttle
    assert throttle.enforced == 500
    stand.worker.answers = [(404, {})]  # any error counts
    await stand.create()
    await stand.tasks.idle()
    assert throttle.enforced == 10
    assert stand.tasks.dispatcher("other").throttle.enforced == 500


async def test_a_few_errors_among_successes_slow_nothing() -> None:
    throttle, now = Throttle(rate=100, burst=20), datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(100):
        throttle.outcome(ok=number % 5 == 0, now=now)
    assert throttle.enforced == 100


async def test_500_slows_no_other_task(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", min_backoff=30))
    stand.worker.answers = [(500, {"Retry-After": "20"})]
    await stand.create()
    await until(lambda: stand.tasks.attempts and not stand.tasks.attempts[0].running)
    await stand.create()
    await stand.tasks.idle()
    assert len(stand.worker.requests) == 2


def test_a_slowed_queue_recovers_step_by_step() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    throttle = Throttle(rate=100, burst=20)
    for _ in range(3):
        throttle.trouble(503, 0, now)
    assert throttle.enforced == 2.5
    rates = []
    for _ in range(7):
        now += timedelta(seconds=10)
        throttle.wait(now)
        rates.append(throttle.enforced)
    assert rates == [5, 10, 20, 40, 80, 100, 100]
    for _ in range(50):
        throttle.trouble(429, 0, now)
    assert throttle.enforced == 0.5


async def test_a_task_is_run_by_hand_even_while_it_runs(stand: Stand) -> None:
    stand.worker.gate.clear()
    name = (await stand.create()).json()["name"]
    await until(lambda: stand.worker.requests)
    ran = (await stand.http.post(f"{stand.url}/v2/{name}:run")).json()
    assert ran["dispatchCount"] == 2
    assert "responseTime" not in ran["lastAttempt"]
    await until(lambda: stand.worker.most_at_once == 2)
    stand.worker.answers = [(500, {})]  # one of the two fails; the other's success deletes the task
    stand.worker.gate.set()
    await stand.tasks.idle(include_scheduled=True)
    assert len(stand.worker.requests) == 2
    assert (await stand.http.post(f"{stand.url}/v2/{name}:run")).status_code == 404


async def test_a_task_that_is_run_by_hand_and_fails_waits_from_then_on(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", min_backoff=60), clock=StillClock())
    stand.worker.answers = [(500, {})]
    far = stand.clock.now() + timedelta(days=3)
    name = (await stand.create(task={"scheduleTime": far.isoformat()})).json()["name"]
    await stand.http.post(f"{stand.url}/v2/{name}:run")
    await stand.tasks.idle()
    (task,) = stand.tasks.tasks.values()
    assert task.eta - stand.clock.now() == timedelta(seconds=60)


async def test_a_tasks_own_retry_rules_stand_in_for_the_queues(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", max_attempts=50, min_backoff=3600))
    stand.worker.default = 500
    own = {"maxAttempts": 2, "minBackoff": "0.01s", "maxBackoff": "0.02s"}
    await stand.create(task={"name": stand.name("own"), "retryConfig": own})
    await until(lambda: not stand.tasks.tasks)
    assert [attempt.attempt for attempt in stand.tasks.attempts] == [1, 2]


@pytest.mark.parametrize(
    ("status", "code"), [(404, 5), (429, 8), (403, 7), (500, 13), (503, 14), (504, 4), (418, 2), (302, 2)]
)
async def test_the_last_attempt_says_how_it_ended(make_stand: Make, status: int, code: int) -> None:
    stand = await make_stand(Queue("q", min_backoff=3600))
    stand.worker.answers = [(status, {"Location": stand.worker_url})]  # a redirect is a failure, too
    name = (await stand.create()).json()["name"]
    await stand.tasks.idle()
    last = (await stand.http.get(f"{stand.url}/v2/{name}")).json()["lastAttempt"]
    assert last["responseStatus"] == {"code": code, "message": f"HTTP status code {status}"}
    assert len(stand.worker.requests) == 1


async def test_a_paused_queue_takes_tasks_and_delivers_none_until_resumed(stand: Stand) -> None:
    stand.tasks.pause("q")
    created = await stand.create()
    await stand.tasks.idle()
    assert not stand.worker.requests
    name = created.json()["name"]
    await stand.http.post(f"{stand.url}/v2/{name}:run")  # RunTask ignores the pause
    await stand.tasks.idle()
    assert len(stand.worker.requests) == 1
    await stand.create()
    stand.tasks.resume("q")
    await stand.tasks.idle()
    assert len(stand.worker.requests) == 2


async def test_purge_deletes_everything_waiting(stand: Stand) -> None:
    stand.tasks.pause("q")
    for _ in range(3):
        await stand.create()
    stand.tasks.purge("q")
    stand.tasks.resume("q")
    await stand.tasks.idle()
    assert not stand.worker.requests


async def test_a_deleted_task_that_fails_meanwhile_is_not_retried(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", min_backoff=0.01))
    stand.worker.gate.clear()
    stand.worker.default = 500
    name = (await stand.create()).json()["name"]
    await until(lambda: stand.worker.requests)
    assert (await stand.http.delete(f"{stand.url}/v2/{name}")).status_code == 200
    stand.worker.gate.set()
    await stand.tasks.idle(include_scheduled=True)
    assert len(stand.worker.requests) == 1


class _Counted(dict[str, Any]):
    """Counts what is looked at one after the other."""

    looks = 0

    def values(self) -> Any:
        for value in super().values():
            self.looks += 1
            yield value


async def test_a_delivery_looks_at_no_other_task(make_stand: Make) -> None:
    stand = await make_stand(Queue("q"), Queue("later"))
    stand.tasks.tasks = counted = _Counted()
    in_a_week = _message(stand.worker_url)
    in_a_week.schedule_time.FromDatetime(stand.clock.now() + timedelta(days=7))
    for queue in ("q", "later"):
        for _ in range(500):
            later = type(in_a_week)()
            later.CopyFrom(in_a_week)
            stand.tasks.create(f"projects/p/locations/l/queues/{queue}", later)
    for _ in range(100):
        stand.tasks.create("projects/p/locations/l/queues/q", _message(stand.worker_url))
    await stand.tasks.idle(60)
    assert len(stand.worker.requests) == 100
    assert counted.looks < 2 * 1100  # each create looks at the oldest task


async def test_hundreds_of_waiting_tasks_all_arrive(stand: Stand) -> None:
    stand.tasks.pause("q")
    for _ in range(300):
        stand.tasks.create("projects/p/locations/l/queues/q", _message(stand.worker_url))
    stand.tasks.resume("q")
    await stand.tasks.idle(60)
    assert len(stand.worker.requests) == 300


def _message(url: str) -> Any:
    from google.cloud.tasks_v2.types import Task  # slow to import, only needed here

    return Task.pb(Task(http_request={"url": url}))


async def test_an_attempt_that_fails_by_a_defect_of_ours_leaves_the_task_to_be_run_again(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ValueError("a defect")

    with monkeypatch.context() as broken:
        broken.setattr(stand.tasks.client, "request", fail)
        name = (await stand.create()).json()["name"]
        await stand.tasks.idle()
    assert not stand.tasks.tasks[name].running
    stand.tasks.run_now(name)
    await stand.tasks.idle()
    assert len(stand.worker.requests) == 1
    assert name not in stand.tasks.tasks


async def test_a_pause_longer_than_any_task_lives_ends_with_the_task(make_stand: Make) -> None:
    ten_thousand_years_s = 315_576_000_000.0
    stand = await make_stand(Queue("q", min_backoff=ten_thousand_years_s, max_backoff=ten_thousand_years_s))
    stand.worker.default = 500
    name = (await stand.create()).json()["name"]
    await stand.tasks.idle()
    assert stand.tasks.tasks[name].eta > stand.clock.now() + timedelta(days=30)
    stand.clock.travel(timedelta(days=32))
    await until(lambda: name not in stand.tasks.tasks)


async def test_a_queue_of_hardly_any_rate_goes_on_when_it_is_given_one(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", rate=1e-300))
    for _ in range(2):
        await stand.create()
    await until(lambda: len(stand.worker.requests) == 1)
    change = {"rateLimits": {"maxDispatchesPerSecond": 10}}
    await stand.http.patch(stand.parent(), json=change)
    await until(lambda: len(stand.worker.requests) == 2)


async def test_no_cookie_goes_from_one_delivery_to_the_next(stand: Stand) -> None:
    stand.worker.answers = [(200, {"Set-Cookie": "seen=1"})]
    for _ in range(2):
        await stand.create()
        await stand.tasks.idle()
    assert ["cookie" in request.headers for request in stand.worker.requests] == [False, False]
