"""The ledger in the database: a transfer is posted once and whole, and wallets are what their entries say."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.db import StatementFailed
from lib.db.invariants import violations
from lib.domain import accounts, ledger, postings
from lib.domain.accounts import Person
from lib.domain.ledger import Entry, PostedBefore, Posting
from tests.integration.by_the_owner import by_the_owner

if TYPE_CHECKING:
    from lib.db import Database, Transaction

# what is posted here tries the ledger itself, below the posting table
pytestmark = pytest.mark.posts_by_hand

TOPPED_UP, EARNED = "user:topped_up", "user:earned"


def posting(key: str, account_id: int, *entries: Entry, kind: str = "operator_credit") -> Posting:
    return Posting(kind, f"{kind}:{key}", entries, account_id=account_id, actor_id=1, reason="a test")


def credit(account_id: int, amount: int, key: str, wallet: str = TOPPED_UP) -> Posting:
    return posting(key, account_id, Entry("goodwill", wallet, amount, "RUB"))


def debit(account_id: int, amount: int, key: str, wallet: str = TOPPED_UP) -> Posting:
    return posting(key, account_id, Entry(wallet, "goodwill", amount, "RUB"), kind="operator_debit")


def met(tx: Transaction, telegram_id: int = 1) -> int:
    return accounts.meet(tx, Person(telegram_id, "Anna", None, "ru")).id


def balances(tx: Transaction) -> dict[str, int]:
    found = tx.value(
        "select coalesce(jsonb_object_agg(account_id || ' ' || code, balance), '{}') from ledger_accounts"
        " where account_id is not null"
    )
    return {name: int(value) for name, value in found.items()}


async def test_a_wallet_moves_with_its_entries(racing_db: Database) -> None:
    anna = await racing_db.run(met)
    boris = await racing_db.run(met, 2)
    await racing_db.run(ledger.post, credit(anna, 500, "1"))
    await racing_db.run(ledger.post, credit(boris, 70, "2", EARNED))
    # both parts at once, and a part that is debited and credited in one transfer
    both = posting(
        "1",
        anna,
        Entry(TOPPED_UP, EARNED, 200, "RUB"),
        Entry(EARNED, "goodwill", 50, "RUB"),
        kind="operator_debit",
    )
    await racing_db.run(ledger.post, both)
    assert await racing_db.run(balances) == {
        f"{anna} {TOPPED_UP}": 300,
        f"{anna} {EARNED}": 150,
        f"{boris} {EARNED}": 70,
    }


async def test_what_is_not_there_is_not_spent_and_nothing_of_it_stays(racing_db: Database) -> None:
    anna = await racing_db.run(met)
    await racing_db.run(ledger.post, credit(anna, 500, "1"))
    with pytest.raises(StatementFailed) as refused:
        await racing_db.run(ledger.post, debit(anna, 501, "1"))
    assert refused.value.constraint == "wallet_is_never_negative"
    assert await racing_db.run(balances) == {f"{anna} {TOPPED_UP}": 500}
    assert await racing_db.run(lambda tx: tx.value("select count(*) from ledger_transfers")) == 1


async def test_one_key_is_posted_once(racing_db: Database) -> None:
    anna = await racing_db.run(met)
    await racing_db.run(ledger.post, credit(anna, 500, "1"))
    with pytest.raises(PostedBefore):
        await racing_db.run(ledger.post, credit(anna, 500, "1"))
    assert await racing_db.run(balances) == {f"{anna} {TOPPED_UP}": 500}


@pytest.mark.parametrize(
    ("code", "currency", "account"),
    [
        ("revenu", "RUB", False),
        ("clearing:cryptobto", "RUB", False),
        ("revenue", "NEWCOIN", False),
        ("user:", "RUB", True),
    ],
)
async def test_no_account_is_opened_that_the_chart_does_not_have(
    racing_db: Database,
    code: str,
    currency: str,
    account: bool,  # noqa: FBT001 -- a parameter
) -> None:
    anna = await racing_db.run(met)
    wrong = posting("1", anna if account else 0, Entry("goodwill", code, 1, currency))
    with pytest.raises(StatementFailed):
        await racing_db.run(ledger.post, wrong)
    assert await racing_db.run(lambda tx: tx.value("select count(*) from ledger_accounts")) == 0


async def test_twenty_debits_at_once_take_no_more_than_there_is(racing_db: Database) -> None:
    anna = await racing_db.run(met)
    await racing_db.run(ledger.post, credit(anna, 700, "1"))
    taken = await asyncio.gather(
        *(racing_db.run(ledger.post, debit(anna, 100, str(number))) for number in range(20)),
        return_exceptions=True,
    )
    assert len([one for one in taken if isinstance(one, int)]) == 7
    assert {one.constraint for one in taken if isinstance(one, StatementFailed)} == {"wallet_is_never_negative"}
    assert await racing_db.run(balances) == {f"{anna} {TOPPED_UP}": 0}


_MOVE = st.tuples(
    st.integers(1, 3), st.sampled_from([TOPPED_UP, EARNED]), st.sampled_from(["in", "out"]), st.integers(1, 300)
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(_MOVE, max_size=12))
async def test_balances_are_a_plain_models(
    racing_db: Database, database_url: str, moves: list[tuple[int, str, str, int]]
) -> None:
    await racing_db.run(lambda tx: by_the_owner(tx, "truncate accounts, ledger_transfers, ledger_accounts cascade"))
    people = {number: await racing_db.run(met, number) for number in (1, 2, 3)}
    model: dict[str, int] = {}
    for step, (number, wallet, way, amount) in enumerate(moves):
        name, made = f"{people[number]} {wallet}", credit if way == "in" else debit
        after = model.get(name, 0) + (amount if way == "in" else -amount)
        if after < 0:
            with pytest.raises(StatementFailed):
                await racing_db.run(ledger.post, made(people[number], amount, str(step), wallet))
        else:
            await racing_db.run(ledger.post, made(people[number], amount, str(step), wallet))
            model[name] = after
    assert await racing_db.run(balances) == model
    assert violations(database_url) == []


async def test_the_database_has_the_clearing_accounts_and_kinds_of_the_table(racing_db: Database) -> None:
    held = await racing_db.run(
        lambda tx: tx.value("select jsonb_object_agg(name, clearing) from providers where clearing is not null")
    )
    assert held == {name: postings.clearing(name) for name in held}
    listed = await racing_db.run(
        lambda tx: tx.value(
            "select pg_get_constraintdef(oid) from pg_constraint where conname = 'ledger_transfers_kind_check'"
        )
    )
    assert set(re.findall(r"'(\w+)'", listed)) == {fact.kind for fact in postings.FACTS if fact.kind}


async def test_a_day_of_the_books_is_their_zones(racing_db: Database) -> None:
    """Half past ten in the evening in UTC is the next day in Moscow."""
    anna = await racing_db.run(met)

    def late(tx: Transaction) -> str:
        by_the_owner(
            tx,
            "update deployment set clock_offset ="
            " date_trunc('day', pg_catalog.now() at time zone 'UTC') + interval '22 hours 30 minutes'"
            " - pg_catalog.now() at time zone 'UTC'",
        )
        ledger.post(tx, credit(anna, 1, "1"))
        return str(
            tx.value(
                "select t.books_day - cast(t.booked_at at time zone 'UTC' as date) from ledger_transfers t"
                " join ledger_entries e on e.transfer_id = t.id and e.books_day = t.books_day"
            )
        )

    assert await racing_db.run(late) == "1"


@pytest.mark.parametrize("kind", ["a wallet", "no wallet"])
async def test_functions_may_post(racing_db: Database, kind: str) -> None:
    anna = await racing_db.run(met)

    def as_a_function(tx: Transaction) -> None:
        tx.execute("set local role atlas_app")
        for step in range(2):  # the accounts are opened, then found
            made = credit(anna, 5, str(step))
            alone = posting(str(step), anna, Entry("goodwill", "suspense", 5, "RUB"))
            ledger.post(tx, made if kind == "a wallet" else alone)

    await racing_db.run(as_a_function)
    assert await racing_db.run(lambda tx: tx.value("select sum(amount) from ledger_entries")) == 10
