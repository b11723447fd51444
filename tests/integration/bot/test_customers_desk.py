"""The operators' desk for customers: who may what, each change shown, confirmed once and audited; the history by pages."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from lib.bot.customers import callbacks
from lib.domain import access_desk, accounts, audit, operators, revoking, subscriptions
from lib.domain.access_desk import Asked, Change, NotMade
from lib.domain.accounts import Person
from lib.domain.operators import Role
from tests.integration.bot.conftest import services_over
from tests.integration.bot.customer import Customer
from tests.integration.sweeps.grants import PRICES, meet, open_order, pay, start_trial

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from tests.integration.bot.customer import FakeProvider

OWNER, ANNA = 700_000_041, 700_000_042
REASON = "asked for it in the chat"


def bought(tx: Transaction) -> int:
    account = accounts.meet(tx, Person(ANNA, "Anna <b>", "anna_life", "ru")).id
    pay(tx, open_order(tx, ANNA, "basic", 30, "desk-1"))
    accounts.meet(tx, Person(ANNA, "Anna <b>", "anna_life", "ru"))
    return account


def audited(tx: Transaction) -> list[str]:
    return tx.values("select actor || ' ' || action from audit_log order by id")


@pytest.fixture
def boss(racing_db: Database, provider: FakeProvider) -> Customer:
    services = replace(services_over(racing_db, provider), owners=frozenset({OWNER}))
    return Customer(services, OWNER, name="Olga", language="en")


async def status(db: Database, account: int) -> str:
    return (await db.run(access_desk.state, account)).status


async def confirmed(boss: Customer, change: str, *answers: str, reason: str = REASON) -> str:
    """Press a change's button on the card, answer what is asked, and stop at the confirm screen: its button's data."""
    await boss.press(change)
    for answer in answers:
        await boss.press(answer)
    await boss.say(reason)
    return boss.data("Confirm")


@pytest.mark.proves("N-37")
async def test_each_change_is_shown_made_once_and_audited(boss: Customer, racing_db: Database) -> None:
    db = racing_db
    account = await db.run(bought)
    for asked in (str(ANNA), str(account), "@ANNA_LIFE"):
        await boss.say("/customers")
        await boss.say(asked)
        assert "Anna &lt;b&gt;" in boss.text, asked
    steps = [
        ("New key", (), "active"),
        ("Freeze", ("7 days",), "frozen"),
        ("Thaw", (), "active"),
        ("Revoke", (), "expired"),
        ("Give access", ("Plus", "7 days"), "active"),
        ("🚫 Ban", (), "expired"),
        ("Unban", (), "active"),
    ]
    for change, answers, after in steps:
        before = await status(db, account)
        button = await confirmed(boss, change, *answers)
        assert await status(db, account) == before, "nothing is done before it is confirmed"
        rows = len(await db.run(audited))
        await asyncio.gather(*(boss.give(update) for update in (boss.tap_of(button), boss.tap_of(button))))
        await boss.tap(button)
        assert await status(db, account) == after, change
        assert len(await db.run(audited)) == rows + 1, change
        await boss.press("👤 Customer")
    actions = ["reissue", "freeze", "thaw", "revoke", "granted", "ban", "unban"]
    assert await db.run(audited) == [f"{OWNER} access.{one}" for one in actions]
    assert await db.run(audit.verify) == []
    # the history, newest first, says who
    await boss.press("History")
    lines = boss.text.splitlines()[1:]
    assert "back after a ban" in lines[0]
    assert "payment" in lines[-1]
    assert sum(f"operator {OWNER}" in line for line in lines) == 7


@pytest.mark.proves("N-37")
async def test_the_history_goes_by_pages(boss: Customer, racing_db: Database) -> None:
    account = await racing_db.run(bought)
    for _ in range(24):
        await racing_db.run(
            lambda tx: subscriptions.grant(tx, account, tariff="basic", seconds=60, source="admin", actor_id=OWNER)
        )
    seen = []
    before = access_desk.FIRST
    while page := await racing_db.run(lambda tx, b=before: access_desk.history(tx, account, before=b, most=10)):  # type: ignore[misc]
        seen += [one.id for one in page]
        before = page[-1].id
    assert len(seen) == 25
    assert seen == sorted(seen, reverse=True)
    await boss.tap(callbacks.History(account=account, before=0).pack())
    assert len(boss.text.splitlines()) == 11
    await boss.press("Earlier")
    assert len(boss.text.splitlines()) == 11
    await boss.press("Earlier")
    assert len(boss.text.splitlines()) == 6


@pytest.mark.proves("N-37")
@pytest.mark.parametrize("role", [None, *Role])
async def test_each_role_sees_and_does_what_the_table_says(
    boss: Customer, racing_db: Database, role: Role | None
) -> None:
    account = await racing_db.run(bought)
    person = Customer(replace(boss.services, owners=frozenset()), OWNER, name="Olga", language="en")
    await person.say("/start")
    if role is not None and role is not Role.OWNER:
        await racing_db.run(lambda tx: operators.grant(tx, 1, OWNER, role, "c"))
    elif role is Role.OWNER:
        person = boss
    held = {role} if role else set()
    await person.say("/customers")
    await person.tap(callbacks.Card(account=account).pack())
    assert ("Anna" in person.text) == operators.may(held, operators.Action.SEE_CUSTOMER)
    before = await racing_db.run(access_desk.state, account)
    for change in Change:
        await person.tap(callbacks.Begin(change=change, account=account).pack())
        begun = f"customer {account}" in person.text
        assert begun == operators.may(held, access_desk.NEEDS[change]), change
    await person.tap(callbacks.History(account=account, before=0).pack())
    assert ("History of customer" in person.text) == operators.may(held, operators.Action.SEE_CUSTOMER)
    assert await racing_db.run(access_desk.state, account) == before


@pytest.mark.proves("N-37")
async def test_what_can_not_be_is_refused_where_it_is_shown(boss: Customer, racing_db: Database) -> None:
    db = racing_db
    account = await db.run(bought)
    await boss.say("/customers")
    await boss.say("@not_a_customer")
    assert "No one" in boss.text
    await boss.tap(callbacks.Card(account=account).pack())
    stale = await confirmed(boss, "Freeze", "7 days")
    # it changed between the two screens: what is confirmed is what was shown, or it is shown again
    await db.run(lambda tx: revoking.revoke(tx, account, actor_id=OWNER, correlation_id="c"))
    await boss.tap(stale)
    assert "there is no access" in boss.text
    await boss.tap(callbacks.Begin(change=Change.GRANT, account=account).pack())
    await boss.press("Basic")
    for wrong in ("0", "-1", "1e3", "99999", "٣"):
        await boss.say(wrong)
        assert "whole number" in boss.text, wrong
    await boss.say("3")
    await boss.say("short")
    assert "10" in boss.text
    assert await status(db, account) == "expired"
    for data in (
        "acc_do:fly:1",
        "acc_card:0",
        "acc_yes:999",
        "acc_days:9999:1",
        "acc",
        "acc_tariff:gold:1",
        "acc_past:1",
    ):
        await boss.tap(data)
        assert boss.text, data
    assert await status(db, account) == "expired"
    trial_account = await db.run(meet, 77)
    await db.run(start_trial, 77)
    asked = Asked(Change.FREEZE, trial_account, OWNER, REASON, "n", days=3)
    with pytest.raises(NotMade) as refused:
        await db.run(access_desk.make, asked, PRICES, {OWNER}, "c")
    assert refused.value.why == "trial"
    asked = Asked(Change.BAN, trial_account, 1, REASON, "n2")
    with pytest.raises(NotMade):
        await db.run(access_desk.make, asked, PRICES, {OWNER}, "c")


async def test_a_name_stands_for_one_change(racing_db: Database) -> None:
    account = await racing_db.run(bought)
    asked = Asked(Change.REISSUE, account, OWNER, REASON, "ticket-9")
    made = await asyncio.gather(
        *(racing_db.run(access_desk.make, asked, PRICES, {OWNER}, "by-hand:ticket-9") for _ in range(3))
    )
    assert sorted(one.already for one in made) == [False, True, True]
    assert (await racing_db.run(access_desk.state, account)).generation == 2
    tried = await racing_db.run(
        access_desk.try_out, Asked(Change.FREEZE, account, OWNER, REASON, "t", days=3), PRICES, {OWNER}, "c"
    )
    assert tried.after.status == "frozen"
    assert await status(racing_db, account) == "active"
    assert tried.after.expires_at is not None
    assert tried.before.expires_at is not None
    assert tried.after.expires_at - tried.before.expires_at == timedelta(days=3)
