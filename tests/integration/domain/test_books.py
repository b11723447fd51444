"""What is undone, what is closed, and what the books then say."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from itertools import repeat
from typing import TYPE_CHECKING

import pytest

from lib.db import StatementFailed
from lib.db.connection import Connection, Timeouts
from lib.db.invariants import violations
from lib.db.transaction import Transaction
from lib.domain import books, ledger
from lib.domain.ledger import NoSuchTransfer, PostedBefore, ReversedBefore, Wallets
from lib.domain.postings import About, Amount, posting, table
from tests.integration.by_the_owner import by_the_owner, travel
from tests.integration.domain import money_rows
from tests.integration.domain.money_rows import fresh
from tests.waiting import until

if TYPE_CHECKING:
    from datetime import date

    from lib.db import Database


def rub(minor: int) -> Amount:
    return Amount(minor, "RUB")


def credit(tx: Transaction, account_id: int, amount: int) -> int:
    about = About(account_id=account_id, operation=fresh("credit"), actor_id=17, reason="a test")
    return ledger.post(tx, posting(table.OPERATOR_CREDIT, about, topped_up=rub(amount)))


def debit(tx: Transaction, account_id: int, amount: int) -> int:
    parts = ledger.lock_wallets(tx, account_id)[account_id].spent(amount)
    about = About(account_id=account_id, operation=fresh("debit"), actor_id=17, reason="a test")
    return ledger.post(
        tx, posting(table.OPERATOR_DEBIT, about, topped_up=rub(parts.topped_up), earned=rub(parts.earned))
    )


def opening(tx: Transaction, amount: int) -> int:
    about = About(operation=fresh("opening"), actor_id=17, reason="a test")
    return ledger.post(tx, posting(table.OPENING_IN_BANK, about, moved=rub(amount)))


def undone(tx: Transaction, transfer_id: int) -> int:
    return ledger.reverse(tx, transfer_id, actor_id=17, reason="a slip")


def wallets(tx: Transaction, account_id: int) -> Wallets:
    return ledger.lock_wallets(tx, account_id)[account_id]


def held(tx: Transaction) -> dict[str, int]:
    return {f"{one.code} {one.currency}": one.balance for one in books.trial_balance(tx) if one.balance}


def days_pass(tx: Transaction, days: int, hours: int = 0) -> None:
    travel(tx, timedelta(days=days, hours=hours))


# Undone --------------------------------------------------------------------------------------------------------------


async def test_a_transfer_is_undone_entry_by_entry_and_wallets_with_it(racing_db: Database) -> None:
    anna = await racing_db.run(money_rows.customer)
    first = await racing_db.run(credit, anna, 500)
    assert await racing_db.run(wallets, anna) == Wallets(500, 0)
    done = await racing_db.run(undone, first)
    assert await racing_db.run(wallets, anna) == Wallets(0, 0)
    assert await racing_db.run(held) == {}
    [line, back] = await racing_db.run(lambda tx: books.statement(tx, account_id=anna))
    assert (line.other, line.amount, line.balance) == ("goodwill", -500, -500)
    assert (back.amount, back.balance, back.kind, back.key) == (500, 0, "correction", f"correction:{first}")
    assert (back.transfer_id, back.reverses_id, back.actor_id, back.reason) == (done, first, 17, "a slip")


async def test_a_correction_can_be_undone_too(racing_db: Database) -> None:
    anna = await racing_db.run(money_rows.customer)
    first = await racing_db.run(credit, anna, 500)
    await racing_db.run(undone, await racing_db.run(undone, first))
    assert await racing_db.run(wallets, anna) == Wallets(500, 0)
    with pytest.raises(ReversedBefore):
        await racing_db.run(undone, first)


async def test_what_is_spent_can_not_be_undone(racing_db: Database, database_url: str) -> None:
    anna = await racing_db.run(money_rows.customer)
    first = await racing_db.run(credit, anna, 500)
    await racing_db.run(debit, anna, 1)
    with pytest.raises(StatementFailed) as refused:
        await racing_db.run(undone, first)
    assert refused.value.constraint == "wallet_is_never_negative"
    assert await racing_db.run(wallets, anna) == Wallets(499, 0)
    assert violations(database_url) == []


async def test_nothing_is_undone_that_is_not_there(racing_db: Database) -> None:
    with pytest.raises(NoSuchTransfer):
        await racing_db.run(undone, 99)


async def test_two_who_undo_one_transfer_undo_it_once(racing_db: Database, database_url: str) -> None:
    anna = await racing_db.run(money_rows.customer)
    first = await racing_db.run(credit, anna, 500)
    await racing_db.run(credit, anna, 2_000)
    done = await asyncio.gather(*(racing_db.run(undone, first) for _ in range(8)), return_exceptions=True)
    assert len([one for one in done if isinstance(one, int)]) == 1
    assert all(isinstance(one, (int, ReversedBefore)) for one in done)
    assert await racing_db.run(wallets, anna) == Wallets(2_000, 0)
    assert violations(database_url) == []


# Wallets -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("amount", "parts"), [(0, (0, 0)), (1, (1, 0)), (70, (70, 0)), (71, (70, 1)), (100, (70, 30))])
def test_topped_up_is_spent_first(amount: int, parts: tuple[int, int]) -> None:
    assert Wallets(70, 30).spent(amount) == Wallets(*parts)


def test_no_more_is_spent_than_there_is() -> None:
    with pytest.raises(ledger.BalanceTooLow) as refused:
        Wallets(70, 30).spent(101)
    assert refused.value.missing == 1
    with pytest.raises(ValueError, match="less than nothing"):
        Wallets(70, 30).spent(-1)


async def test_sessions_that_spend_two_customers_money_wait_for_each_other_and_never_in_a_circle(
    racing_db: Database, database_url: str
) -> None:
    people = [await racing_db.run(money_rows.customer) for _ in range(3)]
    for one in people:
        await racing_db.run(credit, one, 1_000)

    def both(tx: Transaction, first: int, second: int) -> None:
        ledger.lock_wallets(tx, first, second)
        debit(tx, first, 70)
        debit(tx, second, 30)

    pairs = [(a, b) for a in people for b in people if a != b]
    done = await asyncio.gather(*(racing_db.run(both, *pair) for pair in pairs * 5), return_exceptions=True)
    assert {type(one) for one in done} <= {type(None), ledger.BalanceTooLow}
    left = [await racing_db.run(wallets, one) for one in people]
    paid = sum(one is None for one in done) * 100
    assert sum(one.topped_up for one in left) == 3_000 - paid
    # what one of them could not pay was refused whole, and only then
    assert all(one.topped_up >= 0 for one in left)
    assert paid == 3_000 or min(one.topped_up for one in left) < 70
    assert violations(database_url) == []


def _spends(url: str, people: list[int], seed: int) -> list[str]:
    """One session's transactions; what refused each, if anything did. Nothing is run again, so a deadlock would be told."""
    draw, refusals = random.Random(seed), []  # noqa: S311 -- the order of a test
    with closing(Connection(url, application=f"session-{seed}", timeouts=Timeouts(lock_ms=60_000))) as session:
        for _ in range(12):
            session.begin()
            tx = Transaction(session, lambda: False, "spends")
            try:
                first, second = draw.sample(people, 2)
                if draw.random() < 0.5:
                    ledger.lock_wallets(tx, first, second)
                    debit(tx, first, draw.randint(1, 90))
                    credit(tx, second, draw.randint(1, 60))
                else:
                    amount = draw.randint(1, 90)
                    about = About(account_id=first, operation=fresh("debit"), actor_id=17, reason="a test")
                    ledger.post(tx, posting(table.OPERATOR_DEBIT, about, topped_up=rub(amount), earned=rub(0)))
                session.commit("spends")
            except (StatementFailed, ledger.BalanceTooLow) as refused:
                session.rollback()
                refusals.append(refused.constraint or refused.code if isinstance(refused, StatementFailed) else "")
    return refusals


