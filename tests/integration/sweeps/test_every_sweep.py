"""S0-7: every sweep is safe with several instances. The table is of functions/table.json: a new sweep is red here until it has its row."""

from __future__ import annotations

import ast
import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from functions.sweeps import sweep_activation, sweep_reconcile
from lib import bootstrap, function_table
from lib.payments.cryptopay import CryptoPay
from lib.settings.plain import CryptoPaySettings
from tests.integration.by_the_owner import travel
from tests.integration.domain.test_renewals import PRICE, subscribed
from tests.integration.sweeps.grants import know_nodes, open_order, pay, start_trial
from tests.integration.sweeps.runs import Queue, sweep_run
from tests.integration.sweeps.test_payments import CURRENT, Listings
from tests.lint.reachable import graph, reached_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction
    from tests.integration.sweeps.nodes import Network

ROOT = Path(__file__).resolve().parents[3]
SWEEPS = {
    name: function_table.sweep_name(name)
    for name, row in function_table.load().functions.items()
    if row.trigger == "schedule"
}


@dataclass(frozen=True)
class Safe:
    """Why two instances of a sweep do no harm, should its lock be lost.

    Attributes:
        claim: words of the SQL that takes an item, or lets its effect happen once.
        means: what they do.
        proof: the test that runs several at once, as `file::test`.
    """

    claim: str
    means: str
    proof: str


_HERE = "tests/integration/sweeps"
_OVERLAP = f"{_HERE}/test_every_sweep.py::test_runs_of_one_sweep_that_overlap_do_what_one_does"
TABLE = {
    "sweep_activation": Safe(
        "for no key update skip locked",
        "a client is leased before its node is called, and confirmed by who holds the lease",
        f"{_HERE}/test_claims.py::test_without_the_lock_four_activation_runs_share_the_rows",
    ),
    "sweep_expiry": Safe(
        "for update skip locked",
        "a page is locked and ended in one statement; removals are leased as above",
        f"{_HERE}/test_claims.py::test_without_the_lock_four_expiry_runs_end_each_access_once",
    ),
    "sweep_payments": Safe(
        "on conflict (provider, kind, external_id)",
        "what a provider says has one key, which its settlement consumes",
        _OVERLAP,
    ),
    "sweep_messages": Safe(
        "for no key update skip locked",
        "a page of ends is locked; a message has one key",
        f"{_HERE}/test_reminders.py::test_two_runs_and_two_tasks_at_once_are_one_message",
    ),
    "sweep_renewals": Safe("skip locked", "one subscription, one transaction", _OVERLAP),
    "sweep_money": Safe(
        "insert into closed_days",
        "a day is a row that is there once; a comparison is a row a day and provider",
        "tests/integration/domain/test_books.py::test_two_who_close_a_day_close_it_once",
    ),
    "sweep_reconcile": Safe(
        "for no key update of o skip locked",
        "an orphan is leased before its node is called",
        f"{_HERE}/test_reconcile.py::test_claimed_by_one_run_an_orphan_is_no_other_s_until_the_lease_ends",
    ),
    "sweep_outbox": Safe(
        "attempt",
        "a task is named by its row and attempt, and the queue keeps one of a name",
        _OVERLAP,
    ),
    "sweep_audit": Safe(
        "on conflict (day, invariant, key) do nothing",
        "it only reads; what it tells is a row that is there once a day",
        _OVERLAP,
    ),
    "export_ledger": Safe(
        "insert into ledger_exports",
        "a day makes the same objects however often it is copied",
        "tests/integration/off_site/test_copy.py::test_two_runners_at_once_make_the_objects_of_one",
    ),
}


def _sql_of(target: str) -> str:
    """All strings that a sweep may come to."""
    known = graph()
    row = function_table.load().functions[target]
    return "\n".join(
        node.value
        for reached in reached_from((row.module, target))
        if reached in known
        for statement in known[reached].text
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@pytest.mark.proves("S0-7")
def test_every_sweep_has_its_row() -> None:
    assert SWEEPS.keys() <= TABLE.keys()


@pytest.mark.proves("S0-7")
@pytest.mark.parametrize("target", SWEEPS)
def test_a_sweep_runs_under_its_lock_and_nowhere_else(target: str) -> None:
    """Its entry point hands its work to the one runner, which takes the lock of its name (tests/integration/functions/test_outcomes.py)."""
    path = ROOT / f"functions/sweeps/{target}.py"
    (entry,) = [
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.AsyncFunctionDef) and node.name == target
    ]
    (answer,) = [node for node in entry.body if isinstance(node, ast.Return)]
    assert isinstance(answer.value, ast.Await)
    assert isinstance(answer.value.value, ast.Call)
    assert ast.unparse(answer.value.value.func) == "runner.serve"
    assert len(entry.body) == 2, "a docstring and that"


