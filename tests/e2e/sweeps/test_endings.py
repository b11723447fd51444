"""How a run of a sweep may end: in time, told and recorded, the lock free, no connection kept (S2-2, S4-3.3, S4-4.1)."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lib.db.lock import SWEEPS
from tests.e2e.sweeps.customers import (
    LEASE,
    a_customer,
    accept_trial,
    as_superuser,
    keys_sent,
    killed_workers,
    lines,
    subscription,
)
from tests.e2e.sweeps.hanging import in_place_of_the_node
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.system.customer import Customer
    from sandbox.system.system import System
    from tests.e2e.sweeps.hanging import HangingNode

_HARD_LIMIT_S = 4.0
_NODE_WOULD_TAKE_S = 30.0  # three attempts, each of which is read for ten seconds
_LIMITED = 3  # the instance that runs under it


async def _pending(system: System) -> Customer:
    """A customer whose grant only a sweep will bring to the node."""
    system.tasks.pause("nodes")
    system.tasks.pause(
        "sweeps"
    )  # a run that is cut off after the other node answered hands on: not beside the test's own
    customer = a_customer(system)
    await accept_trial(customer)
    await system.telegram.idle()
    return customer


async def _runs(system: System, sweep: str) -> list[dict[str, Any]]:
    return await system.sql("select * from sweep_runs where sweep = :sweep order by id", sweep=sweep)


async def _locks(system: System) -> int:
    held = await as_superuser(system, "select pid from pg_locks where locktype = 'advisory' and classid = :c", c=SWEEPS)
    return len(held)


async def _sessions(system: System, *applications: str) -> list[tuple[str, str]]:
    """Application and state of every session that these functions have."""
    rows = await as_superuser(
        system,
        "select application_name, state from pg_stat_activity where application_name = any(cast(:names as text[]))"
        " order by 1, 2",
        names=list(applications),
    )
    return [(row["application_name"], row["state"]) for row in rows]


@asynccontextmanager
async def _told_and_recorded(system: System, sweep: str, outcome: str) -> AsyncIterator[None]:
    """Exactly one `sweep_end` line and one row more, of this outcome; and no session holds the lock afterwards."""
    told, recorded = lines(system, f"sweep_{sweep}", event="sweep_end"), len(await _runs(system, sweep))
    yield
    await until(lambda: lines(system, f"sweep_{sweep}", event="sweep_end") == told + 1, "one sweep_end line")
    new = (await _runs(system, sweep))[recorded:]
    assert [row["outcome"] for row in new] == [outcome]
    await until(partial(_is_free, system), "the lock given back")


async def _is_free(system: System) -> bool:
    return await _locks(system) == 0


async def _waiting_for_the_node(system: System, function: str, other: str) -> list[tuple[str, str]]:
    """The sessions while the hanging node alone is waited for: what the other one answered is recorded by then.

    A transaction held across the call would never come to rest.
    """
    seen: list[tuple[str, str]] = []

    async def rests() -> bool:
        seen[:] = await _sessions(system, function, other)
        return {state for application, state in seen if application == function} == {"idle"}

    await until(rests, f"every session of {function} idle")
    return seen


async def _recovers(system: System, customer: Customer) -> None:
    """Without help: once the lease is over, the next run brings the customer to the real node."""
    await system.travel(LEASE)
    async with _told_and_recorded(system, "activation", "done"):
        answer = await system.sweep("activation")
    assert answer["done"] >= 1
    await customer.gets_key()
    system.tasks.resume("nodes")
    system.tasks.resume("sweeps")
    await system.settled()
    assert len(keys_sent(customer)) == 1
    assert (await subscription(system, customer))["activation_status"] == "active"
    assert await system.invariants() == []


@pytest.fixture
async def limited(several: System) -> AsyncIterator[int]:
    """The number of an instance of sweep_activation with a short hard limit."""
    process = several.fleet.processes["sweep_activation"][_LIMITED]
    await process.stop()
    process.env["SWEEP_HARD_LIMIT_SECONDS"] = str(_HARD_LIMIT_S)
    await process.start()
    yield _LIMITED
    await process.stop()
    del process.env["SWEEP_HARD_LIMIT_SECONDS"]
    await process.start()


@pytest.mark.proves("S2-2a")
@pytest.mark.proves("S2-2b")
async def test_a_sweep_whose_node_hangs_is_ended_in_time(several: System, limited: int, hanging: HangingNode) -> None:
    customer = await _pending(several)
    async with _told_and_recorded(several, "activation", "timed_out"):
        began = time.monotonic()
        answer = await several.call("sweep_activation", instance=limited, json={})
        seconds = time.monotonic() - began
    assert hanging.calls == 1
    assert _HARD_LIMIT_S <= seconds < _NODE_WOULD_TAKE_S, seconds
    assert (answer.status_code, answer.json()["more"]) == (200, True)
    await several.sql("update nodes set api_url = :url where name = 'first'", url=several.nodes[0].url)
    await _recovers(several, customer)


@pytest.mark.proves("S2-2b")
async def test_a_run_that_fails_is_told_and_recorded(several: System) -> None:
    customer = await _pending(several)
    several.arm("activation.before-claim", "raise")
    async with _told_and_recorded(several, "activation", "failed"):
        answer = await several.call("sweep_activation", json={})
    assert (answer.status_code, answer.json()) == (500, {"ok": False, "error": "FailpointRaised"})
    await _recovers(several, customer)


@pytest.mark.proves("S2-2b")
async def test_a_run_that_loses_its_database_is_told_and_recorded(several: System, hanging: HangingNode) -> None:
    customer = await _pending(several)
    async with _told_and_recorded(several, "activation", "failed"):
        running = asyncio.create_task(several.call("sweep_activation", json={}))
        await hanging.called.wait()
        ended = await as_superuser(
            several,
            "select pg_terminate_backend(pid) as gone from pg_stat_activity"
            " where application_name in ('sweep_activation', 'lock-activation')",
        )
        assert all(row["gone"] for row in ended)
        hanging.let_go()
        answer = await running
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert (await _runs(several, "activation"))[-1]["error"] == "database"
    await several.sql("update nodes set api_url = :url where name = 'first'", url=several.nodes[0].url)
    await several.sql("update node_clients set next_attempt_at = atlas.now()")
    await _recovers(several, customer)


@pytest.mark.proves("S2-2b")
async def test_after_a_kill_the_next_run_is_told_and_recorded(several: System) -> None:
    customer = await _pending(several)
    recorded, dead = len(await _runs(several, "activation")), killed_workers(several)
    several.arm("activation.after-claim")
    with pytest.raises(httpx.TransportError):
        await several.call("sweep_activation", json={})
    await until(lambda: killed_workers(several) == dead + 1, "the worker's death")
    assert len(await _runs(several, "activation")) == recorded
    assert await _locks(several) == 0
    await _recovers(several, customer)


@pytest.mark.proves("S4-3.3")
@pytest.mark.proves("S4-4.1")
@pytest.mark.parametrize("sweep", ["activation", "expiry"])
async def test_no_transaction_is_open_while_a_sweep_waits_for_a_node(several: System, sweep: str) -> None:
    customer = await _pending(several)
    if sweep == "expiry":
        await several.sweep("activation")
        await customer.gets_key()
        row = await subscription(several, customer)
        await several.travel(row["expires_at"] - several.clock.now())
    async with in_place_of_the_node(several) as hanging:
        running = asyncio.create_task(several.call(f"sweep_{sweep}", json={}))
        await hanging.called.wait()
        states = await _waiting_for_the_node(several, f"sweep_{sweep}", f"lock-{sweep}")
        hanging.let_go()
        assert (await running).status_code == 200
    own = {state for application, state in states if application == f"sweep_{sweep}"}
    locks = [state for application, state in states if application == f"lock-{sweep}"]
    assert own == {"idle"}, states
    assert locks == ["idle in transaction"], states
    await several.sql("update node_clients set next_attempt_at = atlas.now()")
    await several.travel(LEASE)
    await several.sweep(sweep)
    several.tasks.resume("nodes")
    await several.settled()
    assert await several.invariants() == []


@pytest.mark.proves("S4-4.1")
async def test_no_transaction_is_open_while_a_task_waits_for_a_node(several: System) -> None:
    customer = await _pending(several)
    async with in_place_of_the_node(several) as hanging:
        several.tasks.resume("nodes")
        await hanging.called.wait()
        states = await _waiting_for_the_node(several, "task_provision", "telegram_webhook")
        hanging.let_go()
        await several.settled()
    assert {state for _, state in states} == {"idle"}, states
    assert ("task_provision", "idle") in states
    await several.sql("update node_clients set next_attempt_at = atlas.now()")
    await _recovers(several, customer)
