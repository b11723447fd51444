"""The one private service of a small shop: each function by its path, each answering as its own service would."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from functions_framework.aio import create_asgi_app

from lib import bootstrap, function_table, log, target
from lib.db.lock import SweepLock
from lib.settings import check, plain
from lib.sweeps import places, runner
from lib.web import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request
    from starlette.responses import Response

ROOT = Path(__file__).resolve().parents[3]
TABLE = function_table.load()
PRIVATE = TABLE.private()
_CACHES = (
    bootstrap._for_sweeps,
    bootstrap._for_others,
    bootstrap.node_transport,
    bootstrap.task_queue,
    plain.database,
    plain.cryptopay,
    plain.telegram,
    plain.tasks,
    plain.first_node,
    check.problems_once,
    places.here,
)


@pytest.fixture
def environment(functions_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """What a small shop's private service is given."""
    for setting, value in {
        "DATABASE_URL": functions_url,
        "DB_CONNECTIONS": "2",
        "TELEGRAM_BOT_TOKEN": "42:AAtoken-of-the-bot",
        "CRYPTOPAY_TOKEN": "31337:AAtoken-of-the-app",
        "TASKS_ENDPOINT": "http://127.0.0.1:9",
        "TASKS_PROJECT": "project",
        "TASKS_LOCATION": "place",
        "FUNCTION_URL_TEMPLATE": "https://private.test/{name}",
    }.items():
        monkeypatch.setenv(setting, value)
    for cached in _CACHES:
        cached.cache_clear()
    yield monkeypatch
    for cached in _CACHES:
        cached.cache_clear()


@pytest.fixture
def lines() -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """Log lines of an event, as they are written."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(log._JsonLine())
    logger = logging.getLogger("atlas")
    before, level = logger.handlers[:], logger.level
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)

    def of(event: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, written.getvalue().splitlines()) if line["event"] == event]

    yield of
    logger.handlers[:] = before
    logger.setLevel(level)


def _served(environment: pytest.MonkeyPatch, served: str) -> httpx.AsyncClient:
    """The framework's application, started as the platform starts it."""
    environment.setenv("FUNCTION_TARGET", served)
    environment.delitem(sys.modules, "main", raising=False)
    app: Any = create_asgi_app(served, str(ROOT / "main.py"))  # type: ignore[no-untyped-call] # the framework has no types
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service")


async def _ask(environment: pytest.MonkeyPatch, served: str, method: str, path: str, body: bytes) -> tuple[int, Any]:
    for cached in _CACHES:
        cached.cache_clear()
    async with _served(environment, served) as client:
        answer = await client.request(method, path, content=body, headers={"X-CloudScheduler-ScheduleTime": "now"})
    await _close_databases()
    said = answer.json()
    said.pop("ms", None)
    if said.get("sweep") == "audit":
        said.pop("done")  # what is asked once a night was asked by the one before
    return answer.status_code, said


async def _close_databases() -> None:
    databases = [bootstrap.database()]
    with target.serving("sweep_expiry"):
        databases.append(bootstrap.database())
    for database in databases:
        await database.close()


@pytest.mark.parametrize("service", PRIVATE)
async def test_a_function_answers_by_its_path_as_its_own_service_does(
    environment: pytest.MonkeyPatch, service: str
) -> None:
    row = PRIVATE[service]
    for method, body in (("POST", b"{}"), ("POST", b"not json"), ("GET", b""), ("POST", b'{"outbox_id": 1}')):
        alone = await _ask(environment, row.name, method, "/", body)
        together = await _ask(environment, "private", method, f"/{service}", body)
        assert together == alone, (method, body)
        assert alone[0] != 500, alone  # the environment is whole


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/private",
        "/telegram-webhook",
        "/health",
        "/task_settle",
        "/task-settle/",
        "/task-settle/x",
        "//task-settle",
        "/x",
    ],
)
async def test_what_is_no_private_functions_path_is_refused(environment: pytest.MonkeyPatch, path: str) -> None:
    assert await _ask(environment, "private", "POST", path, b"{}") == (404, {"ok": False, "error": "no such function"})


async def test_a_module_is_imported_at_its_first_request(environment: pytest.MonkeyPatch) -> None:
    row = PRIVATE["task-settle"]
    imported: list[str] = []
    real = import_module

    def recorded(name: str) -> Any:
        imported.append(name)
        return real(name)

    async with _served(environment, "private") as client:
        environment.setattr("importlib.import_module", recorded)
        await client.post("/x", content=b"{}")
        assert not [name for name in imported if name.startswith("functions.")]
        await client.post("/task-settle", content=b"{}")
        assert [name for name in imported if name.startswith("functions.")] == [row.module]