def test_sessions_on_the_same_wallets_never_take_what_is_not_there_and_never_wait_in_a_circle(
    database_url: str,
) -> None:
    with closing(Connection(database_url, application="test", timeouts=Timeouts())) as session:
        session.begin()
        people = [money_rows.customer(Transaction(session, lambda: False, "people")) for _ in range(3)]
        session.commit("people")
    with ThreadPoolExecutor(6) as sessions:
        refusals = [
            one for found in sessions.map(_spends, repeat(database_url), repeat(people), range(6)) for one in found
        ]
    # none of them had a wallet at first: they are opened by several sessions at once
    assert set(refusals) <= {"", "wallet_is_never_negative"}
    assert violations(database_url) == []


# A fee is booked once ------------------------------------------------------------------------------------------------


def _sold(tx: Transaction, fee: int) -> int:
    order = money_rows.order(tx, money_rows.customer(tx))
    event = money_rows.event(tx, status="settled", order_id=order)
    payment = money_rows.payment(tx, order, event)
    about = About(provider="card", payment_id=payment, order_id=order)
    ledger.post(tx, posting(table.SALE, about, price=rub(14_900), received=rub(14_900), fee=rub(fee)))
    return event


def _late_fee(tx: Transaction, event_id: int) -> int:
    return ledger.post(tx, posting(table.FEE, About(provider="card", event_id=event_id), fee=rub(365)))


