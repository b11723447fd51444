from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lib.domain import accounts, adjustments, ledger, operators
from lib.domain.accounts import Person
from lib.domain.adjustments import Adjustment, Done, NotDone
from lib.domain.ledger import Wallets
from lib.domain.postings import About, Amount, posting, table
from tests.integration.statement_faults import all_or_nothing

if TYPE_CHECKING:
    from lib.db import Database, Transaction

OWNER, FINANCE, SUPPORT = 11, 12, 13
WANTED = Adjustment(1, 30_000, OWNER, "outage on Monday", "ticket-7")


def prepare(tx: Transaction) -> None:
    operators.grant(tx, OWNER, FINANCE, operators.Role.FINANCE, "c")
    operators.grant(tx, OWNER, SUPPORT, operators.Role.SUPPORT, "c")
    accounts.meet(tx, Person(2, "Boris", None, "ru"))
    accounts.meet(tx, Person(1, "Anna", None, "ru"))


async def anna_of(db: Database) -> int:
    await db.run(prepare)
    return int(await db.run(lambda tx: tx.value("select id from accounts where telegram_id = 1")))


_ENDED = """
update withdrawals set status = 'approved', approved_by = 1, approved_at = atlas.now() where id = :id;
update withdrawals set status = 'paid', ended_by = 1, ended_at = atlas.now() where id = :id;
update withdrawals set status = 'returned', returned_at = atlas.now(), reason = 'the card is closed' where id = :id
"""


def earn(tx: Transaction, account_id: int, amount: int) -> None:
    """Earned money that came back from a payout."""
    number = tx.value(
        "insert into withdrawals (account_id, amount, destination_kind, destination) values (:id, :amount, 'card', '0')"
        " returning id",
        id=account_id,
        amount=amount,
    )
    for step in _ENDED.split(";"):
        tx.execute(step, id=number)
    came, about = Amount(amount, "RUB"), About(account_id=account_id, withdrawal_id=number)
    ledger.post(tx, posting(table.WITHDRAWAL_BOUNCED, about, withdrawn=came, returned=came))


def credit(tx: Transaction, wanted: Adjustment) -> Done:
    return adjustments.credit(tx, wanted, {OWNER}, currency="RUB", correlation_id="c-1")


def debit(tx: Transaction, wanted: Adjustment) -> Done:
    return adjustments.debit(tx, wanted, {OWNER}, currency="RUB", correlation_id="c-2")


def moves(tx: Transaction) -> list[Any]:
    return tx.values(
        "select d.code || '>' || c.code || ' ' || e.amount from ledger_entries e join ledger_transfers t on t.id = e.transfer_id"
        " join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id"
        " where t.kind in ('operator_credit', 'operator_debit') order by e.transfer_id, e.number"
    )


def wallets(tx: Transaction, account_id: int) -> Wallets:
    return ledger.lock_wallets(tx, account_id)[account_id]


async def test_a_credit_is_topped_up_and_a_debit_takes_that_first(db: Database) -> None:
    anna = await anna_of(db)
    await db.run(earn, anna, 5_000)
    wanted = replace(WANTED, account_id=anna)
    assert await db.run(credit, wanted) == Done(already=False, balance=Wallets(30_000, 5_000))
    taken = await db.run(debit, replace(wanted, amount=32_000, operator=FINANCE, name="ticket-8"))
    assert taken == Done(already=False, balance=Wallets(0, 3_000))
    assert await db.run(wallets, anna) == Wallets(0, 3_000)
    assert await db.run(moves) == [
        "goodwill>user:topped_up 30000",
        "user:topped_up>goodwill 30000",
        "user:earned>goodwill 2000",
    ]
    rows = await db.run(
        lambda tx: tx.values(
            "select jsonb_build_array(actor, action, subject_key, before, after) from audit_log"
            " where action like 'balance.%' order by id"
        )
    )
    said = [row if isinstance(row, list) else json.loads(row) for row in rows]
    assert [row[:3] for row in said] == [
        [OWNER, "balance.credited", str(anna)],
        [FINANCE, "balance.debited", str(anna)],
    ]
    assert said[1][3] == {"topped_up": 30_000, "earned": 5_000}
    assert said[1][4]["reason"] == "outage on Monday"


async def test_under_one_name_it_is_done_once(racing_db: Database) -> None:
    anna = await anna_of(racing_db)
    wanted = replace(WANTED, account_id=anna)
    done = await asyncio.gather(*(racing_db.run(credit, wanted) for _ in range(8)))
    assert sorted(one.already for one in done) == [False] + [True] * 7
    assert await racing_db.run(wallets, anna) == Wallets(30_000, 0)
    for other in (replace(wanted, amount=1), replace(wanted, account_id=anna - 1), replace(wanted, reason="another")):
        with pytest.raises(NotDone, match="stands for another adjustment"):
            await racing_db.run(credit, other)
    with pytest.raises(NotDone, match="stands for another adjustment"):
        await racing_db.run(debit, wanted)
    assert await racing_db.run(wallets, anna) == Wallets(30_000, 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 10**17}, "amount"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 1001}, "reason"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"operator": SUPPORT}, "may not"),
        ({"operator": 99}, "may not"),
        ({"account_id": 2**62}, "no account"),
    ],
)
@pytest.mark.parametrize("what", [credit, debit])
async def test_what_may_not_be_done_is_refused_in_words(
    db: Database, what: Any, changes: dict[str, Any], said: str
) -> None:
    anna = await anna_of(db)
    await db.run(credit, replace(WANTED, account_id=anna, name="before"))
    with pytest.raises(NotDone, match=said):
        await db.run(what, replace(WANTED, **{"account_id": anna} | changes))
    assert await db.run(wallets, anna) == Wallets(30_000, 0)


async def test_no_more_is_taken_than_there_is(db: Database) -> None:
    anna = await anna_of(db)
    await db.run(credit, replace(WANTED, account_id=anna))
    with pytest.raises(NotDone, match="1 minor units too low"):
        await db.run(debit, replace(WANTED, account_id=anna, amount=30_001, name="ticket-8"))
    assert await db.run(wallets, anna) == Wallets(30_000, 0)


async def test_two_debits_at_once_never_take_the_same_money(racing_db: Database) -> None:
    anna = await anna_of(racing_db)
    await racing_db.run(credit, replace(WANTED, account_id=anna))
    several = [replace(WANTED, account_id=anna, amount=20_000, name=f"ticket-{number}") for number in range(100, 106)]
    ended = await asyncio.gather(*(racing_db.run(debit, wanted) for wanted in several), return_exceptions=True)
    assert [type(one) for one in ended].count(Done) == 1
    assert await racing_db.run(wallets, anna) == Wallets(10_000, 0)


@pytest.mark.proves("S4-2.1.credit")
async def test_a_fault_at_any_statement_of_a_credit_leaves_nothing(db: Database, functions_url: str) -> None:
    anna = await anna_of(db)
    assert (await all_or_nothing(functions_url, credit, replace(WANTED, account_id=anna))).balance == Wallets(30_000, 0)


@pytest.mark.proves("S4-2.1.debit")
async def test_a_fault_at_any_statement_of_a_debit_leaves_nothing(db: Database, functions_url: str) -> None:
    anna = await anna_of(db)
    await db.run(credit, replace(WANTED, account_id=anna))
    wanted = replace(WANTED, account_id=anna, amount=10_000, name="ticket-8")
    assert (await all_or_nothing(functions_url, debit, wanted)).balance == Wallets(20_000, 0)
