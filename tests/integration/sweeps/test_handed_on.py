"""G-15: follow-up work counts as enqueued only once its task exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from functions.sweeps import sweep_outbox
from lib.domain import outbox
from lib.tasks.queue import QueueUnavailable
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction
    from lib.tasks.queue import Task
    from tests.integration.sweeps.runs import Queue

_STATE = "select attempt || ' ' || (enqueued_at is null or enqueued_at < atlas.now() - interval '1 minute') from outbox"


def _add(tx: Transaction, *, enqueued: bool) -> None:
    item = outbox.add(tx, "nodes", "task_provision", {"subscription_id": 1}, "t")
    tx.execute(
        "update outbox set created_at = atlas.now() - interval '1 hour',"
        " enqueued_at = case when cast(:enqueued as boolean) then atlas.now() - interval '1 hour' end where id = :id",
        enqueued=enqueued,
        id=item.id,
    )


@pytest.mark.proves("G-15")
@pytest.mark.parametrize("enqueued", [False, True], ids=["never enqueued", "stuck"])
async def test_a_queue_that_refuses_costs_one_pass(
    processes: Callable[[int], list[Database]], queue: Queue, monkeypatch: pytest.MonkeyPatch, *, enqueued: bool
) -> None:
    (db,) = processes(1)
    await db.run(lambda tx: _add(tx, enqueued=enqueued))

    async def refuse(_task: Task) -> bool:
        raise QueueUnavailable("HTTP 503")

    with monkeypatch.context() as broken:
        broken.setattr(queue, "create", refuse)
        await sweep_outbox._work(sweep_run(db, "outbox"))
    assert await db.run(lambda tx: tx.value(_STATE)) == "1 true"
    await sweep_outbox._work(sweep_run(db, "outbox"))
    assert len(queue.tasks) == 1
    assert await db.run(lambda tx: tx.value(_STATE)) == ("2 false" if enqueued else "1 false")


@pytest.mark.proves("G-15")
@pytest.mark.parametrize("enqueued", [False, True], ids=["never enqueued", "stuck"])
async def test_a_task_put_off_before_its_row_is_marked_waits_no_longer_than_it_asked(
    processes: Callable[[int], list[Database]], queue: Queue, monkeypatch: pytest.MonkeyPatch, *, enqueued: bool
) -> None:
    (db,) = processes(1)
    await db.run(lambda tx: _add(tx, enqueued=enqueued))
    create = queue.create

    async def create_and_put_off(task: Task) -> bool:
        made = await create(task)
        await db.run(lambda tx: outbox.put_off(tx, int(tx.value("select id from outbox")), 0))
        return made

    with monkeypatch.context() as at_once:
        at_once.setattr(queue, "create", create_and_put_off)
        await sweep_outbox._enqueue_forgotten(run := sweep_run(db, "outbox"))
        if enqueued:
            await sweep_outbox._drive_again(run)
    assert await db.run(lambda tx: tx.value(_STATE)) == "3 true"
    await sweep_outbox._work(sweep_run(db, "outbox"))
    assert len(queue.tasks) == 2
