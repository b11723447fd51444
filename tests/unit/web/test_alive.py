"""What the platform's probes are answered, and that nothing else is changed by it."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import cache

import pytest
from starlette.requests import Request
from starlette.responses import Response

from lib import bootstrap, function_table
from lib.db import Database, Unavailable
from lib.db import database as module
from lib.web import alive
from tests.waiting import until

PATH = function_table.probes().path


def _request(method: str, path: str) -> Request:
    return Request({"type": "http", "method": method, "path": path, "query_string": b"", "headers": []})


async def _function(_request: Request) -> Response:
    return Response("the function's own", 418)


@pytest.mark.proves("S2-4b")
@pytest.mark.parametrize("target", function_table.load().targets())
async def test_a_probe_is_answered_for_every_function_without_settings_or_database(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    bootstrap._for_sweeps.cache_clear()
    bootstrap._for_others.cache_clear()
    answer = await alive.answering(_function, target)(_request("GET", PATH))
    assert (answer.status_code, answer.body) == (200, b'{"ok":true}')


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", PATH), ("GET", PATH + "/x"), ("POST", "/"), ("HEAD", PATH)]
)
async def test_every_other_request_is_the_functions(method: str, path: str) -> None:
    answer = await alive.answering(_function, "task_settle")(_request(method, path))
    assert answer.status_code == 418


@pytest.mark.proves("S2-4b")
@pytest.mark.parametrize(
    ("target", "made_by"),
    [
        ("task_settle", "_for_others"),
        ("sweep_outbox", "_for_sweeps"),
        ("private", "_for_others"),
        ("private", "_for_sweeps"),
    ],
)
async def test_a_worker_one_of_whose_threads_hangs_for_good_asks_to_be_replaced(
    target: str, made_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, let_go = threading.Event(), threading.Event()

    class Hangs:
        def __init__(self, *_: object, **__: object) -> None:
            hung.set()
            let_go.wait(30)
            raise Unavailable("let go")

    monkeypatch.setattr(module, "Connection", Hangs)
    database = Database("postgresql://u:p@127.0.0.1/none", connections=1, application="hangs", guards=False)

    @cache
    def the_database() -> Database:
        return database

    monkeypatch.setattr(bootstrap, made_by, the_database)
    the_database()
    entry = alive.answering(_function, target)
    assert (await entry(_request("GET", PATH))).status_code == 200
    running = asyncio.ensure_future(database.run(lambda tx: tx.value("select 1")))
    await until(hung.is_set, "a thread that hangs")
    assert (await entry(_request("GET", PATH))).status_code == 200  # under way, as any transaction is
    now = time.monotonic
    timeout_s = function_table.load().longest_s(target)
    monkeypatch.setattr(time, "monotonic", lambda: now() + timeout_s + alive.STUCK_S + 1)
    assert (await entry(_request("GET", PATH))).status_code == 503
    monkeypatch.undo()
    let_go.set()
    with pytest.raises(Unavailable):
        await running
    assert database.oldest_s() == 0
    await database.close()