async def test_a_fee_that_is_known_later_is_booked_once(racing_db: Database) -> None:
    event = await racing_db.run(_sold, 0)
    await racing_db.run(_late_fee, event)
    assert (await racing_db.run(held))["provider_fees RUB"] == 365
    for _ in range(2):
        with pytest.raises((PostedBefore, StatementFailed)):
            await racing_db.run(_late_fee, event)


async def test_a_fee_that_came_with_its_charge_is_not_booked_again(racing_db: Database) -> None:
    event = await racing_db.run(_sold, 365)
    with pytest.raises(StatementFailed) as refused:
        await racing_db.run(_late_fee, event)
    assert refused.value.constraint == "fee_is_booked_once"


# Closed --------------------------------------------------------------------------------------------------------------


async def test_days_close_one_after_the_other_three_hours_after_their_end(
    racing_db: Database, database_url: str
) -> None:
    assert await racing_db.run(books.close_next_day) is None  # nothing was ever posted
    await racing_db.run(opening, 100)
    first: date = await racing_db.run(lambda tx: tx.value("select books_day from ledger_transfers"))
    assert await racing_db.run(books.close_next_day) is None  # it is today
    await racing_db.run(days_pass, 3, 4)
    await racing_db.run(opening, 20)
    closed = [await racing_db.run(books.close_next_day) for _ in range(4)]
    # whatever the hour is: a day is not closed before 3 h are over of the next
    open_day: date = await racing_db.run(
        lambda tx: tx.value(
            "select cast((atlas.now() - interval '3 hours') at time zone books_zone as date) from deployment"
        )
    )
    expected = [first + timedelta(days=n) for n in range((open_day - first).days)]
    assert [day for day in closed if day is not None][: len(expected)] == expected[: len(closed)]
    assert await racing_db.run(lambda tx: tx.value("select count(distinct day) from ledger_snapshots")) >= 3
    assert violations(database_url) == []
    assert await racing_db.run(held) == {"bank RUB": 120, "owner RUB": -120}


