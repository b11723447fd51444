"""The operations desk: how the work stands, and each act on it once, as it was shown, by the roles that may."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lib.bot.operations import callbacks
from lib.bot.operations.callbacks import Act
from lib.db import Database
from lib.domain import accounts, inbox, messages, operations, operators, outbox, stored_work, suspense, updates
from lib.domain.accounts import Person
from lib.domain.operators import Role
from lib.domain.stored_work import By, NotDone, Why
from lib.domain.updates import Incoming
from lib.telegram import intake
from sandbox.telegram.text.html_markup import parse_html
from tests.integration.bot.conftest import services_over
from tests.integration.bot.customer import Customer
from tests.integration.bot.test_buttons import both_at_once
from tests.integration.bot.test_finance import REASON, audited, everything, last_audit, walk
from tests.integration.bot.test_money_screens import PRICES
from tests.integration.by_the_owner import by_the_owner
from tests.integration.domain.test_inbox import open_order, webhook

if TYPE_CHECKING:
    from lib.db import Transaction
    from tests.integration.bot.customer import FakeProvider

OWNER, CLERK = 700_000_011, 700_000_001
UPDATE = 501
BROKEN = "alter table payments add constraint broken check (amount < 0) not valid"


@pytest.fixture
def boss(racing_db: Database, provider: FakeProvider) -> Customer:
    """An owner, in English."""
    services = replace(services_over(racing_db, provider), owners=frozenset({OWNER}), giving_back=tuple)
    return Customer(services, OWNER, name="Olga", language="en")


def kept_update(tx: Transaction, number: int = UPDATE, content: dict[str, Any] | None = None) -> None:
    """An update of Anna that its handler failed on."""
    said = {"text": "/buy <b>"} if content is None else content
    message = {"message_id": 1, "date": 1, "chat": {"id": 7, "type": "private"}, "from": {"id": 7}, **said}
    body = json.dumps({"update_id": number, "message": message})
    updates.keep(tx, Incoming(number, body, f"tg-{number}"), "ValueError <b>")


def given_up_update(tx: Transaction, number: int = UPDATE) -> None:
    kept_update(tx, number)
    work = tx.value("select id from outbox where payload ->> 'update_id' = :id", id=str(number))
    updates.give_up(tx, number, work)


def ended_message(tx: Transaction, status: str = "unclear", delivery: str = "must", number: int = 1) -> int:
    account = accounts.meet(tx, Person(21, "Anna <b>", "anna_k", "ru"))
    messages.queue(
        tx,
        key=f"told:{number}",
        account_id=account.id,
        kind="receipt",
        params={},
        correlation_id="c",
        delivery=delivery,
    )
    tx.execute("update outbox set done_at = atlas.now() where target = 'task_notify'")
    return int(
        tx.value(
            "update messages set status = :status, finished_at = atlas.now(), attempts = 4, unknown_attempts = 4,"
            " last_error = '<i>timeout' where key = :key returning id",
            status=status,
            key=f"told:{number}",
        )
    )


def pending_access(tx: Transaction, telegram_id: int = 31, said: str = "connection refused <b>") -> int:
    """Access of a customer that two nodes have not confirmed, and what they said."""
    account = accounts.meet(tx, Person(telegram_id, "Boris", None, "ru"))
    return int(
        tx.value(
            "with s as (insert into subscriptions (account_id, tariff, source, status, activation_status, uuid, started_at, expires_at,"
            " pending_since) values (:account, 'basic', 'payment', 'active', 'pending', gen_random_uuid(), atlas.now(),"
            " atlas.now() + interval '30 days', atlas.now() - interval '7 minutes') returning id, uuid, expires_at),"
            " c as (insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at, attempts, last_error)"
            " select s.id, n.id, s.uuid, 1, true, s.expires_at, 3, :said from s, nodes n returning 1)"
            " select id from s",
            account=account.id,
            said=said,
        )
    )


def two_nodes(tx: Transaction) -> list[int]:
    return [
        int(
            tx.value(
                "insert into nodes (name, api_url, key_name, failures, open_since, open_until) values (:name, :url, 'K', 5,"
                " case when :is_open then atlas.now() end, case when :is_open then atlas.now() + interval '1 hour' end) returning id",
                name=name,
                url=f"http://127.0.0.1:{port}",
                is_open=name == "de1",
            )
        )
        for name, port in (("de1", 9001), ("nl1", 9002))
    ]


async def kept_event(db: Database) -> int:
    """A charge of an order that can't be settled, for the books refuse every payment."""
    await db.run(open_order)
    await db.run(lambda tx: by_the_owner(tx, BROKEN))
    received = await db.run(inbox.receive, webhook(), PRICES)
    assert received.outcome == "kept"
    return received.event_id


