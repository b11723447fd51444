"""Reminders and a trial's messages: each at its time, once, true when it is sent, and called off with its end (N-10, N-11)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from functions.sweeps import sweep_messages
from functions.tasks import task_notify
from lib import bootstrap, log
from lib.bot import sending
from lib.bot.client import Outcome
from lib.domain import flags, messages, outbox, reminders, renewals, subscriptions
from lib.settings import plain, pricelist
from tests.integration.by_the_owner import by_the_owner
from tests.integration.domain.test_renewals import PRICE, costing, credit, debit, switched
from tests.integration.sweeps.grants import PRICES, know_the_node, meet, open_order, pay, start_trial
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction
    from tests.integration.sweeps.runs import Queue

MOSCOW = ZoneInfo("Europe/Moscow")
NOON = datetime(2027, 1, 11, 12, 0, tzinfo=MOSCOW)
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
TERMS = reminders.Terms(PRICES, "Europe/Moscow", "t")


@dataclass
class Shop:
    """One customer, a sweep that is run when the test says, and a Telegram that keeps what it is sent."""

    db: Database
    sent: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    outcome: Outcome = field(default_factory=lambda: Outcome("sent", 1))
    other: tuple[str, ...] = ("receipt", "key", "expired")

    async def at(self, moment: datetime) -> None:
        """It is that moment."""
        await self.db.run(
            lambda tx: by_the_owner(
                tx,
                f"update deployment set clock_offset = timestamptz '{moment.isoformat()}' - pg_catalog.now()",  # noqa: S608 -- a moment
            )
        )

    async def now(self) -> datetime:
        found: datetime = await self.db.run(subscriptions.now)
        return found.astimezone(MOSCOW)

    async def send(self, _bot: None, calls: list[dict[str, Any]]) -> Outcome:
        if self.outcome.kind == "sent":
            self.sent.append((await self.now(), calls[0]))
        return self.outcome

    async def sweep(self, moment: datetime, *, deliver: bool = True) -> None:
        """A run of the sweep at that moment, and the tasks that are due then."""
        await self.at(moment)
        await sweep_messages._work(sweep_run(self.db, "messages"))
        if deliver:
            await self.deliver()

    async def deliver(self) -> None:
        for body in await self.db.run(_due, list(self.other)):
            await task_notify._notify(body)

    def texts(self) -> list[str]:
        return [re.sub(r"<[^>]*>", "", call["text"]) for _, call in self.sent]

    def moments(self) -> list[datetime]:
        return [moment.replace(second=0, microsecond=0) for moment, _ in self.sent]

    async def keys(self) -> dict[str, str]:
        """The part of each key that says which it is, and its status."""
        found: dict[str, str] = await self.db.run(
            lambda tx: tx.value(
                "select coalesce(jsonb_object_agg(split_part(key, ':', 1) || ' ' || split_part(key, ':', 4), status), '{}')"
                " from messages where kind in ('reminder', 'trial')"
            )
        )
        return found


def _due(tx: Transaction, other: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tx.value(
        "select coalesce(jsonb_agg(jsonb_build_object('outbox_id', o.id, 'message_id', m.id) order by o.id), '[]')"
        " from outbox o join messages m on o.payload ->> 'message_id' = cast(m.id as text)"
        " where o.target = 'task_notify' and o.done_at is null and o.not_before <= atlas.now()"
        "   and m.kind <> all(cast(:other as text[]))",
        other=other,
    )
    return found


@pytest.fixture
async def shop(processes: Callable[[int], list[Database]], queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Shop:  # noqa: ARG001 -- tasks go there
    (db,) = processes(1)
    made = Shop(db)
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    monkeypatch.setattr(task_notify, "bot", lambda: None)
    monkeypatch.setattr(sending, "send", made.send)
    monkeypatch.setattr(plain, "zone", lambda: MOSCOW)
    await db.run(know_the_node)
    log.correlation.set("t")
    return made


async def buy(shop: Shop, person: int = 1, days: int = 30, invoice: str = "1") -> datetime:
    """Access paid for; its end."""
    event = await shop.db.run(open_order, person, "basic", days, invoice)
    await shop.db.run(pay, event)
    return await end_of(shop)


async def end_of(shop: Shop) -> datetime:
    found: datetime = await shop.db.run(lambda tx: tx.value("select max(expires_at) from subscriptions"))
    return found.astimezone(MOSCOW).replace(second=0, microsecond=0)


async def give(shop: Shop, days: int, person: int = 1) -> datetime:
    """Access that an operator gives."""

    def grant(tx: Transaction) -> None:
        account_id = meet(tx, person)
        subscriptions.grant(tx, account_id, tariff="basic", seconds=days * 86_400, source="admin", actor_id=7)

    await shop.db.run(grant)
    return await end_of(shop)


def buttons(call: dict[str, Any]) -> list[str]:
    return [button["callback_data"] for row in call["reply_markup"]["inline_keyboard"] for button in row]


@pytest.mark.proves("N-11")
async def test_paid_access_is_reminded_of_three_times(shop: Shop) -> None:
    await shop.at(NOON)
    end = await buy(shop)
    for hours in (73, 72, 71, 25, 24, 23, 4, 3, 2):
        await shop.sweep(end - hours * HOUR + MINUTE)
    assert shop.moments() == [end - hours * HOUR + MINUTE for hours in (72, 24, 3)]
    assert ["in 3 days:" in shop.texts()[0], "in 1 day:" in shop.texts()[1], "in 3 hours:" in shop.texts()[2]] == [
        True
    ] * 3
    assert all("go:buy" in buttons(call) for _, call in shop.sent)
    assert await shop.keys() == {"reminder 3d": "sent", "reminder 24h": "sent", "reminder 3h": "sent"}


@pytest.mark.proves("N-10", "N-11")
@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (71, "in 2 days 23 hours"),
        (30, "in 1 day 6 hours"),
        (5, "in 5 hours"),
        (2, "in 2 hours"),
        (0.26, "in 15 minutes"),
    ],
)
async def test_a_late_sweep_says_once_what_is_true_then(shop: Shop, hours: float, said: str) -> None:
    await shop.at(NOON.replace(hour=16))
    end = await buy(shop)
    await shop.sweep(end - hours * HOUR)
    assert len(shop.sent) == 1
    assert said in shop.texts()[0]
    await shop.sweep(end + MINUTE)
    assert len(shop.sent) == 1, "of an end that is over nothing is said"


@pytest.mark.proves("N-10")
async def test_what_waited_for_telegram_is_sent_only_while_it_is_true(shop: Shop) -> None:
    await shop.at(NOON)
    end = await buy(shop)
    shop.outcome = Outcome("bot_refused", retry_after=30, error="connection refused")
    await shop.sweep(end - 72 * HOUR + MINUTE)
    await shop.sweep(end - 24 * HOUR + MINUTE)
    shop.outcome = Outcome("sent", 1)
    await shop.at(end - 20 * HOUR)
    await shop.deliver()
    assert ["in 20 hours" in text for text in shop.texts()] == [True]
    assert await shop.keys() == {"reminder 3d": "cancelled", "reminder 24h": "sent"}


@pytest.mark.proves("N-10")
async def test_an_extension_calls_off_what_is_unsent_and_clears_nothing(shop: Shop) -> None:
    await shop.at(NOON)
    end = await buy(shop)
    await shop.sweep(end - 72 * HOUR + MINUTE)
    await shop.sweep(end - 24 * HOUR + MINUTE, deliver=False)
    later = await buy(shop, invoice="2")
    assert await shop.keys() == {"reminder 3d": "sent", "reminder 24h": "cancelled"}
    await shop.at(end - 23 * HOUR)
    await shop.deliver()
    await shop.sweep(end - 3 * HOUR + MINUTE)
    assert len(shop.sent) == 1
    await shop.sweep(later - 72 * HOUR + MINUTE)
    assert len(shop.sent) == 2, "the new end has reminders of its own"


async def test_what_is_being_sent_while_access_is_extended_looks_at_the_end_itself(shop: Shop) -> None:
    await shop.at(NOON)
    end = await buy(shop)
    await shop.sweep(end - 24 * HOUR + MINUTE, deliver=False)
    message_id = await shop.db.run(lambda tx: tx.value("select id from messages where kind = 'reminder'"))
    assert await shop.db.run(lambda tx: messages.claim(tx, message_id)) is not None
    await buy(shop, invoice="2")
    assert await shop.keys() == {"reminder 24h": "queued"}
    await shop.at(end - 23 * HOUR)
    await shop.deliver()
    assert shop.sent == []
    assert await shop.keys() == {"reminder 24h": "unclear"}, "who claimed it may have sent it"


async def renews(shop: Shop, left: int = PRICE) -> tuple[int, datetime]:
    """A customer who asked for renewals at noon and has so much on the balance; their account, and the end."""
    await shop.at(NOON)
    end = await buy(shop)

    def ask(tx: Transaction) -> int:
        account_id = meet(tx, 1)
        if left:
            credit(tx, account_id, left)
        order_id = tx.value("select max(id) from orders")
        assert renewals.turn_on(tx, account_id, order_id, PRICE, PRICES)
        return account_id

    return await shop.db.run(ask), end


@pytest.mark.proves("N-10")
async def test_access_that_renews_by_itself_does_not_end_so_nothing_is_said(shop: Shop) -> None:
    account_id, end = await renews(shop)
    for hours in (72, 24, 3):
        await shop.sweep(end - hours * HOUR + MINUTE)
    assert (shop.texts(), await shop.keys()) == ([], {})
    await shop.db.run(renewals.renew, account_id, PRICES, "t")
    later = await end_of(shop)
    assert later == end + 30 * DAY
    # the money went for that month, so the next one ends
    await shop.sweep(later - 72 * HOUR + MINUTE)
    assert ["go:buy" in buttons(call) for _, call in shop.sent] == [True]


@pytest.mark.proves("N-10")
@pytest.mark.parametrize(
    "why", ["too little", "held", "dearer", "sold no more", "off", "renewals off", "nothing sold", "given back"]
)
async def test_access_that_would_not_renew_is_reminded_of(
    shop: Shop, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id, end = await renews(shop, 2 * PRICE - (PRICE + 1 if why == "too little" else 0))
    prices = PRICES
    match why:
        case "held":
            held = f"update ledger_accounts set held = {PRICE + 1} where account_id = {account_id} and code = 'user:topped_up'"  # noqa: S608 -- numbers
            await shop.db.run(by_the_owner, held)
        case "dearer":
            prices = costing(PRICE + 1)
        case "sold no more":
            prices = replace(PRICES, tariffs={"plus": PRICES.tariffs["plus"]})
        case "off":
            await shop.db.run(renewals.turn_off, account_id)
        case "renewals off":
            await shop.db.run(switched, flags.RENEWALS, "off")
        case "nothing sold":
            await shop.db.run(switched, flags.PAYMENTS, "off")
        case "given back":
            await shop.db.run(by_the_owner, "update subscriptions set last_auto_renewal_at = expires_at")
    monkeypatch.setattr(pricelist, "load", lambda: prices)
    await shop.sweep(end - 72 * HOUR + MINUTE)
    assert ["in 3 days:" in text for text in shop.texts()] == [True]
    if why == "held":
        await shop.db.run(by_the_owner, "update ledger_accounts set held = 0")
    assert ["go:auto_renewal" in buttons(call) for _, call in shop.sent] == [why != "off"], (
        "there stands what is missing"
    )


@pytest.mark.proves("N-10")
async def test_who_spends_the_money_after_a_reminder_was_left_out_has_the_next_one(shop: Shop) -> None:
    account_id, end = await renews(shop)
    await shop.sweep(end - 72 * HOUR + MINUTE)
    await shop.db.run(debit, account_id, 1)
    await shop.sweep(end - 24 * HOUR + MINUTE)
    assert await shop.keys() == {"reminder 24h": "sent"}


@pytest.mark.proves("N-10")
async def test_a_reminder_that_waits_is_not_sent_once_access_renews_by_itself(shop: Shop) -> None:
    """Who tops up, or turns it on, between the sweep and the sending is not told what is true no more."""
    account_id, end = await renews(shop, 0)
    await shop.sweep(end - 72 * HOUR + MINUTE, deliver=False)
    await shop.db.run(credit, account_id, PRICE)
    await shop.deliver()
    assert (shop.texts(), await shop.keys()) == ([], {"reminder 3d": "cancelled"})
    # and the work is done
    assert await shop.db.run(_due, list(shop.other)) == []


@pytest.mark.proves("N-10")
async def test_one_customer_of_a_page_renews_and_the_others_are_reminded(shop: Shop) -> None:
    _, end = await renews(shop)
    await buy(shop, 2, invoice="2")
    await shop.sweep(end - 72 * HOUR + 2 * MINUTE)
    told = await shop.db.run(lambda tx: tx.values("select account_id from messages where kind = 'reminder'"))
    assert told == [await shop.db.run(meet, 2)]


@pytest.mark.proves("N-10")
@pytest.mark.parametrize(("days", "hours"), [(1, [6]), (2, [6]), (7, [24]), (30, [24])])
async def test_given_access_is_reminded_of_by_its_length(shop: Shop, days: int, hours: list[int]) -> None:
    await shop.at(NOON.replace(hour=18))
    end = await give(shop, days)
    for before in (72, 24, 6, 3):
        if before < 24 * days:
            await shop.sweep(end - before * HOUR + MINUTE)
    assert shop.moments() == [end - before * HOUR + MINUTE for before in hours]


async def test_paid_access_that_was_prolonged_by_an_operator_is_still_paid_access(shop: Shop) -> None:
    await shop.at(NOON)
    await buy(shop)
    end = await give(shop, 1)
    await shop.sweep(end - 72 * HOUR + MINUTE)
    assert len(shop.sent) == 1


@pytest.mark.proves("N-10", "N-11")
async def test_a_trial_has_its_three_messages_and_its_end(shop: Shop) -> None:
    await shop.at(NOON)
    await shop.db.run(start_trial, 1)
    for hours in (5, 6, 7, 47, 48, 49, 65, 67, 70, 71):
        await shop.sweep(NOON + hours * HOUR + MINUTE)
    # the last hours would begin at six in the morning, in quiet hours
    assert shop.moments() == [NOON + hours * HOUR + MINUTE for hours in (6, 48, 70)]
    tip, offer, last = shop.texts()
    assert "another 2 days 18 hours" in tip
    assert "in 1 day" in offer
    assert "in 2 hours" in last
    assert ["go:buy" in buttons(call) for _, call in shop.sent] == [False, True, True]
    shop.other = ("key",)
    await shop.at(NOON + 72 * HOUR + MINUTE)
    await shop.db.run(subscriptions.expire, 10, "t")
    await shop.deliver()
    assert "The free period has ended" in shop.texts()[-1]
    assert len(shop.sent) == 4


@pytest.mark.proves("N-10", "S4-8")
async def test_paying_during_the_trial_stops_its_messages_and_keeps_its_time(shop: Shop) -> None:
    await shop.at(NOON)
    await shop.db.run(start_trial, 1)
    await shop.sweep(NOON + 6 * HOUR + MINUTE, deliver=False)
    uuid = await shop.db.run(lambda tx: tx.value("select uuid from subscriptions"))
    end = await buy(shop)
    assert await shop.keys() == {"trial tip": "cancelled"}
    for hours in (7, 48, 66, 71, 72, 73):
        await shop.sweep(NOON + hours * HOUR + MINUTE)
        await shop.db.run(subscriptions.expire, 10, "t")
    assert shop.sent == []
    assert end == NOON + 72 * HOUR + 30 * DAY, "what was left of the trial is kept"
    row = await shop.db.run(lambda tx: tx.value("select array[status, cast(uuid as text)] from subscriptions"))
    assert row == ["active", str(uuid)], "the trial's end takes nothing of what was paid"


@pytest.mark.proves("N-10")
async def test_a_reminder_that_falls_in_quiet_hours_comes_the_evening_before(shop: Shop) -> None:
    await shop.at(NOON.replace(hour=5))
    end = await buy(shop)  # its reminders fall at 5 and at 2 in the morning
    evening = (end - DAY).replace(hour=21, minute=30)
    for moment in (evening - MINUTE, evening, evening + 5 * MINUTE, end - 3 * HOUR, end - HOUR):
        await shop.sweep(moment)
    assert shop.moments()[-1] == evening
    assert "in 8 hours" in shop.texts()[-1]
    assert len(shop.sent) == 2, (
        "the one of a day before came late, at its own evening's end; of the night there is none"
    )


@pytest.mark.proves("N-10")
@pytest.mark.parametrize(("late", "sent_at"), [(23, 33), (33, 33)])
async def test_a_trials_tip_waits_for_the_morning(shop: Shop, late: int, sent_at: int) -> None:
    await shop.at(NOON.replace(hour=17))
    await shop.db.run(start_trial, 1)
    day = NOON.replace(hour=0)
    await shop.sweep(day + late * HOUR + MINUTE)
    await shop.sweep(day + 32 * HOUR)
    await shop.sweep(day + 33 * HOUR + MINUTE)
    assert shop.moments() == [day + sent_at * HOUR + MINUTE]


@pytest.mark.proves("N-10")
async def test_a_tip_that_was_queued_in_time_and_kept_by_telegram_waits_for_the_morning_too(shop: Shop) -> None:
    await shop.at(NOON.replace(hour=15))
    await shop.db.run(start_trial, 1)
    await shop.sweep(NOON.replace(hour=21, minute=55), deliver=False)
    await shop.at(NOON.replace(hour=22, minute=5))
    await shop.deliver()
    assert shop.sent == []
    await shop.at(NOON.replace(hour=9, minute=0) + DAY + MINUTE)
    await shop.deliver()
    assert len(shop.sent) == 1


@pytest.mark.proves("N-10")
@pytest.mark.parametrize(("end_hour", "waits"), [(8, False), (20, True)])
async def test_a_run_that_is_late_wakes_only_those_whom_the_morning_would_be_too_late_for(
    shop: Shop,
    end_hour: int,
    waits: bool,  # noqa: FBT001 -- a parameter
) -> None:
    await shop.at(NOON.replace(hour=end_hour))
    end = await buy(shop)
    night = (end - (2 * DAY if waits else DAY)).replace(hour=23)
    await shop.sweep(night)
    assert len(shop.sent) == (0 if waits else 1)
    await shop.sweep(night + 10 * HOUR)
    assert len(shop.sent) == 1


async def test_nothing_is_said_to_those_who_are_out_of_reach(shop: Shop) -> None:
    await shop.at(NOON)
    end = await buy(shop)
    await shop.db.run(lambda tx: tx.execute("update accounts set unreachable_since = atlas.now()"))
    await shop.sweep(end - 72 * HOUR + MINUTE)
    assert await shop.keys() == {}
    await shop.db.run(lambda tx: tx.execute("update accounts set unreachable_since = null"))
    await shop.sweep(end - 24 * HOUR + MINUTE)
    assert await shop.keys() == {"reminder 24h": "sent"}


async def test_a_second_look_finds_nothing_and_each_change_of_the_end_asks_for_one(shop: Shop) -> None:
    await shop.at(NOON)
    await buy(shop)
    assert (await shop.db.run(reminders.look_at, 10, TERMS)).count == 1
    assert (await shop.db.run(reminders.look_at, 10, TERMS)).count == 0
    await buy(shop, invoice="2")
    assert (await shop.db.run(reminders.look_at, 10, TERMS)).count == 1
    await shop.db.run(lambda tx: tx.execute("update subscriptions set version = version + 1"))
    assert (await shop.db.run(reminders.look_at, 10, TERMS)).count == 0


async def test_a_crowd_is_spread_so_that_no_key_waits_behind_it(shop: Shop) -> None:
    await shop.at(NOON)
    end = [await give(shop, 7, person) for person in range(1, 8)][-1]
    await shop.at(end - 24 * HOUR + MINUTE)
    first = await shop.db.run(reminders.look_at, 4, TERMS, 0)
    second = await shop.db.run(reminders.look_at, 4, TERMS, len(first.follow_up))
    times = [item.not_before for item in (*first.follow_up, *second.follow_up)]
    assert len(times) == 7
    apart = [later - earlier for earlier, later in pairwise(sorted(time for time in times if time is not None))]
    assert all(gap >= timedelta(seconds=0.9 / reminders.PER_SECOND) for gap in apart)


async def test_another_number_in_the_price_list_is_another_reminder(shop: Shop) -> None:
    await shop.at(NOON)
    end = await buy(shop)
    terms = replace(TERMS, prices=replace(PRICES, reminders=replace(PRICES.reminders, paid=(48,))))
    await shop.at(end - 48 * HOUR - MINUTE)
    assert (await shop.db.run(reminders.look_at, 10, terms)).follow_up == ()
    await shop.at(end - 48 * HOUR + MINUTE)
    assert len((await shop.db.run(reminders.look_at, 10, terms)).follow_up) == 1


@pytest.mark.proves("S4-12.double-notification")
async def test_two_runs_and_two_tasks_at_once_are_one_message(
    shop: Shop, processes: Callable[[int], list[Database]]
) -> None:
    await shop.at(NOON)
    end = await buy(shop)
    await shop.at(end - 24 * HOUR + MINUTE)
    several = processes(4)
    looked = await asyncio.gather(*(db.run(reminders.look_at, 10, TERMS) for db in several))
    assert sum(len(one.follow_up) for one in looked) == 1
    (body,) = await shop.db.run(_due, list(shop.other))
    await asyncio.gather(*(task_notify._notify(body) for _ in range(5)))
    assert len(shop.sent) == 1
    await shop.db.run(lambda tx: tx.execute("update subscriptions set remind_at = '-infinity'"))
    await shop.sweep(end - 23 * HOUR)
    assert len(shop.sent) == 1, "a look that something else asked for says nothing again"


async def test_a_row_that_nothing_can_be_said_of_stops_no_other(shop: Shop) -> None:
    await shop.at(NOON)
    end = [await give(shop, 7, person) for person in (1, 2, 3)][-1]
    await shop.db.run(
        lambda tx: by_the_owner(
            tx, "alter table messages add constraint planted check (kind <> 'reminder' or account_id <> 2) not valid"
        )
    )
    await shop.at(end - 24 * HOUR + MINUTE)
    run = sweep_run(shop.db, "messages")
    await sweep_messages._work(run)
    assert (run.done, run.broken) == (2, 1)


async def test_what_the_queue_refuses_is_made_by_the_outbox_sweep(shop: Shop) -> None:
    await shop.at(NOON)
    end = await give(shop, 7)
    await shop.at(end - 24 * HOUR + MINUTE)
    (item,) = (await shop.db.run(reminders.look_at, 10, TERMS)).follow_up
    await shop.at(end - 24 * HOUR + 3 * MINUTE)
    waiting = await shop.db.run(outbox.never_enqueued, 0, 10, 30.0)
    waiting += await shop.db.run(outbox.stuck, "messages", 10, 300.0)
    assert item.id in [one.id for one in waiting]
