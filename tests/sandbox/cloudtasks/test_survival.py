"""What is left when the sandbox stops, is killed, or lives for long."""

from __future__ import annotations

import asyncio
import base64
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.cloud.cloudtasks import CloudTasks, Queue
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.cloudtasks.conftest import Stand

    Make = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[3]


async def test_state_survives_a_restart(make_stand: Make, tmp_path: Any) -> None:
    store = tmp_path / "tasks.sqlite"
    first = await make_stand(Queue("q", min_backoff=3600), Queue("p"), store=store)
    await first.create(task={"name": first.name("done")})
    await first.tasks.idle()
    first.worker.answers = [(500, {})]
    await first.create(task={"name": first.name("failed")}, body=base64.b64encode(b"x").decode())
    await first.tasks.idle()
    first.worker.gate.clear()
    await first.create(task={"name": first.name("cut")})
    await until(lambda: len(first.worker.requests) == 3)
    first.tasks.pause("p")
    await first.create("p")
    await first.tasks.stop()
    first.worker.gate.set()
    first.worker.requests.clear()

    second = await make_stand(Queue("q", min_backoff=3600), Queue("p"), store=store, clock=first.clock)
    await second.tasks.idle()
    assert [got.headers["x-cloudtasks-taskname"] for got in second.worker.requests] == ["cut"]
    assert second.worker.requests[0].headers["x-cloudtasks-taskretrycount"] == "1"
    assert (await second.create(task={"name": second.name("done")})).status_code == 409
    second.clock.travel(timedelta(hours=1))
    await second.tasks.idle()
    assert second.worker.requests[1].headers["x-cloudtasks-taskname"] == "failed"
    assert second.worker.requests[1].headers["x-cloudtasks-taskpreviousresponse"] == "500"
    assert second.worker.requests[1].body == b"x"
    assert len(second.worker.requests) == 2
    second.tasks.resume("p")
    await second.tasks.idle()
    assert len(second.worker.requests) == 3