async def test_a_function_that_takes_longer_than_its_row_allows_is_ended_and_others_go_on(
    environment: pytest.MonkeyPatch, lines: Callable[[str], list[dict[str, Any]]]
) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def hangs(_request: Request) -> Response:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return answers.ok()

    environment.setattr("functions.tasks.task_settle.task_settle", hangs)
    row = PRIVATE["task-settle"]
    environment.setattr("lib.function_table.load", lambda: _shortened(row.name))
    async with _served(environment, "private") as client:
        hanging = asyncio.create_task(client.post("/task-settle", content=b"{}"))
        await started.wait()
        assert (await client.post("/task-notify", content=b"{}")).status_code == 200
        answer = await hanging
    assert ended.is_set()
    assert (answer.status_code, answer.json()["error"]) == (504, "took longer than 0.2 s")
    assert [(line["function"], line["seconds"]) for line in lines("request_timed_out")] == [("task_settle", 0.2)]


def _shortened(name: str) -> function_table.Table:
    from dataclasses import replace

    rows = TABLE.functions | {name: replace(TABLE.functions[name], timeout_s=0.2)}  # type: ignore[arg-type] # whole seconds in the table
    return function_table.Table(rows, TABLE.queues)


@pytest.mark.proves("S2-3.connections")
async def test_of_all_sweeps_at_once_no_more_work_than_there_are_places_and_all_of_them_do_in_the_end(
    environment: pytest.MonkeyPatch,
) -> None:
    """The plan counts one lock's connection for each place (infra/terraform, connections.tf)."""
    sweeps = [row for row in PRIVATE.values() if row.trigger == "schedule"]
    may_end, at_work, most, all_asked = asyncio.Event(), set[str](), 0, asyncio.Event()
    opened = SweepLock._take

    def counted(lock: SweepLock) -> bool:
        nonlocal most
        at_work.add(lock._sweep)
        most = max(most, len(at_work))
        return opened(lock)

    async def held(_run: runner.Run, _work: object, _hard_s: float) -> tuple[str, None]:
        if len(at_work) == TABLE.sweeps_at_once:
            all_asked.set()
        await may_end.wait()
        return "done", None

    released = SweepLock._release

    def counted_off(lock: SweepLock) -> None:
        released(lock)
        at_work.discard(lock._sweep)

    environment.setattr(SweepLock, "_take", counted)
    environment.setattr(SweepLock, "_release", counted_off)
    environment.setattr(runner, "_bounded", held)
    assert len(sweeps) > TABLE.sweeps_at_once
    async with _served(environment, "private") as client:
        asked = [asyncio.create_task(client.post(f"/{row.service}", content=b"{}")) for row in sweeps]
        await all_asked.wait()
        again = await client.post(f"/{sweeps[0].service}", content=b"{}")
        may_end.set()
        answered = [(await one).json() for one in asked]
    await _close_databases()
    assert most == TABLE.sweeps_at_once
    assert [one.get("skipped") for one in answered] == [None] * len(sweeps), answered
    assert again.json()["skipped"] == "running"


@pytest.mark.parametrize(
    ("service", "status"), [("sweep-outbox", 200), ("export-ledger", 503)], ids=["often", "seldom"]
)
async def test_without_a_place_in_time_a_sweep_is_put_off_and_what_runs_seldom_is_tried_again(
    environment: pytest.MonkeyPatch,
    lines: Callable[[str], list[dict[str, Any]]],
    service: str,
    status: int,
) -> None:
    environment.setattr(runner, "PLACE_WAIT_S", 0.01)
    async with _served(environment, "private") as client, AsyncExitStack() as taken:
        for number in range(TABLE.sweeps_at_once):
            assert await taken.enter_async_context(places.here().one(f"other-{number}", 0.0)) is None
        answer = await client.post(f"/{service}", content=b"{}")
    await _close_databases()
    assert answer.status_code == status
    assert [line["reason"] for line in lines("sweep_skipped")] == ["no place"]


async def test_tasks_and_sweeps_have_connections_of_their_own_and_log_as_themselves(
    environment: pytest.MonkeyPatch, lines: Callable[[str], list[dict[str, Any]]]
) -> None:
    """A sweep's page may take 20 s, a task's statement 3; neither waits for a connection of the other."""
    environment.setenv("FUNCTION_TARGET", "private")
    found = {}
    for name in ("task_settle", "task_notify", "sweep_outbox", "sweep_expiry"):
        with target.serving(name):
            found[name] = bootstrap.database()
            log.info("seen")
    assert found["task_settle"] is found["task_notify"]
    assert found["sweep_outbox"] is found["sweep_expiry"]
    assert found["task_settle"] is not found["sweep_outbox"]
    assert [line["function"] for line in lines("seen")] == list(found)
    assert [found[name]._timeouts.statement_ms for name in ("task_settle", "sweep_outbox")] == [3_000, 20_000]
    for name in ("task_settle", "sweep_outbox"):
        await found[name].close()


def test_main_names_every_target_when_it_is_given_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCTION_TARGET", "nothing")
    monkeypatch.delitem(sys.modules, "main", raising=False)
    with pytest.raises(SystemExit, match=r"is none of: telegram_webhook, .*, private$"):
        import_module("main")
