"""Cron jobs on the sandbox's clock: ticks, headers, no overlap, missed ticks, retries, deadlines."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import google.auth.jwt
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cloud.scheduler import Job, Oidc, Scheduler, make_app
from sandbox.cloud.scheduler.faults import Fate, TickFaults
from sandbox.stand_in.clock import Clock
from tests.still_clock import NOON, StillClock
from tests.waiting import all_that_can_happen, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.sandbox.cloudtasks.conftest import Stand

    Make = Callable[..., Any]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with AsyncExitStack() as running:

        async def start(*jobs: Job, clock: Clock | None = None, **options: Any) -> tuple[Scheduler, Clock]:
            clock = clock or StillClock(NOON + timedelta(seconds=1))
            scheduler = Scheduler(jobs, clock=clock, **options)
            await scheduler.start()
            running.push_async_callback(scheduler.stop)
            return scheduler, clock

        yield start


async def test_a_job_fires_at_its_minute_with_the_real_headers(make: Make, stand: Stand) -> None:
    _, clock = await make(Job("sweep-x", "* * * * *", stand.worker_url, body=b"{}"))
    tick = clock.now().replace(second=0, microsecond=0) + timedelta(minutes=1)
    clock.travel(timedelta(seconds=55))
    assert not stand.worker.requests
    clock.travel(timedelta(seconds=5))
    await until(lambda: stand.worker.requests)
    (got,) = stand.worker.requests
    assert (got.method, got.body) == ("POST", b"{}")
    assert got.headers["user-agent"] == "Google-Cloud-Scheduler"
    assert got.headers["x-cloudscheduler"] == "true"
    assert got.headers["x-cloudscheduler-jobname"] == "sweep-x"
    assert got.headers["x-cloudscheduler-scheduletime"] == tick.strftime("%Y-%m-%dT%H:%M:00Z")
    assert got.headers["content-type"] == "application/octet-stream"


async def test_headers_method_and_token_are_the_jobs(make: Make, stand: Stand) -> None:
    headers = {"Content-Type": "application/json", "X-CloudScheduler-JobName": "forged"}
    oidc = Oidc("i@p.iam.gserviceaccount.com", "aud")
    job = Job("j", "* * * * *", stand.worker_url, method="PUT", headers=headers, oidc=oidc)
    scheduler, _ = await make(job)
    run = await scheduler.run_now("j")
    assert (run.status, run.body) == (200, b"{}")
    (got,) = stand.worker.requests
    assert got.method == "PUT"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-cloudscheduler-jobname"] == "j"
    decode: Callable[..., Any] = google.auth.jwt.decode
    token = got.headers["authorization"].removeprefix("Bearer ")
    assert decode(token, certs=scheduler.signer.public_key_pem, audience="aud")["email"] == oidc.service_account_email


async def test_missed_ticks_fire_once_with_the_latest(make: Make, stand: Stand) -> None:
    scheduler, clock = await make(Job("j", "* * * * *", stand.worker_url))
    clock.travel(timedelta(days=400))
    await until(lambda: stand.worker.requests)
    await all_that_can_happen()
    assert len(stand.worker.requests) == 1
    assert scheduler.runs[0].tick == clock.now().replace(second=0, microsecond=0)
    clock.travel(timedelta(minutes=1))
    await until(lambda: len(stand.worker.requests) == 2)


async def test_a_long_run_delays_the_next_and_never_overlaps(make: Make, stand: Stand) -> None:
    scheduler, clock = await make(Job("j", "* * * * *", stand.worker_url))
    stand.worker.gate.clear()
    clock.travel(timedelta(minutes=1))
    await until(lambda: stand.worker.requests)
    forced = asyncio.create_task(scheduler.run_now("j"))
    clock.travel(timedelta(minutes=5))
    await all_that_can_happen()
    assert len(stand.worker.requests) == 1
    stand.worker.gate.set()
    await forced
    await until(lambda: len(stand.worker.requests) == 3)
    assert stand.worker.most_at_once == 1


async def test_jobs_do_not_wait_for_each_other(make: Make, stand: Stand) -> None:
    _, clock = await make(Job("a", "* * * * *", stand.worker_url), Job("b", "* * * * *", stand.worker_url))
    stand.worker.gate.clear()
    clock.travel(timedelta(minutes=1))
    await until(lambda: len(stand.worker.requests) == 2)


async def test_a_failed_tick_is_left_to_the_next_by_default(make: Make, stand: Stand) -> None:
    stand.worker.default = 500
    scheduler, clock = await make(Job("j", "*/30 * * * *", stand.worker_url))
    clock.travel(timedelta(minutes=30))
    await until(lambda: scheduler.runs and scheduler.runs[0].duration is not None)
    assert (scheduler.runs[0].ok, scheduler.runs[0].reason) == (False, "HTTP status code 500")
    clock.travel(timedelta(seconds=30))
    await all_that_can_happen()
    assert len(stand.worker.requests) == 1


async def test_retries_keep_their_tick_and_stop_when_they_succeed(make: Make, stand: Stand) -> None:
    stand.worker.answers = [(500, {}), (503, {})]
    scheduler, clock = await make(Job("j", "0 0 * * *", stand.worker_url, retry_count=3))
    clock.travel(timedelta(days=1))

    def made(attempts: int) -> bool:
        return len(scheduler.runs) == attempts and scheduler.runs[-1].duration is not None

    for attempts, wait in ((1, 5), (2, 10)):
        await until(partial(made, attempts))
        await all_that_can_happen()
        assert not made(attempts + 1)
        clock.travel(timedelta(seconds=wait))
    await until(partial(made, 3))
    clock.travel(timedelta(hours=1))
    await all_that_can_happen()
    assert not made(4)
    assert [run.status for run in scheduler.runs] == [500, 503, 200]
    assert len({run.tick for run in scheduler.runs}) == 1
    assert [run.attempt for run in scheduler.runs] == [1, 2, 3]


async def test_an_attempt_past_its_deadline_is_a_failure(make: Make, stand: Stand) -> None:
    stand.worker.gate.clear()
    scheduler, _ = await make(Job("j", "* * * * *", stand.worker_url), deadline_limit=0.05)
    run = await scheduler.run_now("j")
    assert (run.status, run.reason) == (None, "DEADLINE_EXCEEDED")


async def test_an_unreachable_target_is_a_failure(make: Make) -> None:
    scheduler, _ = await make(Job("j", "* * * * *", "http://127.0.0.1:1/"))
    run = await scheduler.run_now("j")
    assert run.status is None
    assert run.reason.startswith("UNAVAILABLE")


async def test_a_paused_job_lets_its_ticks_pass_but_can_be_forced(make: Make, stand: Stand) -> None:
    scheduler, clock = await make(Job("j", "* * * * *", stand.worker_url))
    scheduler.pause("j")
    assert scheduler.is_paused("j")
    clock.travel(timedelta(minutes=10))
    await scheduler.run_now("j")
    await all_that_can_happen()
    assert len(stand.worker.requests) == 1
    scheduler.resume("j")
    await all_that_can_happen()
    assert len(stand.worker.requests) == 1
    clock.travel(timedelta(minutes=1))
    await until(lambda: len(stand.worker.requests) == 2)


@pytest.mark.parametrize(
    "bad",
    [
        {"schedule": "* * * *"},
        {"schedule": "61 * * * *"},
        {"schedule": "* * * * * *"},
        {"attempt_deadline": 14},
        {"attempt_deadline": 1801},
        {"retry_count": 6},
        {"time_zone": "Mars/Olympus"},
    ],
)
def test_bad_jobs_are_refused_by_name(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the-job"):
        Job(**{"name": "the-job", "schedule": "* * * * *", "url": "http://127.0.0.1/", **bad})


async def test_unknown_and_double_names_are_refused() -> None:
    job = Job("j", "* * * * *", "http://127.0.0.1/")
    with pytest.raises(ValueError, match="two jobs"):
        Scheduler([job, job], clock=Clock())
    with pytest.raises(KeyError):
        await Scheduler([job], clock=Clock()).run_now("k")


@given(
    schedule=st.sampled_from(["* * * * *", "*/5 * * * *", "7 * * * *", "30 3 * * *", "0 0 1 * *"]),
    seen=st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the strategy adds the zone
    gap=st.timedeltas(timedelta(0), timedelta(days=60)),
)
def test_the_latest_tick_is_the_last_one_not_after_now(schedule: str, seen: datetime, gap: timedelta) -> None:
    job = Job("j", schedule, "http://127.0.0.1/")
    now = job.next_tick(seen) + gap
    tick = job.latest_tick(seen, now)
    assert seen < tick <= now < job.next_tick(tick)


async def test_a_missed_tick_never_comes_and_the_next_one_does(make: Make, stand: Stand) -> None:
    scheduler, clock = await make(Job("j", "* * * * *", stand.worker_url), Job("k", "* * * * *", stand.worker_url))
    scheduler.miss_next("j", 2)
    first = clock.now().replace(second=0, microsecond=0) + timedelta(minutes=1)

    def ticked(times: int) -> bool:
        return len(scheduler.missed) == times == len([run for run in scheduler.runs if run.duration is not None])

    for times in (1, 2):
        clock.travel(timedelta(minutes=1))
        await until(partial(ticked, times))
    assert list(scheduler.missed) == [("j", first), ("j", first + timedelta(minutes=1))]
    assert {run.job for run in scheduler.runs} == {"k"}
    assert (await scheduler.run_now("j")).ok  # a forced run is no tick
    clock.travel(timedelta(minutes=1))
    await until(lambda: len(stand.worker.requests) == 5)
    assert [run.tick for run in scheduler.runs if run.job == "j"][1:] == [first + timedelta(minutes=2)]


async def test_a_doubled_tick_comes_twice_at_once_with_one_schedule_time(make: Make, stand: Stand) -> None:
    scheduler, clock = await make(Job("j", "* * * * *", stand.worker_url))
    scheduler.double_next("j")
    stand.worker.gate.clear()
    clock.travel(timedelta(minutes=1))
    await until(lambda: stand.worker.most_at_once == 2)
    stand.worker.gate.set()
    clock.travel(timedelta(minutes=1))
    await until(lambda: len(stand.worker.requests) == 3)
    times = [got.headers["x-cloudscheduler-scheduletime"] for got in stand.worker.requests]
    assert times[0] == times[1] < times[2]
    assert len(scheduler.runs) == 3


async def test_a_late_tick_keeps_its_time_and_holds_the_next_one_back(make: Make, stand: Stand) -> None:
    scheduler, clock = await make(Job("j", "* * * * *", stand.worker_url))
    scheduler.delay_next("j", 90)
    first = clock.now().replace(second=0, microsecond=0) + timedelta(minutes=1)
    clock.travel(timedelta(minutes=1))
    assert await asyncio.wait_for(scheduler.run_now("j"), 5)  # nothing is outstanding meanwhile
    clock.travel(timedelta(seconds=85))
    await all_that_can_happen()
    assert len(stand.worker.requests) == 1
    clock.travel(timedelta(seconds=5))
    await until(lambda: len(stand.worker.requests) == 3)
    late, next_one = scheduler.runs[1:]
    assert late.tick == first
    assert late.start - late.tick == timedelta(seconds=91)  # time travelled one second further
    assert next_one.tick == first + timedelta(minutes=1)
    assert stand.worker.most_at_once == 1


def test_shares_of_all_ticks_are_what_they_say() -> None:
    draws = random.Random(7)  # noqa: S311 - draws faults, no secrets
    faults = TickFaults(missed_share=0.1, doubled_share=0.2, late_share=0.3, late_s=30, random=draws)
    fates = Counter(faults.fate("j") for _ in range(2000))
    assert sum(count for fate, count in fates.items() if fate.executions == 0) == pytest.approx(200, abs=60)
    assert sum(count for fate, count in fates.items() if fate.executions == 2) == pytest.approx(360, abs=80)
    assert sum(count for fate, count in fates.items() if fate.late_s == 30) == pytest.approx(540, abs=100)
    assert {TickFaults().fate("j") for _ in range(100)} == {Fate(1, 0.0)}


def test_faults_asked_for_are_used_up_by_their_own_job() -> None:
    faults = TickFaults()
    faults.miss_next("j", 1)
    faults.double_next("j", 1)
    faults.delay_next("j", 5, 2)
    assert faults.fate("k") == Fate(1, 0.0)
    assert [faults.fate("j") for _ in range(4)] == [Fate(0, 0.0), Fate(2, 5), Fate(1, 5), Fate(1, 0.0)]


def test_the_time_between_retries_doubles_then_grows_evenly() -> None:
    job = Job("j", "0 0 * * *", "http://127.0.0.1/", min_backoff=10, max_backoff=300, max_doublings=3)
    assert [job.backoff(n) for n in range(8)] == [10, 20, 40, 80, 160, 240, 300, 300]


def test_ticks_follow_the_clocks_of_the_jobs_zone() -> None:
    job = Job("j", "30 2 * * *", "http://127.0.0.1/", time_zone="Europe/Berlin")
    winter = job.next_tick(datetime(2026, 1, 10, 12, tzinfo=UTC))
    summer = job.next_tick(datetime(2026, 7, 10, 12, tzinfo=UTC))
    assert (winter.hour, summer.hour) == (1, 0)
    assert winter.tzinfo is UTC
    assert job.latest_tick(winter, datetime(2026, 7, 11, 12, tzinfo=UTC)) == summer


async def test_retries_stop_at_the_next_tick(make: Make, stand: Stand) -> None:
    stand.worker.default = 500
    scheduler, clock = await make(Job("j", "* * * * *", stand.worker_url, retry_count=5, min_backoff=40))
    clock.travel(timedelta(minutes=1))
    await until(lambda: [run for run in scheduler.runs if run.duration is not None])
    clock.travel(timedelta(seconds=40))
    await until(lambda: len(scheduler.runs) == 2)
    clock.travel(timedelta(seconds=20))
    await until(lambda: len(scheduler.runs) == 3)
    assert [run.attempt for run in scheduler.runs] == [1, 2, 1]
    assert scheduler.runs[2].tick == scheduler.runs[0].tick + timedelta(minutes=1)


async def test_switched_on_while_it_is_being_switched_off_it_fires(make: Make, stand: Stand) -> None:
    scheduler, clock = await make(Job("j", "* * * * *", stand.worker_url))
    halting = asyncio.create_task(scheduler.halt())
    await asyncio.sleep(0)
    await scheduler.start()
    await halting
    clock.travel(timedelta(minutes=1))
    await until(lambda: stand.worker.requests)


async def test_the_rest_api_tells_state_target_and_how_the_last_attempt_ended(make: Make, stand: Stand) -> None:
    nowhere = "http://127.0.0.1:9/"
    scheduler, _ = await make(
        Job("good", "* * * * *", stand.worker_url, body=b"{}", oidc=Oidc("caller@local")),
        Job("lost", "*/5 * * * *", nowhere),
        Job("never", "0 3 * * *", stand.worker_url),
    )
    scheduler.pause("lost")
    await scheduler.run_now("good")
    await scheduler.run_now("lost")
    transport = httpx.ASGITransport(make_app(scheduler), client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        listed = (await client.get("/v1/projects/p/locations/l/jobs")).json()["jobs"]
        alone = await client.get("/v1/projects/p/locations/l/jobs/lost")
        unknown = await client.get("/v1/projects/p/locations/l/jobs/none")
    good, lost, never = listed
    assert good["name"] == "projects/p/locations/l/jobs/good"
    assert (good["state"], good["status"], good["schedule"], good["timeZone"]) == (
        "ENABLED",
        {},
        "* * * * *",
        "Etc/UTC",
    )
    assert good["httpTarget"]["oidcToken"] == {"serviceAccountEmail": "caller@local", "audience": stand.worker_url}
    assert good["lastAttemptTime"] < good["scheduleTime"]
    assert (lost["state"], lost["status"]["code"]) == ("PAUSED", 14)
    assert alone.json() == lost
    assert "lastAttemptTime" not in never
    assert "status" not in never
    assert (unknown.status_code, unknown.json()["error"]["status"]) == (404, "NOT_FOUND")
