"""One run of one sweep (docs/architecture.md, rule 5 and Sweeps; docs/interface.md, Responses)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, SupportsInt, TypeVar

from lib import bootstrap, function_table, json_reader, log
from lib import target as served
from lib.db import DatabaseError, OutcomeUnknown, SchemaTooOld, Unavailable
from lib.db.lock import IDLE_TIMEOUT_S, LockLost, SweepLock
from lib.domain import flags, outbox, sweep_runs
from lib.domain.sweep_runs import SweepRun
from lib.settings import check, plain, values
from lib.sweeps import places
from lib.tasks.queue import QueueUnavailable, Task
from lib.web import answers, requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from lib.db import Database, Transaction
    from lib.function_table import Function

K = TypeVar("K", bound=SupportsInt)

SOFT_BUDGET_S = 45.0
HARD_LIMIT_S = 120.0
"""Soft: no new page after so long. Hard: the run is cancelled; the platform's own limit is longer."""
_USUAL_TIMEOUT_S = 150
_LAST_WORDS_S = 30.0
"""A sweep to which the table gives more than the usual time works its whole tick through, but for what its end takes."""
PLACE_WAIT_S = _USUAL_TIMEOUT_S / 2
"""A place that is not free (lib/sweeps/places.py) is waited for so long; what is left of a request's time is still a whole run."""
_END_S = 5.0
_SELDOM_S = 3600
"""The scheduler tries a tick of what runs this seldom again (scheduler.tf); of everything else the next tick is the retry."""
RENEW_S = 10.0
"""Within a page, the lock is shown that its holder lives this often; Postgres frees it after a minute of silence."""
_BODY_LIMIT = 100 * 1024
_MOST_HOPS = 10_000
_ITEMS = "items"


@dataclass(frozen=True, slots=True)
class Tick:
    """What a run is for.

    Attributes:
        name: the scheduler's time, or what a handed-on task carries of it.
        of_scheduler: the scheduler itself called, not a task.
        cursors: where an earlier run of the same tick stopped: of each list that it goes through, the id of the last row.
        hop: how often this tick was handed on before.
        asked: the outbox row by which an operator asked for this run; 0: none did.
    """

    name: str
    of_scheduler: bool = False
    cursors: Mapping[str, int] = field(default_factory=dict)
    hop: int = 0
    asked: int = 0


@dataclass(slots=True)
class Run:
    """What a sweep's work is given: its database, its counters, `next_page` and `item`.

    Attributes:
        cursors: where an earlier run of the same tick stopped, by list; what the work leaves here is handed on.
        more: something is left that the next run should take up at once.
        broken: how many items raised what no one foresaw: the run went on, and does not count as one that ended well.
        soft_s: no new page after so long.
        again: what the run needs could not be had: the scheduler is told to try again, which it does with what runs seldom.
    """

    db: Database
    sweep: str
    tick: str
    cursors: dict[str, int]
    lock: SweepLock
    started: float = field(default_factory=time.monotonic)
    renewed: float = field(default_factory=time.monotonic)
    claimed: int = 0
    done: int = 0
    failed: int = 0
    more: bool = False
    broken: int = 0
    soft_s: float = SOFT_BUDGET_S
    again: bool = False

    async def next_page(self) -> bool:
        """Whether there is time for another page; shows Postgres that this runner lives.

        Raises:
            lib.db.lock.LockLost: another runner may be at work.
        """
        await self._show(0.0)
        if time.monotonic() - self.started > self.soft_s:
            self.more = True
            return False
        return True

    @asynccontextmanager
    async def item(self, **ids: int | str) -> AsyncIterator[None]:
        """One item of a page: what fails in it is logged under `ids`, counted, and stops no other.

        Only what concerns every item ends the run: Postgres can't be had, or the lock is gone.
        """
        await self._show(RENEW_S)
        try:
            yield
        except (Unavailable, LockLost):
            raise
        except Exception as error:  # noqa: BLE001 -- the boundary of an item: logged with its traceback, tried again by the next run
            self.failed += 1
            self.broken += 1
            log.exception("sweep_item_failed", sweep=self.sweep, error=type(error).__name__, **ids)

    async def alive(self) -> None:
        """Show within a long page that this runner lives.

        Raises:
            lib.db.lock.LockLost: another runner may be at work.
        """
        await self._show(RENEW_S)

    async def _show(self, after_s: float) -> None:
        """That this runner lives, unless it was shown within so many seconds."""
        if time.monotonic() - self.renewed >= after_s:
            await self.lock.renew()
            self.renewed = time.monotonic()

    async def one_by_one(
        self,
        following: Callable[[Transaction, K, int], list[K]],
        first: K,
        page: int,
        work: Callable[[K], Awaitable[object]],
    ) -> None:
        """Work through what a set-based statement refused as a page, each as an item of its own.

        Args:
            following: a page of keys, what follows one of them; as a number, a key is its id.
            first: the key that comes before all.
            page: how many.
            work: on one.
        """
        after = first
        while await self.next_page():
            found = await self.db.run(following, after, page)
            if not found:
                return
            for one in found:
                async with self.item(id=int(one)):
                    await work(one)
            after = found[-1]