async def test_nothing_posts_into_a_closed_day_and_what_was_wrong_in_it_is_undone_today(
    racing_db: Database, database_url: str
) -> None:
    first = await racing_db.run(opening, 100)
    await racing_db.run(days_pass, 2)
    day = await racing_db.run(books.close_next_day)
    with pytest.raises(StatementFailed) as refused:
        await racing_db.run(
            by_the_owner,
            "insert into ledger_transfers (key, kind, entries, actor_id, reason, books_day)"
            " select 'owner_movement:late', 'owner_movement', 1, 5, 'late', max(day) from closed_days",
        )
    assert refused.value.constraint == "transfer_of_an_open_day"
    await racing_db.run(undone, first)
    lines = await racing_db.run(lambda tx: books.statement(tx, code="bank", currency="RUB"))
    assert [line.balance for line in lines] == [100, 0]
    assert [line.books_day == day for line in lines] == [True, False]
    assert violations(database_url) == []


async def test_a_slow_transaction_of_a_day_that_is_closed_is_run_again_today(
    racing_db: Database, database_url: str
) -> None:
    attempts: list[str] = []
    with closing(Connection(database_url, application="other", timeouts=Timeouts())) as other:

        def slow(tx: Transaction) -> int:
            tx.execute("select 1")
            attempts.append("")
            match len(attempts):
                case 2:  # the first one was refused by the test guard
                    other.simple("set session_replication_role = replica")  # its end is not waited for
                    other.execute("insert into closed_days (day) select atlas.books_day()", {})
                case 3:
                    other.execute("update deployment set clock_offset = interval '1 day'", {})
            return opening(tx, 100)

        done = await racing_db.run(slow)
    assert len(attempts) == 3
    days = "select t.books_day - c.day from ledger_transfers t, closed_days c where t.id = :id"
    assert await racing_db.run(lambda tx: tx.value(days, id=done)) == 1
    assert await racing_db.run(lambda tx: tx.value("select count(*) from ledger_transfers")) == 1


async def test_two_who_close_a_day_close_it_once(racing_db: Database, database_url: str) -> None:
    await racing_db.run(opening, 100)
    await racing_db.run(days_pass, 1, 27)
    done = await asyncio.gather(*(racing_db.run(books.close_next_day) for _ in range(6)))
    closed = [day for day in done if day is not None]
    assert len(closed) == len(set(closed)) >= 1
    assert violations(database_url) == []


async def test_a_day_that_was_closed_while_its_closing_waited_is_closed_once(
    racing_db: Database, database_url: str
) -> None:
    await racing_db.run(opening, 100)
    first = await racing_db.run(lambda tx: tx.value("select min(books_day) from ledger_transfers"))
    await racing_db.run(days_pass, 0, 27)  # its end and 3 h more, whatever the hour is

    def owner(name: str) -> Connection:
        return Connection(database_url, application=name, timeouts=Timeouts())

    with closing(owner("posting")) as posts, closing(owner("other")) as other:
        posts.begin()
        posts.execute("lock table ledger_transfers in row exclusive mode", {})
        closes = asyncio.create_task(racing_db.run(books.close_next_day))
        waits = "select from pg_locks where not granted and relation = cast('ledger_transfers' as regclass)"
        await until(lambda: other.execute(waits, {})[1], "the closing to wait for the posting")
        other.simple("set session_replication_role = replica")  # it does not wait itself
        other.execute("insert into closed_days (day) values (:day)", {"day": first})
        posts.commit("test")
        assert await closes is None
    assert await racing_db.run(lambda tx: tx.value("select count(*) from closed_days")) == 1


async def test_functions_may_close_and_undo(racing_db: Database) -> None:
    def as_a_function(tx: Transaction) -> date | None:
        first = opening(tx, 100)
        days_pass(tx, 2)
        undone(tx, first)
        return books.close_next_day(tx)

    assert await racing_db.run(as_a_function) is not None


# What the books say --------------------------------------------------------------------------------------------------


