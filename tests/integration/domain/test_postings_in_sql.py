"""What is posted lands in the tables as the table by hand says: every fact of it, in SQL."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from lib.db.connection import Connection, Timeouts
from lib.db.transaction import Transaction
from lib.domain import ledger
from lib.domain.postings import About, Amount, posting, table
from tests.integration.domain import money_rows
from tests.postings_by_hand import ABOUT, CASES, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.postgres.server import Postgres

POSTED = {name: case for name, case in CASES.items() if case.moved}
_LANDED = """
select d.code, c.code, cast(e.amount as text), e.currency, coalesce(d.account_id, c.account_id)
from ledger_entries e join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
where e.transfer_id = :id order by e.number
"""
_WALLETS = "select code, cast(balance as text) from ledger_accounts where account_id = 1"


@pytest.fixture(scope="module")
def session(postgres: Postgres) -> Iterator[Connection]:
    """A customer with full wallets, and one of everything that a transfer names; each is number 1."""
    postgres.create_database("postings", template="atlas_template")
    with closing(Connection(postgres.url("postings"), application="test", timeouts=Timeouts())) as connection:
        connection.begin()
        tx = Transaction(connection, lambda: False, "rows")
        account = money_rows.customer(tx)
        order = money_rows.order(tx, account)
        event = money_rows.event(tx, status="settled", order_id=order)
        payment = money_rows.payment(tx, order, event)
        refund = money_rows.refund(tx, payment, provider="card", external_id="1", route="provider", kind="refund")
        withdrawal = money_rows.withdrawal(tx, account, 50_000)
        assert {account, order, event, payment, refund, withdrawal} == {1}
        full = Amount(1_000_000, "RUB")
        filled = About(account_id=account, operation="filled", actor_id=17, reason="a test")
        ledger.post(tx, posting(table.OPERATOR_CREDIT, filled, topped_up=full))
        other = money_rows.order(tx, money_rows.customer(tx))
        paid = money_rows.payment(tx, other, money_rows.event(tx, status="settled", order_id=other))
        rewarded = About(account_id=account, payment_id=paid, order_id=other)
        ledger.post(tx, posting(table.REWARD_RELEASED, rewarded, reward=full))
        connection.commit("rows")
        yield connection
    postgres.drop_database("postings")


def _post(tx: Transaction, case: Case) -> int:
    amounts: Any = {name: Amount(*amount) for name, amount in case.given.items()}
    said = ABOUT | ({"refund_id": None} if case.fact == "FEE" else {})  # a charge's, no refund's
    about = About(provider=case.provider, **said)  # type: ignore[arg-type] # a table
    return ledger.post(tx, posting(getattr(table, case.fact), about, **amounts))


def _landed(session: Connection, transfer_id: int) -> list[tuple[str, str, int, str]]:
    rows = session.execute(_LANDED, {"id": transfer_id})[1]
    assert all((of == 1) == ("user:" in debit + credit) for debit, credit, *_, of in rows)
    return [(debit, credit, int(amount), currency) for debit, credit, amount, currency, _ in rows]


@pytest.mark.proves("N-29")
@pytest.mark.parametrize("name", POSTED)
def test_what_lands_is_what_the_table_by_hand_says_and_undone_it_is_the_other_way_round(
    session: Connection, name: str
) -> None:
    case = POSTED[name]
    session.begin()
    try:
        tx = Transaction(session, lambda: False, "case")
        tx.execute("set local role atlas_app")
        posted = _post(tx, case)
        assert _landed(session, posted) == case.moved
        expected = {"user:topped_up": 1_000_000, "user:earned": 1_000_000}
        for debit, credit, amount, _ in case.moved:
            for wallet, moved in ((debit, -amount), (credit, amount)):
                if wallet in expected:
                    expected[wallet] += moved
        assert {code: int(balance) for code, balance in session.execute(_WALLETS, {})[1]} == expected
        undone = ledger.reverse(tx, posted, actor_id=17, reason="a slip")
        swapped = [(credit, debit, amount, currency) for debit, credit, amount, currency in case.moved]
        assert _landed(session, undone) == swapped
        session.simple("reset role; set constraints all immediate")
        assert {balance for _, balance in session.execute(_WALLETS, {})[1]} == {"1000000"}
    finally:
        session.rollback()