# A sandbox of its own: one task done, one failed, one under way, one waiting in a paused queue; then it waits for its end.
_ENDED = """
import asyncio, pathlib, sys
from google.cloud.tasks_v2.types import Task
from sandbox.stand_in.clock import Clock
from sandbox.cloud.cloudtasks import CloudTasks, Queue

async def main(store, url):
    tasks = CloudTasks([Queue("q", min_backoff=3600), Queue("p")], clock=Clock(), store=pathlib.Path(store))
    await tasks.start()
    tasks.pause("p")
    for queue, name in (("q", "done"), ("q", "failed"), ("p", "waiting"), ("q", "cut")):
        parent = f"projects/p/locations/l/queues/{queue}"
        tasks.create(parent, Task.pb(Task(name=f"{parent}/tasks/{name}", http_request={"url": f"{url}/{name}"})))
        if name != "cut":
            await tasks.idle()
        if name == "waiting":
            await asyncio.to_thread(sys.stdin.readline)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_sandbox_that_is_killed_with_tasks_under_way_loses_none(make_stand: Make, tmp_path: Path) -> None:
    store = tmp_path / "tasks.sqlite"
    stand = await make_stand(Queue("unused"))
    worker = stand.worker
    worker.answers = [(200, {}), (500, {})]
    command = (sys.executable, "-c", _ENDED, store, stand.worker_url)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    try:
        await until(lambda: len(worker.requests) == 2)
        worker.gate.clear()
        process.stdin.write(b"go on\n")
        await until(lambda: len(worker.requests) == 3)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    process.stdin.close()
    assert [got.path for got in worker.requests] == ["/work/done", "/work/failed", "/work/cut"]
    worker.gate.set()
    worker.requests.clear()

    again = await make_stand(Queue("q", min_backoff=3600), Queue("p"), store=store)
    await again.tasks.idle()
    assert [got.path for got in worker.requests] == ["/work/cut"]
    assert worker.requests[0].headers["x-cloudtasks-taskretrycount"] == "1"
    again.tasks.resume("p")
    again.clock.travel(timedelta(hours=1))
    await again.tasks.idle()
    assert sorted(got.path for got in worker.requests) == ["/work/cut", "/work/failed", "/work/waiting"]
    for name in ("done", "cut", "failed"):
        assert (await again.create(task={"name": again.name(name)})).status_code == 409


async def test_queues_made_and_deleted_by_the_api_are_so_after_a_restart(make_stand: Make, tmp_path: Path) -> None:
    store = tmp_path / "tasks.sqlite"
    first: Stand = await make_stand(Queue("q"), store=store)
    base = first.parent().removesuffix("/q")
    kept, dropped = (
        {"name": f"projects/p/locations/l/queues/{name}", "rateLimits": {"maxConcurrentDispatches": 3}}
        for name in ("kept", "dropped")
    )
    for queue in (kept, dropped):
        assert (await first.http.post(base, json=queue)).status_code == 200
    await first.http.post(f"{base}/kept:pause")
    await first.create("kept", task={"name": first.name("a", "kept")})
    await first.create("dropped")
    await first.http.delete(f"{base}/dropped")
    await first.tasks.stop()

    second: Stand = await make_stand(Queue("q"), store=store, clock=first.clock)
    assert second.tasks.queues == {"q": Queue("q"), "kept": Queue("kept", max_concurrent=3)}
    assert second.tasks.is_paused("kept")
    assert (await second.http.post(base, json=dropped)).json()["error"]["status"] == "FAILED_PRECONDITION"
    await second.http.post(f"{base}/kept:resume")
    await second.tasks.idle()
    assert second.worker.requests[-1].headers["x-cloudtasks-taskname"] == "a"


async def test_used_names_are_let_go_when_their_time_is_over(make_stand: Make, tmp_path: Path) -> None:
    store = tmp_path / "tasks.sqlite"
    stand: Stand = await make_stand(store=store)
    for _ in range(50):
        await stand.create()
    await stand.tasks.idle()
    stand.clock.travel(timedelta(hours=24))
    await stand.create(task={"name": stand.name("last")})
    await stand.tasks.idle()
    assert len(stand.tasks._tombstones) == 1
    await stand.tasks.stop()
    assert list(CloudTasks([], clock=stand.clock, store=store)._store.tombstones()) == [stand.name("last")]


async def test_names_can_be_free_again_sooner(make_stand: Make) -> None:
    stand: Stand = await make_stand(tombstone=timedelta(minutes=1))
    for expected in (200, 409):
        assert (await stand.create(task={"name": stand.name("a")})).status_code == expected
    await stand.tasks.idle()
    stand.clock.travel(timedelta(minutes=1))
    assert (await stand.create(task={"name": stand.name("a")})).status_code == 200
    await stand.tasks.idle()


async def test_waiting_tasks_follow_a_function_that_moved(make_stand: Make, tmp_path: Path) -> None:
    first = await make_stand(store=tmp_path / "tasks.sqlite3")
    first.tasks.pause("q")
    account = {"serviceAccountEmail": "i@p.iam.gserviceaccount.com", "audience": "http://127.0.0.1:1"}
    for token in (account, {"serviceAccountEmail": account["serviceAccountEmail"]}):
        await first.create(url="http://127.0.0.1:1/work?a=b", oidcToken=token)
    await first.tasks.stop()
    second = await make_stand(store=tmp_path / "tasks.sqlite3")
    here = second.worker_url.removesuffix("/work")
    second.tasks.readdress(lambda url: url.replace("http://127.0.0.1:1", here))
    await second.tasks.stop()
    third = await make_stand(store=tmp_path / "tasks.sqlite3")
    requests = [task.message.http_request for task in third.tasks.tasks.values()]
    assert [request.url for request in requests] == [f"{here}/work?a=b"] * 2
    assert [request.oidc_token.audience for request in requests] == [here, ""]
