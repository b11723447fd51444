"""The control page in a real browser, over a real system: every button does what it says, and the page shows it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.async_api import expect

from sandbox.control import Control
from sandbox.control.active_faults import end_all
from sandbox.cryptopay.faults import Standing
from sandbox.stand_in.faults import BAD_DAY, NONE
from sandbox.stand_in.server import Server
from sandbox.system.customer import Customer, text_of
from sandbox.system.system import System
from sandbox.telegram.payments.payments import Charge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Locator, Page, Route

_PHONE = {"width": 390, "height": 844}


def _folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="atlas-control-", dir="/var/tmp"))
    made.chmod(0o711)  # Postgres runs as another user when we are root, and must get through
    return made


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[tuple[System, Control, str]]:
    """One system with its page for all of these tests."""
    folder = _folder()
    async with System(folder, link=True, forked=True) as system:
        control = Control(system)
        server = Server(control.app)
        await server.start()
        yield system, control, server.url
        await server.stop()
        await control.close()
    shutil.rmtree(folder)


@pytest.fixture
async def system(running: tuple[System, Control, str]) -> AsyncIterator[System]:
    made, control, _ = running
    yield made
    await (
        control._time_travel.close()
    )  # whatever a failed test has left: time that passes, faults, what is switched off
    await end_all(made)
    await made.sql("update flags set enabled = true where name = 'sweep.expiry'")
    await made.settled()


@pytest.fixture
def url(running: tuple[System, Control, str]) -> str:
    return running[2]


@pytest.fixture
async def opened(page: Page, system: System, url: str) -> Page:  # noqa: ARG001 - the page needs a system that is up
    await page.goto(url)
    await page.wait_for_selector("body[data-ready]")
    return page


def _section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def _row(page: Page, table: str, first: str) -> Locator:
    return _section(page, table).locator("tbody tr").filter(has_text=first)


async def _press(page: Page, name: str, said: str | None = None) -> None:
    """Press the button of this accessible name and read what is said about it."""
    await page.get_by_role("button", name=name, exact=True).click()
    if said is not None:
        await expect(page.get_by_role("status")).to_contain_text(said)


async def _chip(page: Page, name: str, value: str) -> None:
    await expect(page.locator(f"[data-chip={name}] b")).to_have_text(value)


async def _orders(system: System, customer: Customer) -> dict[str, Any]:
    screen = await customer.press(await customer.start(), "go:buy")
    for meaning in ("tariff:basic", "period:30:", "pay:cryptobot"):
        screen = await customer.press(screen, meaning)
    return [one for one in system.cryptopay.invoices.values() if one["status"] == "active"][-1]


async def test_a_task_waits_in_a_paused_queue_is_run_by_hand_and_purged(opened: Page, system: System) -> None:
    await _press(opened, "pause messages", "messages is paused")
    await expect(opened.get_by_role("alert")).to_contain_text("queue messages is paused")
    anna = Customer(system.telegram.user(6_000_001, "Anna", language_code="en"))
    await system.cryptopay.pay((await _orders(system, anna))["invoice_id"])
    waiting = _section(opened, "Tasks that wait").locator("tbody tr")
    await expect(waiting).to_have_count(2)  # the receipt and the key
    await expect(_row(opened, "Queues", "messages")).to_contain_text("paused")

    told = len(anna.user.messages)
    await waiting.first.get_by_role("button", name="run now").click()
    await expect(waiting).to_have_count(1)
    await anna.user.wait_for(lambda messages: messages[told:])

    await _press(opened, "purge messages")
    await opened.get_by_role("button", name="keep it").click()
    await expect(waiting).to_have_count(1)
    await _press(opened, "purge messages")
    await opened.get_by_role("button", name="yes, do it").click()
    await expect(opened.get_by_text("no task waits")).to_be_visible()
    assert not system.tasks.tasks
    await _press(opened, "resume messages", "messages runs")
    await expect(opened.get_by_role("alert")).to_be_hidden()


async def test_a_killed_function_is_counted_down_and_started_again(opened: Page, system: System) -> None:
    everybody = len(system.fleet.processes)
    before = system.fleet.processes["health"][0].pid
    await opened.get_by_role("button", name="kill -9 health", exact=True).focus()
    await opened.keyboard.press("Enter")
    await expect(opened.get_by_role("status")).to_contain_text("health: killed")
    await expect(opened.get_by_role("button", name="start health", exact=True)).to_be_focused()
    await _chip(opened, "functions", f"{everybody - 1} of {everybody}")
    await expect(opened.get_by_role("alert")).to_contain_text("health is down")
    await _press(opened, "start health", "health: started")
    await _chip(opened, "functions", f"{everybody} of {everybody}")
    row = _row(opened, "Functions", "health")
    await expect(row.locator("td").nth(3)).to_have_text(str(system.fleet.processes["health"][0].pid))
    await expect(row.locator("td").nth(6)).to_have_text("1")  # restarts
    assert system.fleet.processes["health"][0].pid != before

    await _press(opened, "freeze health", "frozen")
    await expect(row).to_contain_text("frozen")
    await _press(opened, "thaw health", "goes on")
    assert (await system.call("health", timeout_s=10)).status_code == 200

    await system.call("health", headers={"X-Health-Key": "wrong"})
    await system.call("cryptobot_webhook", method="GET")
    await _press(opened, "log of cryptobot_webhook")
    await expect(opened.get_by_label("last log lines of cryptobot_webhook")).to_contain_text(
        "cryptobot_webhook_not_post"
    )


async def test_what_is_paid_while_the_nodes_are_down_is_shown_until_one_is_back(opened: Page, system: System) -> None:
    boris = Customer(system.telegram.user(6_000_002, "Boris", language_code="en"))
    invoice = await _orders(system, boris)
    for name in ("first", "second"):
        await opened.get_by_label("which node").select_option(name)
        await _press(opened, "take it down", f"The {name} node is down")
        await expect(opened.get_by_role("alert")).to_contain_text(f"the {name} VPN node is down")
    told = boris.user.messages[-1]["message_id"]
    await system.cryptopay.pay(invoice["invoice_id"])
    await expect(opened.locator("[data-chip=paid] b")).to_contain_text("1 since")
    await expect(_row(opened, "Node clients", "Boris").first).to_contain_text("not yet")
    await expect(_row(opened, "Nodes as Postgres has them", "first")).to_contain_text("active")

    await _press(opened, "bring it back", "The second node is up")  # the one chosen last; the first stays down
    await opened.locator("#travel").get_by_role("button", name="an hour").click()
    await expect(opened.get_by_role("status")).to_contain_text("Sweeps follow")
    # its own retry may have reached the node before; the one that is down fails in any case
    await _press(opened, "run now: activation", '"sweep":"activation"')
    await _chip(opened, "paid", "0")
    await expect(_row(opened, "Node clients", "Boris").filter(has_text="second")).to_contain_text("applied")
    await boris.gets_key(told)


async def test_an_armed_failpoint_fires_and_says_so(opened: Page, system: System) -> None:
    await opened.get_by_label("does").fill("sleep 0.1")
    await _press(opened, "arm expiry.before-claim", "expiry.before-claim is armed")
    await expect(opened.get_by_role("alert")).to_contain_text("failpoint expiry.before-claim is armed: sleep 0.1")
    await system.sweep("expiry")
    row = _row(opened, "Failpoints", "expiry.before-claim")
    await expect(row.locator("td").nth(3)).to_have_text("1")
    await opened.get_by_label("does").fill("kill")
    await opened.get_by_label("find").fill("receive.in")
    await _press(opened, "arm receive.in-commit", "is armed")
    await _press(opened, "disarm receive.in-commit", "is disarmed")
    assert system.failpoints.armed() == {}


async def test_a_flag_is_switched_and_a_sweep_heeds_it(opened: Page, system: System) -> None:
    await _press(opened, "switch off sweep.expiry", "sweep.expiry is off")
    await _press(opened, "run now: expiry", '"skipped":"disabled"')
    await _press(opened, "switch on sweep.expiry", "sweep.expiry is on")
    assert "skipped" not in await system.sweep("expiry")


async def test_three_days_pass_by_the_button_and_a_trial_ends(opened: Page, system: System) -> None:
    clara = Customer(system.telegram.user(6_000_003, "Clara", language_code="en"))
    await clara.press(await clara.press(await clara.start(), "go:trial"), "trial")
    await clara.gets_key()
    began = system.clock.now()
    await opened.get_by_label("in steps of").select_option("a day")
    await opened.locator("#pass").get_by_role("button", name="3 days").click()
    await expect(opened.locator("#outcome")).to_contain_text("All of it passed: 3 steps", timeout=60_000)
    assert timedelta(days=3) <= system.clock.now() - began < timedelta(days=3, minutes=2)
    await clara.sees(lambda message: "has ended" in text_of(message), "the news")
    await expect(_row(opened, "Subscriptions", "Clara")).to_contain_text("expired")

    await opened.locator("#pass").get_by_role("button", name="30 days").click()
    await opened.get_by_role("button", name="stop", exact=True).click()
    await expect(opened.locator("#outcome")).to_contain_text("Stopped")
    assert system.clock.now() - began < timedelta(days=33)


@pytest.mark.breaks_invariants
async def test_a_broken_row_is_a_violated_invariant_until_it_is_mended(opened: Page, system: System) -> None:
    await _chip(opened, "invariants", "hold")
    await system.sql("insert into updates (update_id, body, correlation_id) values (999999999, '', 'c')")
    try:
        await _chip(opened, "invariants", "1 violated")
        broken = _row(opened, "Invariants", "waiting_update_is_driven")
        await expect(broken).to_contain_text("VIOLATEDupdate_id 999999999")
    finally:
        await system.sql("delete from updates where update_id = 999999999")
    await _chip(opened, "invariants", "hold")


async def test_the_books_are_shown_as_sums_of_their_entries(opened: Page, system: System) -> None:
    dora = Customer(system.telegram.user(6_000_005, "Dora", language_code="en"))
    await system.cryptopay.pay((await _orders(system, dora))["invoice_id"])
    await system.settled()
    sold = "select sum(list_price) as minor from orders where status = 'paid' and kind = 'subscription' and currency = 'RUB'"
    price = (await system.sql(sold))[0]["minor"] // 100  # whatever else this shop has sold
    assert price >= 149
    await expect(_row(opened, "Trial balance by currency", "RUB")).to_contain_text("balanced")
    await expect(_row(opened, "Trial balance by currency", "USDT")).to_contain_text("balanced")
    await expect(_row(opened, "Accounts of the ledger", "revenue:RUB")).to_contain_text(f"-{price}.00 RUB")
    await expect(_row(opened, "Last entries of the ledger", "revenue:RUB").first).to_contain_text("149.00 RUB")


async def test_other_money_than_agreed_is_paid_by_buttons_and_waits_in_suspense(opened: Page, system: System) -> None:
    greta, hugo = (
        Customer(system.telegram.user(6_000_020 + number, name, language_code="en"))
        for number, name in enumerate(("Greta", "Hugo"))
    )
    less = (await _orders(system, greta))["invoice_id"]
    await _press(opened, f"pay less: invoice {less}", f"74.5 RUB paid by invoice {less}")
    await expect(_row(opened, "In suspense", "Greta")).to_contain_text("USDTnot the amount agreed")
    more = (await _orders(system, hugo))["invoice_id"]
    await _press(opened, f"pay more: invoice {more}", f"199 RUB paid by invoice {more}")
    await expect(_row(opened, "Balances of customers", "Hugo")).to_contain_text("50.00 RUB")
    await expect(_row(opened, "Receipts", "Hugo")).to_contain_text("due")
    await _press(opened, f"pay again: invoice {more}", "199 RUB paid by invoice")
    await expect(_row(opened, "Balances of customers", "Hugo")).to_contain_text("249.00 RUB")

    await _press(opened, "one less: cryptobot:USDT", "cryptobot says -1 of the smallest unit")
    await expect(opened.get_by_role("alert")).to_contain_text("Crypto Pay says -1 of the last digit of each balance")
    await _press(opened, "all well again", "All is well again")
    assert system.cryptopay.faults.standing == Standing()


async def test_a_balance_that_is_off_is_a_difference_from_the_books(opened: Page, system: System) -> None:
    jack = Customer(system.telegram.user(6_000_040, "Jack", language_code="en"))
    await system.cryptopay.pay((await _orders(system, jack))["invoice_id"])
    await system.settled()
    await _press(opened, "one less: cryptobot:USDT", "cryptobot says -1 of the smallest unit")
    await system.travel(timedelta(days=2))
    await _press(opened, "run now: money", '"sweep":"money"')
    row = _row(opened, "Differences from the books", "cryptobot").filter(has_text="balance")
    await expect(row).to_contain_text("-0.000001")
    await _press(opened, "as it is: cryptobot:USDT", "cryptobot says what it holds")
    await system.travel(timedelta(days=1))
    await _press(opened, "run now: money", '"sweep":"money"')
    await expect(row).to_have_count(0)


async def test_a_charge_at_telegram_is_taken_back_by_buttons(opened: Page, system: System) -> None:
    ida = system.telegram.user(6_000_030, "Ida", language_code="en")
    payments = system.telegram.payments
    for charge_id in ("stx-first-charge", "stx-second-charge"):
        charge = Charge(charge_id, ida.id, "XTR", 99, "", system.telegram.chats.now)
        payments.save_charge(charge)
        payments.add_transaction("source", charge, ida.account.user(), charge.date)
    row = _row(opened, "Charges at Telegram", "stx-first-ch")
    await row.get_by_role("button", name="refund from outside").click()
    await expect(opened.get_by_role("status")).to_contain_text("99 XTR went back, and the bot is told of it")
    await expect(row.get_by_role("button", name="chargeback")).to_be_disabled()
    await _row(opened, "Charges at Telegram", "stx-second-c").get_by_role("button", name="chargeback").click()
    await opened.get_by_role("button", name="yes, do it").click()
    await expect(opened.get_by_role("status")).to_contain_text("only the list of transactions and the balance")
    assert [one.returned for one in payments.charges if one.user_id == ida.id] == [True, True]
    await system.settled()


async def test_a_focused_field_is_left_alone(opened: Page, system: System) -> None:
    """A poll between the choice of what is in it and the first key would leave the old digits before the new ones."""
    field = opened.get_by_label("late, up to s")
    await field.select_text()
    system.faults = BAD_DAY
    await expect(opened.locator("#twice")).to_have_value("100")
    await opened.keyboard.insert_text("1.5")
    await expect(field).to_have_value("1.5")
    await opened.locator("#delivery").get_by_role("button", name="set").click()
    await expect(opened.get_by_role("alert")).to_contain_text("webhooks are up to 1.5 s late")


async def test_faults_are_loud_and_all_of_them_are_undone_by_one_button(opened: Page, system: System) -> None:
    await _press(opened, "a bad day", "a bad day")
    assert system.faults == BAD_DAY
    await opened.get_by_label("late, up to s").fill("1.5")
    await opened.get_by_label("missed, %").fill("20")
    await opened.locator("#delivery").get_by_role("button", name="set").click()
    await expect(opened.get_by_role("alert")).to_contain_text("webhooks are up to 1.5 s late")
    assert (system.faults.late_s, system.faults.twice) == (1.5, 1.0)
    assert system.scheduler.faults.missed_share == 0.2
    await _press(opened, "let it hang", "The first node is hung")
    await _press(opened, "pause ticks of outbox", "pass unheard")
    await _press(opened, "cut", "cut off from functions")
    await _chip(opened, "database", "cut")  # for functions: the page has its own way to it
    await expect(opened.locator("[data-chip=database]")).to_have_class("bad")
    answer = await system.call("health", headers={"X-Health-Key": system.health_key})
    assert answer.status_code == 503
    banner = opened.get_by_role("alert")
    for words in (
        "8 faults are on",
        "the first VPN node hangs",
        "ticks of sweep-outbox pass unheard",
        "the database is cut off",
    ):
        await expect(banner).to_contain_text(words)

    await _press(opened, "all well again", "All is well again")
    await expect(banner).to_be_hidden()
    assert system.faults == NONE
    assert system.scheduler.faults.missed_share == 0
    answer = await system.call("health", headers={"X-Health-Key": system.health_key})
    assert answer.json()["database"] is True
    assert not system.scheduler.is_paused("sweep-outbox")
    assert [(await system.nodes.health(index))["ok"] for index in (0, 1)] == [True, True]


async def test_what_is_to_happen_once_is_loud_until_it_has_happened_or_is_undone(opened: Page, system: System) -> None:
    banner = opened.get_by_role("alert")
    await _press(opened, "lost: the next task of messages", "messages: the next task is lost.")
    await _press(opened, "twice: the next task of messages", "messages: the next task comes twice.")
    await _press(opened, "unclear: the next task of nodes is kept and answered 503", "is refused though it is kept.")
    await _press(opened, "missed: the next tick of outbox", "the next tick never comes.")
    await _press(opened, "missed: the next tick of outbox", "the next tick never comes.")
    for words in (
        "4 faults are on",
        "messages: the next task is lost",
        "messages: the next task comes twice",
        "nodes: the next task is refused though it is kept",
        "sweep-outbox: each of the next 2 ticks never comes",
    ):
        await expect(banner).to_contain_text(words)
    assert system.scheduler.faults.fate("sweep-outbox").executions == 0
    await expect(banner).to_contain_text("sweep-outbox: the next tick never comes")

    await _press(opened, "all well again", "All is well again")
    await expect(banner).to_be_hidden()
    assert not system.tasks.faults.takes_loss("messages")
    assert system.tasks.faults.takes_failure("nodes") is None
    assert system.scheduler.faults.fate("sweep-outbox").executions == 1


async def test_the_faults_of_crypto_pay_are_loud_too_and_undone(opened: Page, system: System) -> None:
    cryptopay, banner = system.cryptopay, opened.get_by_role("alert")
    invoices = [
        await _orders(system, Customer(system.telegram.user(6_000_010 + number, name, language_code="en")))
        for number, name in enumerate(("Emil", "Fay"))
    ]
    cryptopay.webhooks.hold()
    for invoice in invoices:
        await cryptopay.pay(invoice["invoice_id"])
    cryptopay.suspended = True
    cryptopay.faults.standing = Standing(copies=3, lost=0.2, unanswered=0.3, late_s=40, refused=0.5)
    for words in (
        "7 faults are on",
        "Crypto Pay holds new webhooks",
        "the Crypto Pay account is suspended",
        "Crypto Pay sends each webhook 3 times",
        "20% of Crypto Pay's webhook attempts are lost",
        "30% of answers to Crypto Pay's webhooks are lost",
        "Crypto Pay's webhooks set out up to 40 s late",
        "50% of Crypto Pay's calls are answered 429",
    ):
        await expect(banner).to_contain_text(words)
    told = len(cryptopay.deliveries)
    await opened.get_by_role("button", name="all well again").focus()
    await opened.keyboard.press("Enter")
    await expect(banner).to_be_hidden()
    await expect(opened.get_by_role("heading", level=1)).to_be_focused()  # not lost: the button is gone
    assert (cryptopay.webhooks.holding, cryptopay.suspended) == (False, False)
    assert cryptopay.faults.standing == Standing()
    await system.settled()
    assert [one.invoice_id for one in cryptopay.deliveries[told:]] == [one["invoice_id"] for one in invoices]

    cryptopay.webhooks.disable()
    await expect(banner).to_contain_text("Crypto Pay's webhooks are disabled")
    await _press(opened, "all well again")
    await expect(banner).to_be_hidden()
    assert cryptopay.webhooks.disabled_at is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0, "0 s"),
        (59.7, "1 min"),
        (241, "4 min 1 s"),
        (7 * 3600 + 21, "7 h"),
        (86400 - 11, "1 d"),
        (30 * 86400 - 300, "30 d"),
        (90000, "1 d 1 h"),
    ],
)
async def test_a_span_is_said_in_its_largest_unit_and_the_next(opened: Page, seconds: float | None, said: str) -> None:
    """A day that passed in eleven seconds is a day ahead, not 23 hours and 59 minutes."""
    assert await opened.evaluate("(seconds) => import('/dom.js').then((page) => page.span(seconds))", seconds) == said


async def test_while_time_passes_nothing_is_wrong_and_all_well_again_leaves_it(opened: Page, system: System) -> None:
    # Far longer than what follows, however slow the machine: it is stopped, not waited for.
    await opened.locator("#pass").get_by_role("button", name="30 days").click()
    await expect(opened.locator("#passed")).to_contain_text("of 720 steps")
    assert system.scheduler.held
    await expect(opened.get_by_role("alert")).to_be_hidden()
    await end_all(system)
    assert system.scheduler.held
    await opened.get_by_role("button", name="stop", exact=True).click()
    await expect(opened.get_by_role("status")).to_contain_text("Stopped: ")
    assert not system.scheduler.held


async def test_a_system_that_has_stopped_shows_nothing_green(opened: Page) -> None:
    await opened.route(
        "**/state", lambda route: route.fulfill(body="")
    )  # a refused connection is an error on the console
    shown = opened.locator("#chips a:visible")
    await expect(shown).to_have_text(["the system does not answer"])
    await expect(shown).to_have_class("bad")
    await expect(opened.locator("body")).to_have_class("silent")
    await opened.unroute("**/state")
    await _chip(opened, "database", "up")
    await expect(shown.first).to_contain_text("database")
    await expect(opened.locator("[data-chip=system]")).to_be_hidden()


async def test_without_a_link_only_a_crash_is_to_be_had(opened: Page) -> None:
    async def unlinked(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(json=await answer.json() | {"link": None})

    await opened.route("**/state", unlinked)
    await expect(opened.locator("#database-state")).to_have_text("reached directly")
    for name in ("slow-set", "database-hang", "database-cut", "database-heal"):
        await expect(opened.locator(f"#{name}")).to_be_disabled()
    await expect(opened.locator("#database-crash")).to_be_enabled()
    await opened.unroute_all(behavior="wait")


async def test_a_slow_database_is_slow_for_functions_alone(opened: Page, system: System) -> None:
    await opened.get_by_label("slower by").fill("500")
    await _press(opened, "slow", "500 ms longer")
    await _chip(opened, "database", "slow: 500 ms")
    await expect(opened.get_by_role("alert")).to_contain_text("the database is slow: 500 ms a message")
    answer = await system.call("health", headers={"X-Health-Key": system.health_key})
    assert answer.elapsed >= timedelta(seconds=1.5)  # begin, the query, commit
    await _press(opened, "heal", "as it should be")
    assert system.link is not None
    assert system.link.delay_s == 0


async def test_postgres_is_killed_and_everybody_comes_back(opened: Page, system: System) -> None:
    await _press(opened, "kill -9 and recover")
    await opened.get_by_role("button", name="yes, do it").click()
    await expect(opened.get_by_role("status")).to_contain_text("has recovered")
    await _chip(opened, "database", "up")
    answer = await system.call("health", headers={"X-Health-Key": system.health_key})
    assert answer.json()["database"] is True


async def test_a_postgres_that_another_process_killed_is_started_by_all_well_again(
    opened: Page, system: System
) -> None:
    server = system.database.server
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    banner = opened.get_by_role("alert")
    await expect(banner).to_contain_text("PostgreSQL does not run")
    await _press(opened, "all well again", "All is well again")
    await expect(banner).to_be_hidden()
    answer = await system.call("health", headers={"X-Health-Key": system.health_key})
    assert answer.json()["database"] is True


async def test_it_fits_a_phone_and_keeps_the_focus_while_it_changes(opened: Page, system: System) -> None:
    await opened.set_viewport_size(_PHONE)  # type: ignore[arg-type] # a plain dict to a TypedDict
    await opened.emulate_media(color_scheme="dark")
    assert await opened.evaluate("document.documentElement.scrollWidth") <= _PHONE["width"]
    pressed = opened.get_by_role("button", name="log of telegram_webhook")
    await pressed.focus()
    await opened.keyboard.press("Enter")
    for _ in range(2):
        await system.sweep("outbox")
        async with opened.expect_response("**/state"):
            pass
    await expect(pressed).to_be_focused()
    await expect(pressed).to_have_attribute("aria-expanded", "true")
    await expect(opened.get_by_label("last log lines of telegram_webhook")).to_be_visible()
    unnamed = await opened.evaluate(
        "[...document.querySelectorAll('button, input, select')].filter((control) =>"
        " !control.getAttribute('aria-label') && !control.labels?.length && !control.textContent.trim()).length"
    )
    assert unnamed == 0


async def test_a_name_that_looks_like_markup_is_text(opened: Page, system: System) -> None:
    name = "<img src=x onerror=alert(1)>"
    person = Customer(system.telegram.user(6_000_004, name, language_code="en"))
    await person.press(await person.press(await person.start(), "go:trial"), "trial")
    await expect(_row(opened, "Subscriptions", name)).to_have_count(1)
    assert await opened.locator("main img").count() == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://atlas.example.com"}, 403),
        ({"Host": "atlas.example.com"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),  # another program's page on this machine
        ({"Origin": "null"}, 403),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
async def test_no_foreign_page_presses_its_buttons(
    system: System, url: str, headers: dict[str, str], status: int
) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        own = {"Content-Type": "application/json", "Origin": url}
        refused = await client.post(f"{url}/node/first/down", content=b"{}", headers=own | headers)
        assert refused.status_code == status
        assert system.nodes[0].service.running
        preflight = await client.request("OPTIONS", f"{url}/node/first/down", headers={"Origin": "http://127.0.0.1:1"})
        assert "access-control-allow-origin" not in preflight.headers
        assert (await client.post(f"{url}/scheduler/off", content=b"{}", headers=own)).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/travel", {"seconds": -1}),
        ("/travel", {"seconds": "1"}),
        ("/pass", {"seconds": 86400, "step_seconds": 0}),
        ("/pass/stop", {}),
        ("/queue/nowhere/pause", {}),
        ("/queue/messages/burn", {}),
        ("/task/run", {"name": "none"}),
        ("/function/health/7/kill", {}),
        ("/faults", {"lost": 2}),
        ("/faults", {"unheard-of": 1}),
        ("/faults/apocalypse", {}),
        ("/database/slow", {"ms": -5}),
        ("/failpoint/arm", {"place": "../escape", "action": "kill"}),
        ("/failpoint/arm", {"place": "receive.in-commit", "action": "explode"}),
        ("/flag", {"name": "nothing", "on": True}),
        ("/flag", {"name": "trial", "on": "yes"}),
        ("/sweep/dust", {}),
        ("/invoice/pay", {"id": 987_654}),
        ("/charge/refund", {"id": "none"}),
        ("/balance/card", {"off": 1}),
    ],
)
async def test_what_makes_no_sense_is_refused_in_words(url: str, path: str, body: dict[str, Any]) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{url}{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