async def serve(  # noqa: PLR0911 -- one for each answer
    request: Request,
    work: Callable[[Run], Awaitable[None]],
    *,
    before: Callable[[Tick], Awaitable[None]] | None = None,
) -> Response:
    """Run a sweep for one tick of the scheduler, or one handed-on task.

    Args:
        request: of the scheduler, of a task, or by hand.
        work: one run.
        before: is called once the request, the configuration and the sweep's flag allow a run, whether or not another runs.
    """
    with suppress(plain.UnusableSetting):  # named below, with all the others
        log.configure()
    target = served.name()
    sweep = function_table.sweep_name(target)
    if request.method != "POST":
        return answers.refused(405, "POST only")
    if found := check.problems_once(target):
        log.error("configuration_invalid", problems=list(found))
        return answers.refused(500, "configuration: " + "; ".join(found))
    try:
        tick = _tick(request, await requests.body(request, _BODY_LIMIT))
    except (json_reader.UnreadableJson, requests.TooLarge, requests.ClientDisconnect) as error:
        log.warning("sweep_body_unreadable", sweep=sweep, error=str(error) or type(error).__name__)
        return answers.refused(400, "unreadable body")
    digest = hashlib.sha256(f"{tick.name}|{_said(tick.cursors)}|{tick.hop}".encode()).hexdigest()[:8]
    with log.correlated(f"sweep-{sweep}-{digest}"):
        try:
            return await _exclusive(sweep, tick, work, before)
        except SchemaTooOld as error:
            return answers.schema_too_old(error)
        except Unavailable as error:
            log.error("sweep_no_database", sweep=sweep, error=str(error))
            return answers.unavailable()
        except Exception as error:  # noqa: BLE001 -- the boundary: logged with its traceback, answered 500
            log.exception("sweep_failed", sweep=sweep)
            return answers.refused(500, type(error).__name__)


def _tick(request: Request, body: bytes) -> Tick:
    """Raises: UnreadableJson."""
    said = json_reader.read_object(body) if body.strip() else {}
    scheduled = request.headers.get("x-cloudscheduler-scheduletime")
    name = json_reader.storable(str(said.get("tick") or scheduled or "by hand")[:100])
    listed = said.get("cursors")
    cursors = {
        one: number
        for one, place in (listed.items() if isinstance(listed, dict) else ())
        if (number := json_reader.id_or_zero(place))
    }
    hop = min(json_reader.id_or_zero(said.get("hop")), _MOST_HOPS)
    asked = json_reader.id_or_zero(said.get("outbox_id"))
    return Tick(name, of_scheduler=bool(scheduled) and "tick" not in said, cursors=cursors, hop=hop, asked=asked)


def _said(cursors: Mapping[str, int]) -> str:
    return json.dumps(cursors, sort_keys=True)


async def _exclusive(
    sweep: str,
    tick: Tick,
    work: Callable[[Run], Awaitable[None]],
    before: Callable[[Tick], Awaitable[None]] | None,
) -> Response:
    db = bootstrap.database()
    function = function_table.load().sweep(sweep)
    if tick.asked:  # it was heard, whatever comes of it
        await db.run(outbox.finish, tick.asked)
    flag = function.flag
    if flag and not await db.run(flags.enabled, flag):
        log.info("sweep_skipped", sweep=sweep, reason="disabled")
        return answers.ok({"sweep": sweep, "skipped": "disabled"})
    if before is not None:
        await before(tick)
    idle_s = plain.read("SWEEP_LOCK_IDLE_SECONDS", values.seconds) or IDLE_TIMEOUT_S
    asked = time.monotonic()
    async with places.here().one(sweep, PLACE_WAIT_S) as why_not:
        if why_not is not None:
            return _skipped(function, sweep, why_not)
        async with SweepLock(plain.database().lock_url, sweep, idle_timeout_s=idle_s) as lock:
            if not lock.held:
                return _skipped(function, sweep, places.RUNNING)
            soft_s, hard_s = budgets(function, waited_s=time.monotonic() - asked)
            run = Run(db, sweep, tick.name, dict(tick.cursors), lock, soft_s=soft_s)
            outcome, error = await _bounded(run, work, hard_s)
    # After the lock is free, and only when something was done: else two runners could hand on to each other without end.
    if run.more and run.done:
        hop = tick.hop + 1  # in the name too: two runs of a tick that did equally much are two
        body = {"tick": tick.name, "cursors": run.cursors, "hop": hop}
        await hand_on(sweep, f"{tick.name}|{_said(run.cursors)}|{hop}", body)
    if run.again:
        return answers.unavailable("what it needs can't be had")
    answer = {
        "sweep": sweep,
        "claimed": run.claimed,
        "done": run.done,
        "failed": run.failed,
        "more": run.more,
        "ms": round((time.monotonic() - run.started) * 1000),
    }
    if (
        outcome == "failed" and error != _ITEMS
    ):  # an item's failure is in the counters: no retry of the whole is asked for
        return answers.unavailable(error or "") if error == "database" else answers.refused(500, error or "failed")
    return answers.ok(answer)