def state_of(tx: Transaction) -> str:
    found = operations.update(tx, UPDATE)
    return "none" if found is None else found.state


def open_work(tx: Transaction) -> list[str]:
    return [
        str(one) for one in tx.values("select target || ' ' || attempt from outbox where done_at is null order by id")
    ]


def by(actor: int = OWNER) -> By:
    return By(actor, {OWNER}, REASON, "c-1")


# Who may ---------------------------------------------------------------------------------------------------------


def test_nothing_of_it_is_loaded_for_a_customer() -> None:
    """In a process of its own: this one has loaded it."""
    import subprocess

    code = (
        "import sys, lib.bot.dispatcher as d; d.the_dispatcher();"
        "print([name for name in sys.modules if name.startswith(('lib.bot.operations', 'lib.bot.finance', 'lib.domain.operations',"
        " 'lib.domain.stored_work', 'lib.domain.operators'))])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"


READS = [
    "ops_wait:0:0",
    "ops_nodes:0",
    "ops_node:1",
    "ops_sweeps",
    "ops_sweep:expiry",
    "ops_flags",
    "ops_upds:0:0",
    "ops_gone:0",
    f"ops_upd:{UPDATE}",
    "ops_events:0",
    "ops_event:1",
    "ops_msgs:0",
    "ops_msg:1",
    "ops_backs:0",
]
SUBJECTS = {
    Act.SWEEP: "expiry",
    Act.ON: "trial",
    Act.OFF: "trial",
    Act.UPDATE_AGAIN: UPDATE,
    Act.UPDATE_GIVE_UP: UPDATE,
}
ACTS = {act: f"ops_act:{act.value}:{SUBJECTS.get(act, 1)}" for act in Act}
ALL_DATA = ["ops", *READS, *ACTS.values(), "ops_do:1"]
OF_MONEY = {Act.EVENT_AGAIN, Act.EVENT_ASIDE}
SWITCHES = {Act.ON, Act.OFF}
MAY: dict[Role, set[Act]] = {
    Role.OWNER: set(Act),
    Role.FINANCE: OF_MONEY,
    Role.SUPPORT: set(Act) - OF_MONEY - SWITCHES,
    Role.MARKETING: set(),
    Role.OBSERVER: set(),
}


def test_every_button_is_tried_below() -> None:
    assert {one.partition(":")[0] for one in ALL_DATA} == set(callbacks.BUTTONS)


async def test_a_stranger_is_told_what_any_unknown_button_is_told(boss: Customer) -> None:
    db = boss.services.db
    await db.run(kept_update)
    anna = Customer(boss.services, CLERK)
    await anna.say("/operations")
    assert anna.button("Купить")
    before = await db.run(everything)
    for data in ALL_DATA:
        await anna.tap(data)
        assert anna.button("Купить"), data
        assert anna.toast.startswith("Эта кнопка устарела"), data
    assert await db.run(everything) == before


@pytest.mark.parametrize("role", MAY)
async def test_each_button_asks_for_its_role(boss: Customer, role: Role) -> None:
    """What a role may not do is refused by the button, by the confirmation of another's screen, and by the domain."""
    db = boss.services.db
    await db.run(two_nodes)
    await db.run(kept_update)
    await db.run(ended_message)
    clerk = boss
    if role is not Role.OWNER:
        await db.run(lambda tx: operators.grant(tx, OWNER, CLERK, role, "c"))
        clerk = Customer(boss.services, CLERK, language="en")
    before = await db.run(everything)
    await clerk.say("/operations")
    assert "Operations" in clerk.text
    refused = "Your role may not do that."
    for data in READS:
        await clerk.tap(data)
        assert (clerk.toast == refused) is (role is Role.MARKETING), data
    for act, data in ACTS.items():
        await clerk.tap(data)
        assert (clerk.toast != refused) is (act in MAY[role]), act
        if "Confirm" in str(clerk.screen) and role is not Role.OWNER:
            tap = clerk.data("Confirm")
            await db.run(lambda tx: operators.revoke(tx, OWNER, CLERK, role, "c"))
            await clerk.tap(tap)
            assert "Done" not in clerk.text, act
            await db.run(lambda tx: operators.grant(tx, OWNER, CLERK, role, "c"))
    after = await db.run(everything)
    assert (after[0], after[3:]) == (before[0], before[3:])


# What is read ----------------------------------------------------------------------------------------------------


async def test_the_overview_counts_what_waits_and_for_how_long(boss: Customer) -> None:
    db = boss.services.db
    await boss.say("/operations")
    assert "Keys not active: <b>0</b>, the oldest —" in boss.text
    assert "not well: —" in boss.text  # in a new shop the first ticks are still to come
    await db.run(
        lambda tx: tx.execute("insert into expected_sweeps values ('expiry', atlas.now() - interval '1 hour')")
    )
    await db.run(two_nodes)
    await db.run(pending_access)
    await db.run(kept_update)
    await db.run(given_up_update, 502)
    await db.run(ended_message)
    await kept_event(db)
    await db.run(lambda tx: operators.switch_flag(tx, OWNER, "sweep.expiry", on=False, correlation_id="c"))
    await boss.press("Refresh")
    shown = parse_html(boss.text)[0]
    for line in (
        "Keys not active: 1, the oldest 7 min",
        "Nodes: 2, in trouble 1",
        "Switched off: sweep.expiry",
        "Updates waiting: 1",
        "given up: 1",
        "Payments not settled: 1",
        "Messages: unclear 1, failed 0, unreachable 0",
        "updates: 1, the oldest",
        "payments: 1, the oldest",
    ):
        assert line in shown, line
    assert "expiry" in shown.split("not well: ")[1].split("\n")[0]


async def test_each_list_goes_by_pages_and_leaves_nothing_out(boss: Customer) -> None:
    db = boss.services.db
    await db.run(two_nodes)
    for number in range(7):
        await db.run(pending_access, 40 + number)
        await db.run(kept_update, 600 + number)
        await db.run(given_up_update, 700 + number)
        await db.run(ended_message, "failed", "must", 10 + number)
    for first, more, prefix in (
        ("ops_wait:0:0", "Further", "Customer "),
        ("ops_upds:0:0", "Further", "Update "),
        ("ops_gone:0", "Older", "Update "),
        ("ops_msgs:0", "Older", "Message "),
    ):
        seen: list[str] = []
        await boss.tap(first)
        for _ in range(5):
            seen += [one["text"] for one in boss.buttons if one["text"].startswith(prefix)]
            following = [one for one in boss.buttons if more in one["text"] or "⬇️" in one["text"]]
            if not following:
                break
            await boss.tap(following[0]["callback_data"])
        assert len(seen) == len(set(seen)) == 7, (first, seen)


async def test_a_pending_activation_says_which_node_said_what(boss: Customer) -> None:
    db = boss.services.db
    await db.run(two_nodes)
    await db.run(pending_access)
    await boss.say("/operations")
    await boss.press("Keys")
    shown = parse_html(boss.text)[0]
    assert "(7 min)" in shown
    assert "de1: connection refused <b> · attempts 3" in shown
    assert "nl1: connection refused <b> · attempts 3" in shown


async def test_a_node_tells_its_breaker_and_its_trouble_in_words(boss: Customer) -> None:
    db = boss.services.db
    first, second = await db.run(two_nodes)
    await db.run(
        lambda tx: tx.execute(
            "update nodes set lost_since = atlas.now(), clock_off_ms = 90000, trouble = 'authentication', trouble_since = atlas.now()"
            " where id = :id",
            id=second,
        )
    )
    await boss.tap(f"ops_node:{first}")
    assert "Not asked before" in boss.text
    assert "Failures in a row: 5" in boss.text
    assert boss.button("Ask the node now")
    await boss.tap(f"ops_node:{second}")
    assert "No answer since" in boss.text
    assert "does not take our key" in boss.text
    assert "+90.0 s" in boss.text
    assert not [one for one in boss.buttons if "Ask the node" in one["text"]]


async def test_every_screen_is_markup_that_telegram_takes_in_both_languages(boss: Customer) -> None:
    db = boss.services.db
    await db.run(two_nodes)
    await db.run(pending_access)
    await db.run(kept_update)
    await db.run(ended_message)
    await kept_event(db)
    russian = Customer(boss.services, OWNER, name="Olga", language="ru")
    for who in (boss, russian):
        for data in ("ops", *READS, *ACTS.values()):
            await who.tap(data)
            shown, _ = parse_html(who.text)
            assert shown.strip()
            assert len(shown) <= 4096
            assert max(len(one["text"]) for one in who.buttons) <= 64, data


async def test_old_and_forged_buttons_lead_somewhere(boss: Customer) -> None:
    for data in (
        "ops_zzz",
        "ops_upd:0",
        "ops_upd:9" * 3,
        "ops_act:sweep:<b>",
        "ops_act:nothing:1",
        "ops_wait:-1:0",
        "ops_do:99",
    ):
        await boss.tap(data)
        assert boss.button("Operations" if data.startswith("ops_do") else "Refresh"), data
        assert "out of date" in boss.toast, data
    for data in ("ops_node:99", "ops_sweep:none", "ops_upd:99", "ops_event:99", "ops_msg:99"):
        await boss.tap(data)
        assert boss.button("Operations"), data
    for data in (
        "ops_act:sweep:none",
        "ops_act:on:none",
        "ops_act:probe:x",
        "ops_act:update-again:99",
        "ops_act:event-aside:99",
    ):
        await boss.tap(data)
        assert "There is no such thing here." in boss.text, data


# What is done ----------------------------------------------------------------------------------------------------


async def one_effect(boss: Customer, action: str, *steps: str) -> None:
    """Walk to the confirm screen, where nothing is done yet; four taps at once and one more have one effect."""
    db = boss.services.db
    await walk(boss, *steps)
    assert not [one for one in await db.run(audited) if action in one]
    tap = boss.data("Confirm")
    await both_at_once(boss, tap, 4)
    await boss.tap(tap)
    assert "Done" in boss.text
    assert boss.toast == ""
    assert len([one for one in await db.run(audited) if action in one]) == 1
    assert (await db.run(last_audit))[2].startswith("tg-")


async def test_a_given_up_update_is_run_again_once_and_one_that_waits_at_once(boss: Customer) -> None:
    db = boss.services.db
    await db.run(given_up_update)
    assert await db.run(open_work) == []
    await boss.say("/operations")
    await one_effect(boss, "update.run_again", "Given up", f"Update {UPDATE}", "Handle again")
    assert await db.run(state_of) == "waiting"
    assert await db.run(open_work) == ["task_update 1"]
    before, after, _ = await db.run(last_audit)
    assert (before["state"], after["state"]) == ("given_up", "waiting")
    await boss.tap(f"ops_upd:{UPDATE}")
    await walk(boss, "Handle again", "Confirm")
    assert await db.run(open_work) == ["task_update 3"]  # the same work, under a further attempt's name


async def test_an_update_is_given_up_with_a_reason_and_can_be_run_again(boss: Customer) -> None:
    db = boss.services.db
    await db.run(kept_update)
    await boss.tap(f"ops_upd:{UPDATE}")
    await walk(boss, "Give up", ">short")
    assert "from 10 to 500" in boss.text or "10" in boss.text
    await one_effect(boss, "update.given_up", f">{REASON}")
    assert await db.run(state_of) == "given-up"
    assert await db.run(open_work) == []
    assert (await db.run(last_audit))[1]["reason"] == REASON
    assert len(await db.run(lambda tx: operations.given_up_updates(tx, before=2**63 - 1, page=5))) == 1
    await boss.tap(f"ops_upd:{UPDATE}")
    await walk(boss, "Handle again", "Confirm")
    assert await db.run(state_of) == "waiting"


async def test_an_update_that_tells_of_a_payment_is_never_given_up(boss: Customer) -> None:
    db = boss.services.db
    charge = {"currency": "XTR", "total_amount": 100, "invoice_payload": "p", "telegram_payment_charge_id": "c1"}
    await db.run(kept_update, UPDATE, {"successful_payment": charge})
    await boss.tap(f"ops_upd:{UPDATE}")
    await boss.press("Give up")
    assert "There is a payment in this update" in boss.text
    assert await db.run(state_of) == "waiting"


async def test_what_a_task_is_at_work_on_is_neither_given_up_nor_run_again(boss: Customer, functions_url: str) -> None:
    """The task holds the row inside its transaction: the operator is told so at once, and what it did stands."""
    db = boss.services.db
    await db.run(kept_update)
    other = Database(functions_url, connections=1, application="task", guards=True)
    begun, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle(tx: Transaction) -> None:
        claimed = updates.claim(tx, Incoming(UPDATE, "{}", "c"))
        assert not claimed.done
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(20)
        updates.finish(tx, UPDATE, [{"method": "sendMessage"}])

    running = asyncio.create_task(other.run(handle))
    await begun.wait()
    begun.clear()
    for give_up in (True, False):
        with pytest.raises(NotDone) as refused:
            if give_up:
                await db.run(stored_work.give_up_update, UPDATE, by(), intake.tells_of_money)
            else:
                await db.run(stored_work.run_update_again, UPDATE, by())
        assert refused.value.why is Why.BUSY
    await boss.tap(f"ops_act:update-give-up:{UPDATE}")
    assert "being done at this moment" in boss.text
    go_on.set()
    await running
    await other.close()
    await boss.tap(f"ops_act:update-give-up:{UPDATE}")
    assert "was handled" in boss.text
    assert await db.run(state_of) == "done"


async def test_what_was_given_up_meanwhile_is_not_handled_by_the_task_that_comes(boss: Customer) -> None:
    db = boss.services.db
    await db.run(kept_update)
    await db.run(stored_work.give_up_update, UPDATE, by(), intake.tells_of_money)
    work = await db.run(lambda tx: tx.value("select id from outbox where target = 'task_update'"))
    assert not await db.run(outbox.is_open, work)
    assert (await db.run(updates.claim, Incoming(UPDATE, "{}", "c"))).done


async def test_an_update_given_up_between_its_two_steps_is_done_once_the_second_has_its_effect(boss: Customer) -> None:
    """Between them it waits for a provider, and holds no row: what comes of it is not hidden by the operator's word."""
    db = boss.services.db
    await db.run(kept_update)
    assert not (await db.run(updates.claim, Incoming(UPDATE, "{}", "c"))).done
    await db.run(stored_work.give_up_update, UPDATE, by(), intake.tells_of_money)
    await db.run(lambda tx: updates.finish(tx, UPDATE, [{"method": "sendMessage"}]))
    assert await db.run(state_of) == "done"
    with pytest.raises(NotDone) as refused:
        await db.run(stored_work.run_update_again, UPDATE, by())
    assert refused.value.why is Why.HAD_EFFECT


async def test_giving_up_and_running_again_at_once_leave_one_of_the_two(boss: Customer) -> None:
    db = boss.services.db
    await db.run(kept_update)
    outcomes = await asyncio.gather(
        *(db.run(stored_work.give_up_update, UPDATE, by(), intake.tells_of_money) for _ in range(3)),
        *(db.run(stored_work.run_update_again, UPDATE, by()) for _ in range(3)),
        return_exceptions=True,
    )
    assert all(one is None or isinstance(one, list | NotDone) for one in outcomes), outcomes
    work = await db.run(open_work)
    assert len(work) == (1 if await db.run(state_of) == "waiting" else 0)


async def test_a_kept_payment_is_settled_again_and_counts_once(boss: Customer) -> None:
    db = boss.services.db
    event_id = await kept_event(db)
    await boss.say("/operations")
    await one_effect(boss, "event.run_again", "Events", f"Event {event_id}", "Settle again")
    assert await db.run(open_work) == ["task_settle 3"]
    await db.run(lambda tx: by_the_owner(tx, "alter table payments drop constraint broken"))
    work = await db.run(lambda tx: tx.value("select id from outbox where target = 'task_settle'"))
    settled = await db.run(inbox.settle_again, event_id, webhook(), PRICES, work)
    assert settled.outcome == "settled"
    await boss.tap(f"ops_act:event-again:{event_id}")
    assert "settled or set aside" in boss.text


@pytest.mark.posts_by_hand
async def test_a_payment_that_can_not_be_settled_is_set_aside_and_its_money_has_every_way_out(boss: Customer) -> None:
    """Giving it up loses nothing: what came lies in suspense, where the desk for money ends it."""
    db = boss.services.db
    event_id = await kept_event(db)
    await boss.tap(f"ops_event:{event_id}")
    await one_effect(boss, "event.set_aside", "Set the money aside", f">{REASON}")
    assert await db.run(open_work) == []
    stored = await db.run(operations.one_news, event_id)
    assert stored is not None
    assert (stored.status, stored.reason) == ("unmatched", f"set aside by an operator: {REASON}")
    assert await db.run(suspense.lying, event_id) is not None
    await db.run(lambda tx: by_the_owner(tx, "alter table payments drop constraint broken"))
    await boss.tap(f"ops_event:{event_id}")
    await boss.press("at the desk for money")
    assert boss.button("The provider gave")
    await boss.tap(f"ops_act:event-aside:{event_id}")
    assert "settled or set aside" in boss.text


async def test_a_message_is_sent_again_when_it_may_be(boss: Customer) -> None:
    db = boss.services.db
    message_id = await db.run(ended_message)
    await boss.say("/operations")
    await boss.press("Messages")
    assert "receipt" in boss.text
    await boss.press(f"Message {message_id}")
    assert "&lt;i&gt;timeout" in boss.text
    await boss.press("may come twice")
    assert "the customer gets two" in boss.text
    await one_effect(boss, "message.run_again")
    assert await db.run(open_work) == ["task_notify 1"]
    await db.run(lambda tx: tx.execute("update accounts set chat_sent_at = null"))  # a second has passed
    due = await db.run(messages.claim, message_id)
    assert due is not None
    assert not due.is_last


@pytest.mark.parametrize(
    ("status", "delivery", "change", "why"),
    [
        ("sent", "must", "", Why.NOT_LISTED),
        ("unclear", "once", "", Why.ONCE),
        ("unreachable", "must", "update accounts set unreachable_since = atlas.now()", Why.OUT_OF_REACH),
        (
            "failed",
            "must",
            "update messages set due_at = atlas.now() - interval '2 hours', not_after = atlas.now() - interval '1 hour'",
            Why.TOO_LATE,
        ),
    ],
)
async def test_a_message_that_is_not_to_be_sent_again_is_refused(
    boss: Customer, status: str, delivery: str, change: str, why: Why
) -> None:
    db = boss.services.db
    message_id = await db.run(ended_message, status, delivery)
    if change:
        await db.run(lambda tx: by_the_owner(tx, change))
    with pytest.raises(NotDone) as refused:
        await db.run(stored_work.run_message_again, message_id, by())
    assert refused.value.why is why
    await boss.tap(f"ops_act:message-again:{message_id}")
    assert "Refused" in boss.text
    assert await db.run(audited) == []


async def test_a_sweep_is_asked_for_once_and_what_was_asked_before_is_superseded(boss: Customer) -> None:
    db = boss.services.db
    await boss.say("/operations")
    await one_effect(boss, "sweep.asked", "Sweeps", "expiry", "Run now")
    assert await db.run(open_work) == ["sweep_expiry 1"]
    await boss.tap("ops_sweep:expiry")
    await walk(boss, "Run now", "Confirm")
    assert await db.run(open_work) == ["sweep_expiry 1"]
    tick = await db.run(lambda tx: tx.value("select payload ->> 'tick' from outbox where done_at is null"))
    assert str(tick).startswith("asked tg-")


async def test_a_node_whose_breaker_is_open_is_let_be_asked_once(boss: Customer) -> None:
    db = boss.services.db
    first, second = await db.run(two_nodes)
    await boss.say("/operations")
    await boss.press("Nodes")
    await boss.tap(f"ops_node:{first}")
    await one_effect(boss, "node.probe_allowed", "Ask the node now")
    found = await db.run(operations.node, first)
    assert found is not None
    assert (found.open_s, found.failures) == (0, 5)
    await boss.tap(f"ops_act:probe:{second}")
    assert "are not stopped" in boss.text


@pytest.mark.parametrize("of_lists", [False, True])
async def test_of_two_breakers_of_a_node_the_closed_one_stays_closed(boss: Customer, *, of_lists: bool) -> None:
    db = boss.services.db
    first, second = await db.run(two_nodes)
    node = second if of_lists else first
    if of_lists:
        opened = "update nodes set reconcile_failures = 3, reconcile_open_until = atlas.now() + interval '1 hour' where id = :id"
        await db.run(lambda tx: tx.execute(opened, id=node))
    await db.run(stored_work.allow_probe, node, by())
    is_open = "select (open_until is not null) || ' ' || (reconcile_open_until is not null) from nodes where id = :id"
    found = await db.run(lambda tx: tx.value(is_open, id=node))
    assert found == ("false true" if of_lists else "true false")


def states(tx: Transaction) -> list[Any]:
    return tx.values("select state from nodes order by id")


@pytest.mark.proves("N-41.drain")
async def test_a_node_is_drained_and_taken_back_each_once_with_a_reason(boss: Customer) -> None:
    """The other one first gets well: while it is not, no customer would get a key."""
    db = boss.services.db
    first, second = await db.run(two_nodes)
    await boss.say("/operations")
    await walk(boss, "Nodes", "nl1", "Take customers off")
    assert "No other node that is well takes customers" in boss.text
    await db.run(lambda tx: tx.execute("update nodes set open_since = null, open_until = null, failures = 0"))
    await boss.tap(f"ops_node:{second}")
    await walk(boss, "Take customers off", ">short")
    assert "10" in boss.text
    await one_effect(boss, "node.draining", f">{REASON}")
    assert await db.run(states) == ["active", "draining"]
    before, after, _ = await db.run(last_audit)
    assert (before["state"], after) == ("active", {"state": "draining", "clients": 0, "reason": REASON})
    await boss.tap(f"ops_act:drain:{second}")
    assert "stands so already" in boss.text
    await boss.tap(f"ops_node:{first}")
    await boss.press("Take customers off")
    assert "No other node that is well takes customers" in boss.text
    await boss.tap(f"ops_node:{second}")
    assert "draining" in boss.text
    await one_effect(boss, "node.active", "Let it take customers again", f">{REASON}")
    assert await db.run(states) == ["active", "active"]
    actors = "select actor from audit_log where action in ('node.draining', 'node.active')"
    assert await db.run(lambda tx: tx.values(actors)) == [OWNER, OWNER]


async def test_what_was_shown_of_a_node_is_what_is_done(boss: Customer) -> None:
    """Its other node is lost, or it is retired, between the screen and the tap."""
    db = boss.services.db
    _, second = await db.run(two_nodes)
    await db.run(lambda tx: tx.execute("update nodes set open_since = null, open_until = null, failures = 0"))
    for change, words in (
        ("update nodes set lost_since = atlas.now() where name = 'de1'", "No other node that is well"),
        ("update nodes set state = 'retired', lost_since = null where name = 'nl1'", "This node is retired"),
    ):
        await boss.tap(f"ops_act:drain:{second}")
        await boss.say(REASON)
        await db.run(by_the_owner, change)
        await boss.press("Confirm")
        assert words in boss.text
        await db.run(by_the_owner, "update nodes set lost_since = null")
    await boss.tap(f"ops_node:{second}")
    assert not [one for one in boss.buttons if "Take customers off" in one["text"]]
    assert not [one for one in await db.run(audited) if "node.draining" in one]


async def test_a_switch_is_switched_once_and_back(boss: Customer) -> None:
    db = boss.services.db
    await boss.say("/operations")
    await one_effect(boss, "flag.switched", "Switches", "Switch off trial")
    assert not (await db.run(operations.switches))["trial"].enabled
    await boss.press("Switches")
    await walk(boss, "Switch on trial", "Confirm")
    assert (await db.run(operations.switches))["trial"].enabled
    await boss.tap("ops_sweep:expiry")
    await walk(boss, "Switch off", "Confirm")
    await boss.tap("ops_sweep:expiry")
    assert not [one for one in boss.buttons if "Run now" in one["text"]]
    await boss.tap("ops_act:off:sweep.expiry")
    assert "stands so already" in boss.text


async def test_what_changed_since_it_was_shown_is_refused_or_shown_again(boss: Customer) -> None:
    db = boss.services.db
    await db.run(given_up_update)
    await boss.tap(f"ops_upd:{UPDATE}")
    await boss.press("Handle again")
    old = boss.data("Confirm")
    await db.run(stored_work.run_update_again, UPDATE, by())
    await boss.tap(old)
    assert boss.toast.startswith("Things changed")
    await boss.tap(old)
    assert len(await db.run(audited)) == 1