async def test_balances_at_a_moment_begin_where_the_last_snapshot_ends(racing_db: Database, database_url: str) -> None:
    anna = await racing_db.run(money_rows.customer)
    moments, expected = [], []
    for step in range(4):
        await racing_db.run(credit, anna, 10 ** (step + 1))
        await racing_db.run(opening, 7)
        moments.append(await racing_db.run(lambda tx: tx.value("select atlas.now()")))
        expected.append(await racing_db.run(books.trial_balance))
        await racing_db.run(days_pass, 1)
        if step == 2:
            while await racing_db.run(books.close_next_day):
                pass
    assert violations(database_url) == []
    for moment, then in zip(moments, expected, strict=True):
        assert await racing_db.run(books.trial_balance, moment) == then
        assert sum(one.balance for one in then) == 0
        assert {one.type for one in then} == {"expense", "liability", "asset", "equity"}
    # without a snapshot, by every entry there is
    with closing(Connection(database_url, application="other", timeouts=Timeouts())) as other:
        other.simple("set session_replication_role = replica")
        other.execute("delete from ledger_snapshots", {})
    assert [await racing_db.run(books.trial_balance, moment) for moment in moments] == expected


def _page_after(tx: Transaction, after: books.Line | None) -> list[books.Line]:
    return books.statement(tx, code="goodwill", currency="RUB", after=after, page=5)


async def test_a_statement_goes_on_from_what_was_before_and_comes_in_pages(racing_db: Database) -> None:
    anna, boris = await racing_db.run(money_rows.customer), await racing_db.run(money_rows.customer)
    for step in range(6):
        await racing_db.run(credit, anna, 100 + step)
        await racing_db.run(credit, boris, 5)
        if step % 2:
            await racing_db.run(days_pass, 1)
        if step == 3:
            await racing_db.run(days_pass, 1)
            await racing_db.run(books.close_next_day)
    whole = await racing_db.run(lambda tx: books.statement(tx, account_id=anna))
    assert [-line.amount for line in whole] == [100, 101, 102, 103, 104, 105]
    assert [-line.balance for line in whole] == [100, 201, 303, 406, 510, 615]
    assert {(line.code, line.account_id, line.other) for line in whole} == {("user:topped_up", anna, "goodwill")}
    days = sorted({line.books_day for line in whole})
    for first in days:
        for last in days:
            part = await racing_db.run(lambda tx: books.statement(tx, account_id=anna, first=first, last=last))  # noqa: B023 -- awaited here
            assert part == [line for line in whole if first <= line.books_day <= last]
    pages: list[list[books.Line]] = []
    while page := await racing_db.run(_page_after, pages[-1][-1] if pages else None):
        pages.append(page)
    assert [len(page) for page in pages] == [5, 5, 2]
    assert pages[-1][-1].balance == 615 + 30


async def test_no_page_of_a_statement_loses_a_side_of_an_entry(racing_db: Database) -> None:
    await racing_db.run(_sold, 365)  # between accounts of the shop: each entry is two lines of its statement
    whole = await racing_db.run(books.statement)
    sides = [(line.transfer_id, line.number) for line in whole]
    assert len(sides) == 2 * len(set(sides))
    assert sum(line.amount for line in whole) == 0
    for page in range(1, len(whole)):
        lines: list[books.Line] = []
        while part := await racing_db.run(_shop_after, lines[-1] if lines else None, page):
            lines += part
        assert lines == whole


def _shop_after(tx: Transaction, after: books.Line | None, page: int) -> list[books.Line]:
    return books.statement(tx, after=after, page=page)


async def test_an_order_is_explained_by_all_that_was_posted_for_it(racing_db: Database) -> None:
    event = await racing_db.run(_sold, 0)
    await racing_db.run(_late_fee, event)
    await racing_db.run(_sold, 1)  # another one's
    order = await racing_db.run(lambda tx: tx.value("select order_id from payment_events where id = :id", id=event))
    moves = await racing_db.run(books.moves_of_order, order)
    assert [(one.kind, one.debit, one.credit, one.amount, one.currency) for one in moves] == [
        ("sale", "clearing:card", "revenue", 14_900, "RUB"),
        ("fee", "provider_fees", "clearing:card", 365, "RUB"),
    ]
