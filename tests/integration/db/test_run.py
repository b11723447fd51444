from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib import texts
from lib.db import Busy, Database, OutcomeUnknown, Query, StatementFailed, TooSlow, Unavailable, idempotent
from lib.db.connection import Timeouts
from lib.db.errors import ExternalCallInTransaction
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lib.db import Transaction
    from tests.integration.database_proxy import DatabaseProxy

_COUNT = "select used from trial_days where day = '2000-01-01'"


@dataclass(frozen=True)
class Nap:
    done: str


def add_one(tx: Transaction) -> int:
    """Not idempotent on purpose: twice is visible."""
    used: int = tx.value(
        "insert into trial_days values ('2000-01-01', 1)"
        " on conflict (day) do update set used = trial_days.used + 1 returning used"
    )
    return used


@idempotent
def add_one_once(tx: Transaction, key: int) -> bool:
    if not tx.execute(
        "insert into updates (update_id, body, correlation_id, done_at, reply)"
        " values (:key, '', 'c', atlas.now(), '[]') on conflict do nothing",
        key=key,
    ):
        return False
    add_one(tx)
    return True


def count(tx: Transaction) -> int:
    return tx.value(_COUNT) or 0


def hold(tx: Transaction, seconds: float) -> None:
    tx.value("select 1 from pg_sleep(:seconds)", seconds=seconds)


@asynccontextmanager
async def held(db: Database) -> AsyncIterator[asyncio.Task[None]]:
    """A transaction that keeps its thread until the end of this."""
    begun, end = threading.Event(), threading.Event()

    def wait(tx: Transaction) -> None:
        tx.value("select 1")
        begun.set()
        end.wait(30)

    holding = asyncio.create_task(db.run(wait))
    try:
        assert await asyncio.to_thread(begun.wait, 30)
        yield holding
    finally:
        end.set()
        await holding


async def test_commits_what_the_function_did_and_returns_its_value(db: Database) -> None:
    assert await db.run(add_one) == 1
    assert await db.run(count) == 1


async def test_an_exception_rolls_everything_back(db: Database) -> None:
    def fail(tx: Transaction) -> None:
        add_one(tx)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.run(fail)
    assert await db.run(count) == 0


@pytest.mark.proves("N-26")
async def test_the_first_attempt_fails_with_40001_and_changes_no_result(database_url: str) -> None:
    plain = Database(database_url, connections=1, application="plain", guards=False)
    injected = Database(database_url, connections=1, application="injected", guards=True, compare=True)
    runs: list[str] = []

    def noted(tx: Transaction) -> int:
        runs.append("run")
        return add_one(tx)

    assert await plain.run(noted) == 1
    assert await injected.run(noted) == 2
    assert len(runs) == 3  # once plainly; twice where the first attempt was refused
    assert await plain.run(count) == 2
    await plain.close()
    await injected.close()


@pytest.mark.proves("N-26")
async def test_a_function_that_answers_differently_when_run_again_is_found_out(db: Database) -> None:
    answers = iter(["first", "second"])
    with pytest.raises(AssertionError, match="answers differently"):
        await db.run(lambda tx: (tx.value("select 1"), next(answers))[1])


async def test_idempotent_without_a_key_is_found_out(db: Database) -> None:
    with pytest.raises(AssertionError, match="consumes no key"):
        await db.run(idempotent(lambda tx: tx.value(_COUNT)))


@pytest.mark.proves("S1-2")
@pytest.mark.proves("S3-CR-2")
async def test_a_network_call_planted_in_a_transaction_is_caught(db: Database) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def planted(tx: Transaction) -> None:
        add_one(tx)
        socket.create_connection(listener.getsockname())

    with pytest.raises(ExternalCallInTransaction):
        await db.run(planted)
    assert await db.run(count) == 0
    listener.close()


@pytest.mark.proves("S1-3")
async def test_neither_names_nor_processes_from_inside_a_transaction(db: Database) -> None:
    import subprocess

    with pytest.raises(ExternalCallInTransaction):
        await db.run(lambda _tx: socket.getaddrinfo("localhost", 80))
    with pytest.raises(ExternalCallInTransaction):
        await db.run(lambda _tx: subprocess.run(["/bin/true"], check=True))
    socket.getaddrinfo("localhost", 80)  # outside it is allowed


async def test_no_file_of_data_is_read_inside_a_transaction(db: Database) -> None:
    """Catalogues, price lists, tables: what reads one at its first use is to be loaded before."""
    catalogue = Path(texts.__file__).with_name("en.ftl")
    with pytest.raises(ExternalCallInTransaction, match=r"en\.ftl"):
        await db.run(lambda _tx: catalogue.read_text())