def _skipped(function: Function, sweep: str, reason: str) -> Response:
    if reason == places.NO_PLACE:
        log.warning("sweep_skipped", sweep=sweep, reason=reason)
        if (function.period_s or 0) >= _SELDOM_S:
            return answers.unavailable(reason)
    else:
        log.info("sweep_skipped", sweep=sweep, reason=reason)
    return answers.ok({"sweep": sweep, "skipped": reason})


def budgets(function: Function, waited_s: float = 0.0) -> tuple[float, float]:
    """After how many seconds a sweep begins no new page, and after how many it is cancelled.

    Args:
        function: its row.
        waited_s: of its request's time, what is spent already.
    """
    left_s = function.timeout_s - waited_s - _END_S
    if function.timeout_s <= _USUAL_TIMEOUT_S:
        return SOFT_BUDGET_S, min(HARD_LIMIT_S, left_s)
    return function.timeout_s / 2, min(function.timeout_s - _LAST_WORDS_S, left_s)


async def _bounded(
    run: Run, work: Callable[[Run], Awaitable[None]], hard_s: float = HARD_LIMIT_S
) -> tuple[str, str | None]:
    """The work within its hard limit; the end is logged and recorded in every outcome."""
    outcome, error = "failed", None
    limit = asyncio.timeout(plain.read("SWEEP_HARD_LIMIT_SECONDS", values.seconds) or hard_s)
    try:
        async with limit:
            await work(run)
        outcome, error = ("failed", _ITEMS) if run.broken else ("done", None)
    except TimeoutError as problem:
        if limit.expired():
            outcome, error, run.more = "timed_out", "hard limit", True
        else:  # a call of the work's own took too long
            log.exception("sweep_failed", sweep=run.sweep)
            error = type(problem).__name__
    except (Unavailable, OutcomeUnknown, LockLost):
        log.exception("sweep_failed", sweep=run.sweep)
        error = "database"
    except Exception as problem:  # noqa: BLE001 -- the boundary: logged with its traceback, answered 500
        log.exception("sweep_failed", sweep=run.sweep)
        error = type(problem).__name__
    finally:
        await _end(run, outcome, error)
    return outcome, error


async def _end(run: Run, outcome: str, error: str | None) -> None:
    duration = time.monotonic() - run.started
    row = SweepRun(run.sweep, run.tick, outcome, run.claimed, run.done, run.failed, run.more, duration, error)
    line = log.info if outcome == "done" else log.error
    line(
        "sweep_end",
        sweep=run.sweep,
        tick=run.tick,
        outcome=outcome,
        claimed=run.claimed,
        done=run.done,
        failed=run.failed,
        more=run.more,
        ms=round(duration * 1000),
    )
    try:
        await run.db.run(sweep_runs.record, row, function_table.load().silent_after_s())
    except DatabaseError as problem:
        log.error("sweep_run_not_recorded", sweep=run.sweep, error=str(problem))


async def hand_on(sweep: str, key: str, body: dict[str, Any], at: datetime | None = None) -> None:
    """A named task that runs the sweep again; a second one of the same key collapses into the first."""
    function = function_table.load().sweep(sweep)
    task = Task(
        queue="sweeps",
        name=hashlib.sha256(f"{sweep}-sweep|{key}".encode()).hexdigest()[:40],
        service=function.service,
        body=json.dumps(body).encode(),
        deadline_s=function.deadline_s or function.timeout_s,
        at=at,
    )
    try:
        await bootstrap.task_queue().create(task)
    except QueueUnavailable as error:
        log.warning("sweep_not_handed_on", sweep=sweep, error=str(error))