@pytest.mark.proves("S0-7")
@pytest.mark.parametrize("target", SWEEPS)
def test_a_sweep_claims_as_its_row_says_and_has_its_proof(target: str) -> None:
    safe = TABLE[target]
    assert safe.claim in _sql_of(target)
    path, _, name = safe.proof.partition("::")
    tests = {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in tests, safe.proof


_NO_SUCH = "900000"


def _shop(tx: Transaction) -> None:
    """Trials that are over, access that is to be renewed and to be reminded of, an invoice that is paid, tasks that no one made."""
    know_nodes(tx, 2)
    for person in (1, 2, 3):
        start_trial(tx, person)
    for person in (4, 5):
        subscribed(tx, 2 * PRICE, telegram_id=person)
    for person in (6, 7):
        pay(tx, open_order(tx, person, "basic", 30, f"10{person}"))


# What has happened twice: the same change of one access, two payments for an order or an end, a node told twice.
_TWICE = """
select 'history ' || subscription_id || ' ' || event from subscription_history where event <> 'granted'
group by subscription_id, event, expires_before, expires_at having count(*) > 1
union all
select 'payment ' || order_id from payments where kind = 'settling' group by order_id having count(*) > 1
union all
select 'message ' || account_id || ' ' || kind from messages group by account_id, kind, params having count(*) > 1
"""


@pytest.fixture
def paid_at_the_provider(monkeypatch: pytest.MonkeyPatch) -> Listings:
    """Crypto Pay lists an invoice as paid of which no webhook came."""
    listings = Listings(CURRENT)
    listings.add("108", status="paid")
    settings = CryptoPaySettings((CURRENT,), "http://pay.test", ("USDT",))
    provider = CryptoPay(lambda: listings.client, settings, invoice_seconds=1800)
    monkeypatch.setattr(bootstrap, "invoices", lambda: {provider.name: provider})
    for providers in ("provider_accounts", "giving_back"):
        monkeypatch.setattr(bootstrap, providers, dict)
    return listings


@pytest.mark.proves("S0-7")
@pytest.mark.usefixtures("paid_at_the_provider")
@pytest.mark.parametrize("target", SWEEPS)
async def test_runs_of_one_sweep_that_overlap_do_what_one_does(
    target: str,
    processes: Callable[..., list[Database]],
    two_nodes: Network,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when a lock is lost: three at once, without any lock; the invariants are asked afterwards (conftest.py)."""
    queue = Queue()
    monkeypatch.setattr(bootstrap, "task_queue", lambda: queue)
    three = processes(3)
    await three[0].run(_shop)
    if target != "sweep_activation":
        await sweep_activation._work(sweep_run(three[0], "activation"))
    for number in (1, 2):
        two_nodes[number].held[_NO_SUCH] = (1, "11111111-2222-4333-8444-555555555555")
        two_nodes[number].asked.clear()
    await three[0].run(travel, timedelta(days=29, hours=22))
    await three[0].run(open_order, 8, "basic", 30, "108")
    if target == "sweep_reconcile":  # it has seen whom it may remove
        await sweep_reconcile._work(sweep_run(three[0], "reconcile"))
        await three[0].run(travel, timedelta(minutes=10))
    queue.tasks.clear()
    work = import_module(f"functions.sweeps.{target}")._work
    runs = [sweep_run(db, SWEEPS[target]) for db in three]
    await asyncio.gather(*(work(run) for run in runs))
    assert [run.broken for run in runs] == [0, 0, 0]
    if target != "export_ledger":  # which wants a store, and has a proof of its own
        assert sum(run.done for run in runs) + len(queue.tasks), "there was something to do"
    assert await three[0].run(lambda tx: tx.values(_TWICE)) == []
    asked = [count for number in (1, 2) for count in two_nodes[number].asked.values()]
    assert set(asked) <= {1}, "a node is told of a change once"
    by_work = Counter(json.loads(task.body).get("outbox_id") for task in queue.tasks.values())
    assert set(by_work.values()) <= {1}, "work has one task"