@pytest.mark.parametrize("language", texts.LANGUAGES)
async def test_a_catalogue_that_is_used_first_in_a_transaction_was_read_before(db: Database, language: str) -> None:
    texts.of.cache_clear()
    assert await db.run(lambda _tx: texts.of(language).plain("help"))


async def test_a_swallowed_error_is_not_committed(db: Database) -> None:
    def swallow(tx: Transaction) -> None:
        add_one(tx)
        with pytest.raises(StatementFailed):
            tx.value("select 1 / 0")

    with pytest.raises(RuntimeError, match="went on after a failed statement"):
        await db.run(swallow)


async def test_errors_carry_code_and_constraint_but_no_values(db: Database) -> None:
    with pytest.raises(StatementFailed) as caught:
        await db.run(lambda tx: tx.execute("insert into trial_days values ('2001-02-03', -77)"))
    assert caught.value.code == "23514"
    assert caught.value.constraint == "trial_days_used_check"
    assert "77" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_real_conflicts_are_retried(racing_db: Database) -> None:
    """Two transactions that take two rows in opposite order: Postgres ends one of them with 40P01."""
    await racing_db.run(lambda tx: tx.execute("insert into flags values ('a', true), ('b', true)"))
    both = threading.Barrier(2, timeout=5)
    tries = []

    def cross(tx: Transaction, first: str, second: str) -> str:
        tries.append(first)
        tx.execute("update flags set enabled = true where name = :name", name=first)
        if len(tries) <= 4 and both.n_waiting < 2:
            try:
                both.wait(0.3)
            except threading.BrokenBarrierError:
                both.reset()
        tx.execute("update flags set enabled = true where name = :name", name=second)
        return first

    done = await asyncio.gather(racing_db.run(cross, "a", "b"), racing_db.run(cross, "b", "a"))
    assert list(done) == ["a", "b"]


@pytest.mark.proves("S2-6b")
async def test_a_connection_lost_before_commit_is_run_again(proxy: DatabaseProxy) -> None:
    db = Database(proxy.url, connections=1, application="test", guards=False)
    await db.run(count)
    proxy.cut_before = b"commit\x00"
    # the COMMIT never reached Postgres, but that can't be known here: not idempotent, so it is not run again
    with pytest.raises(OutcomeUnknown):
        await db.run(add_one)
    assert await db.run(count) == 0
    proxy.cut_before = b"trial_days"
    assert await db.run(add_one) == 1  # lost in the middle: nothing happened, so once more
    assert await db.run(count) == 1
    assert proxy.cuts >= 2
    await db.close()


@pytest.mark.proves("S2-6b")
async def test_a_connection_lost_during_commit_has_one_effect_when_idempotent(proxy: DatabaseProxy) -> None:
    db = Database(proxy.url, connections=1, application="test", guards=False)
    await db.run(count)
    proxy.cut_after = b"commit\x00"
    assert await db.run(add_one_once, 7) is False  # the second run found the key used: the first had committed
    assert await db.run(count) == 1
    await db.close()


@pytest.mark.proves("S2-6b")
async def test_a_connection_lost_during_commit_is_said_to_be_unknown(proxy: DatabaseProxy) -> None:
    db = Database(proxy.url, connections=1, application="test", guards=False)
    await db.run(count)
    proxy.cut_after = b"commit\x00"
    with pytest.raises(OutcomeUnknown):
        await db.run(add_one)
    assert await db.run(count) == 1  # it had happened; running it again would have made it 2
    await db.close()


async def test_a_connection_that_died_while_idle_is_replaced_unseen(database_url: str) -> None:
    db = Database(database_url, connections=1, application="victim", guards=False)
    other = Database(database_url, connections=1, application="other", guards=False)
    await db.run(count)
    killed = await other.run(
        lambda tx: tx.value(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'victim'"
        )
    )
    assert killed == 1
    assert await db.run(add_one) == 1
    await db.close()
    await other.close()


async def test_no_free_thread_is_said_within_two_seconds(database_url: str) -> None:
    db = Database(database_url, connections=1, application="test", guards=False)
    async with held(db) as holding:
        started = time.monotonic()
        with pytest.raises(Busy):
            await db.run(count)
        assert 1.5 < time.monotonic() - started < 4
        assert not holding.done()
    await db.close()


async def test_the_reserved_connection_is_free_while_all_others_are_busy(database_url: str) -> None:
    db = Database(database_url, connections=2, reserved=1, application="test", guards=False)
    async with held(db) as holding:
        assert await db.run_reserved(count) == 0
        assert not holding.done()
    await db.close()


