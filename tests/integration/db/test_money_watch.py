"""The watch over money in tests: a COMMIT that moved something wrongly is refused and named."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lib.db.connection import Connection, Timeouts
from lib.db.errors import StatementFailed
from lib.db.transaction import Transaction
from lib.domain import ledger
from lib.domain.ledger import Entry, Posting
from lib.domain.postings import About, Amount, posting, table
from tests.integration.domain import money_rows

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def session(database_url: str) -> Iterator[Connection]:
    with closing(Connection(database_url, application="test", timeouts=Timeouts())) as connection:
        yield connection


def _credit(tx: Transaction) -> int:
    about = About(account_id=money_rows.customer(tx), operation="1", actor_id=17, reason="a test")
    return ledger.post(tx, posting(table.OPERATOR_CREDIT, about, topped_up=Amount(500, "RUB")))


def _entries(tx: Transaction, *entries: Entry) -> None:
    ledger.post(
        tx,
        Posting("operator_credit", "operator_credit:2", entries, account_id=1, actor_id=17, reason="a test"),
    )


WRONG = {
    "a wallet without an entry": "update ledger_accounts set balance = balance + 1 where account_id is not null",
    "a wallet that lacks its entry": "update ledger_accounts set balance = 0 where account_id is not null",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wallet_that_moved_otherwise_than_its_entries_is_refused(session: Connection, name: str) -> None:
    session.begin()
    tx = Transaction(session, lambda: False, "test")
    _credit(tx)
    tx.execute(WRONG[name])
    with pytest.raises(StatementFailed) as refused:
        session.commit("test")
    assert refused.value.constraint in {"watch_wallet", "watch_entry"}


def test_an_entry_that_no_row_of_the_table_has_is_refused(session: Connection) -> None:
    session.begin()
    tx = Transaction(session, lambda: False, "test")
    _credit(tx)
    _entries(tx, Entry("goodwill", "revenue", 5, "RUB"))
    with pytest.raises(StatementFailed) as refused:
        session.commit("test")
    assert refused.value.constraint == "watch_entry"


def test_what_is_posted_and_undone_by_the_table_passes(session: Connection) -> None:
    session.begin()
    tx = Transaction(session, lambda: False, "test")
    ledger.reverse(tx, _credit(tx), actor_id=17, reason="a slip")
    session.commit("test")


@pytest.mark.posts_by_hand
def test_below_the_table_wallets_are_watched_alone(session: Connection) -> None:
    session.begin()
    tx = Transaction(session, lambda: False, "test")
    _credit(tx)
    _entries(tx, Entry("goodwill", "revenue", 5, "RUB"))
    session.commit("test")