@pytest.mark.proves("S2-1.4")
async def test_a_budget_that_runs_out_leaves_no_transaction_that_commits_later(database_url: str) -> None:
    db = Database(database_url, connections=1, application="test", guards=False)

    def slow(tx: Transaction) -> None:
        add_one(tx)
        hold(tx, 0.6)
        add_one(tx)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await db.run(slow)
    # the thread is free again at once, since it was waited for; and nothing of it ever commits
    assert await db.run(count) == 0
    others = "select count(*) from pg_stat_activity where application_name = 'test' and pid <> pg_backend_pid() and datname = current_database()"

    async def is_alone() -> bool:
        return bool(await db.run(lambda tx: tx.value(others)) == 0)

    await until(is_alone, "an end of all that was under way")
    assert await db.run(count) == 0
    await db.close()


async def test_statement_timeout_ends_a_statement(database_url: str) -> None:
    db = Database(database_url, connections=1, application="test", timeouts=Timeouts(statement_ms=200), guards=False)
    with pytest.raises(TooSlow):
        await db.run(hold, 5)
    assert await db.run(count) == 0
    await db.close()


@pytest.mark.proves("S2-3")
async def test_timeouts_are_in_force(database_url: str) -> None:
    db = Database(database_url, connections=1, application="test", guards=False)
    settings = dict(
        await db.run(
            lambda tx: [
                (name, tx.value("select setting from pg_settings where name = :name", name=name))
                for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
            ]
        )
    )
    assert settings == {
        "statement_timeout": "3000",
        "lock_timeout": "2000",
        "idle_in_transaction_session_timeout": "10000",
    }
    await db.close()


@pytest.mark.proves("S2-3")
@pytest.mark.proves("G-9")
async def test_statements_sent_together_may_each_take_their_whole_time(database_url: str) -> None:
    """Postgres starts statement_timeout anew for each: three that end in time take longer than one socket's patience of before."""
    db = Database(database_url, connections=1, application="test", timeouts=Timeouts(statement_ms=1_500), guards=False)
    attempts = 0

    def three_at_a_time(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        nap = Query(Nap, "select cast(pg_sleep(1.2) as text) as done", {})
        tx.together(nap, nap)
        tx.execute_with_commit("do $$ begin perform pg_sleep(1.2); end $$")

    await db.run(three_at_a_time)
    assert attempts == 1
    await db.close()


@pytest.mark.proves("G-9")
@pytest.mark.parametrize("may_rerun", [False, True])
async def test_a_server_that_falls_silent_is_asked_twice_at_most(proxy: DatabaseProxy, *, may_rerun: bool) -> None:
    db = Database(
        proxy.url, connections=1, application="test", timeouts=Timeouts(statement_ms=100, connect_s=0.3), guards=False
    )
    attempts = 0

    def ask(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        tx.execute("insert into flags (name, enabled) values ('silent', true) on conflict do nothing")

    await db.run(count)
    proxy.silent = True
    with pytest.raises(Unavailable):
        await db.run(idempotent(ask) if may_rerun else ask)
    assert attempts <= 2
    await db.close()


@pytest.mark.proves("G-9")
async def test_reserved_work_takes_whatever_comes_free_first(database_url: str) -> None:
    """Both the reserved and the ordinary connection are busy; the ordinary one comes back first."""
    db = Database(database_url, connections=2, reserved=1, application="test", guards=False)
    begun, end = threading.Event(), threading.Event()

    def urgent(tx: Transaction) -> None:
        tx.value("select 1")
        begun.set()
        end.wait(30)

    async with held(db) as ordinary:
        first = asyncio.create_task(db.run_reserved(urgent))
        await asyncio.to_thread(begun.wait, 10)
        second = asyncio.create_task(db.run_reserved(count))
        await asyncio.sleep(0)
        assert not second.done()
    await ordinary
    assert await second == 0  # the urgent one still has the other
    assert not first.done()
    end.set()
    await first
    await db.close()


async def test_ordinary_work_never_takes_the_last_reserved_connection(database_url: str) -> None:
    db = Database(database_url, connections=2, reserved=1, application="test", guards=False)
    async with held(db):
        waiting = asyncio.create_task(db.run(count))
        assert await db.run_reserved(count) == 0  # ended, and its connection is not given to who waits
        assert not waiting.done()
    assert await waiting == 0
    await db.close()


async def test_unreachable_postgres_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    db = Database(f"postgresql://u:p@127.0.0.1:{port}/x", connections=1, application="test", guards=False)
    with pytest.raises(Unavailable):
        await db.run(count)
    await db.close()
