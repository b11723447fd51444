"""The payments sweep: absence is no answer, an item that fails stops no other, and no order is watched for ever."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from functions.sweeps import sweep_payments
from lib import bootstrap
from lib.domain import inbox, orders, renewals
from lib.payments import cryptopay, cryptopay_news
from lib.payments.cryptopay import CryptoPay
from lib.settings import pricelist
from lib.settings.plain import CryptoPaySettings
from tests.integration.by_the_owner import travel
from tests.integration.domain.test_renewals import PRICE, subscribed
from tests.integration.sweeps.grants import meet, open_order, pay
from tests.integration.sweeps.runs import sweep_run
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction
    from lib.sweeps.runner import Run

CURRENT, BEFORE = "1:new", "1:old"

PRICES = pricelist.load()


class Listings:
    """Crypto Pay's `getInvoices`, as it may answer: it lists what it holds, less what it hides.

    Attributes:
        held: invoices by id, of each token.
        hidden: ids that listings lack.
        refused: tokens that are answered with an error.
        newest_first: the order of listings, which Crypto Pay documents nowhere.
        most: so many are listed at once, whatever was asked for.
        deleted: ids that were taken back.
        kept: ids that it refuses to take back.
    """

    def __init__(self, *tokens: str) -> None:
        self.held: dict[str, dict[str, dict[str, Any]]] = {token: {} for token in tokens}
        self.hidden: set[str] = set()
        self.refused: set[str] = set()
        self.newest_first = True
        self.most = 1000
        self.deleted: list[str] = []
        self.kept: set[str] = set()
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._serve))

    def add(self, invoice_id: str, *, token: str = CURRENT, **changes: Any) -> None:
        self.held[token][invoice_id] = {
            "invoice_id": int(invoice_id),
            "status": "active",
            "currency_type": "fiat",
            "fiat": "RUB",
            "amount": "149",
        } | changes

    def pay(self, invoice_id: str, *, token: str = CURRENT) -> None:
        self.held[token][invoice_id]["status"] = "paid"

    def _serve(self, request: httpx.Request) -> httpx.Response:
        token = request.headers["Crypto-Pay-API-Token"]
        if token in self.refused:
            return httpx.Response(401, json={"ok": False, "error": {"code": 401, "name": "UNAUTHORIZED"}})
        asked = json.loads(request.content)
        if request.url.path.endswith("/deleteInvoice"):
            return self._delete(token, str(asked["invoice_id"]))
        wanted = set(asked["invoice_ids"].split(",")) if "invoice_ids" in asked else None
        items = [
            item
            for key, item in self.held[token].items()
            if key not in self.hidden
            and (wanted is None or key in wanted)
            and asked.get("status") in {None, item["status"]}
        ]
        items.sort(key=lambda item: int(item["invoice_id"]), reverse=self.newest_first)
        first, most = asked.get("offset", 0), min(asked["count"], self.most)
        return httpx.Response(200, json={"ok": True, "result": {"items": items[first : first + most]}})

    def _delete(self, token: str, invoice_id: str) -> httpx.Response:
        if invoice_id in self.kept or self.held[token].get(invoice_id, {}).get("status") != "active":
            return httpx.Response(400, json={"ok": False, "error": {"code": 400, "name": "INVOICE_NOT_FOUND"}})
        del self.held[token][invoice_id]
        self.deleted.append(invoice_id)
        return httpx.Response(200, json={"ok": True, "result": True})


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> Listings:
    made = Listings(CURRENT, BEFORE)
    settings = CryptoPaySettings((CURRENT, BEFORE), "http://pay.test", ("USDT",))
    provider = CryptoPay(lambda: made.client, settings, invoice_seconds=1800)
    monkeypatch.setattr(bootstrap, "invoices", lambda: {provider.name: provider})
    return made


pytestmark = pytest.mark.usefixtures("queue", "listings")


@pytest.fixture
def db(processes: Callable[[int], list[Database]]) -> Database:
    return processes(1)[0]


async def swept(db: Database) -> Run:
    run = sweep_run(db, "payments")
    await sweep_payments._work(run)
    return run


def open_one(tx: Transaction, number: int) -> None:
    open_order(tx, number, "basic", 30, str(number))


def statuses(tx: Transaction) -> list[str]:
    return tx.values("select status from orders order by id")


def watched(tx: Transaction) -> list[str]:
    return tx.values("select invoice_id from orders where provider_closed_at is null and status <> 'paid' order by id")


@pytest.mark.proves("G-3")
@pytest.mark.parametrize("refused", [False, True], ids=["empty", "one token refused"])
async def test_listings_that_lack_everything_end_no_watch(db: Database, listings: Listings, *, refused: bool) -> None:
    """A provider's hiccup, another account's listing: for a week, and the invoice was paid all the time."""
    for number in range(101, 111):
        await db.run(open_one, number)
        listings.add(str(number))
        listings.pay(str(number))
    listings.hidden = {str(number) for number in range(101, 111)}
    listings.refused = {"1:old"} if refused else set()
    for _ in range(8):
        await swept(db)
        await db.run(travel, timedelta(days=1))
    assert len(await db.run(watched)) == 10
    listings.hidden.clear()
    await swept(db)
    assert set(await db.run(statuses)) == {"paid"}


@pytest.mark.proves("G-3")
async def test_an_invoice_missing_from_good_listings_is_watched_for_a_day_and_found_by_its_money_later(
    db: Database, listings: Listings
) -> None:
    for number in (101, 102, 103):
        await db.run(open_one, number)
        listings.add(str(number))
    listings.hidden = {"102"}
    await swept(db)
    await db.run(travel, timedelta(hours=23))
    await swept(db)
    assert "102" in await db.run(watched)
    listings.hidden.clear()
    await swept(db)  # there again: the day begins anew
    listings.hidden = {"102"}
    await swept(db)
    await db.run(travel, timedelta(hours=23))
    await swept(db)
    assert "102" in await db.run(watched)
    await db.run(travel, timedelta(hours=2))
    await swept(db)
    assert "102" not in await db.run(watched)
    listings.hidden.clear()
    listings.pay("102")
    await swept(db)
    assert await db.run(lambda tx: tx.value("select status from orders where invoice_id = '102'")) == "paid"


@pytest.mark.proves("G-3")
async def test_an_invoice_made_under_the_token_before_is_asked_about(db: Database, listings: Listings) -> None:
    await db.run(open_one, 101)
    listings.add("101", token="1:old")
    listings.pay("101", token="1:old")
    await swept(db)
    assert await db.run(statuses) == ["paid"]


async def test_money_of_a_closed_order_is_found_without_a_webhook(db: Database, listings: Listings) -> None:
    await db.run(open_one, 101)
    await db.run(orders.close_at_provider, [1])
    listings.add("101")
    listings.pay("101")
    assert (await swept(db)).done == 1
    assert await db.run(statuses) == ["paid"]
    assert (await swept(db)).done == 0


@pytest.mark.proves("G-3")
@pytest.mark.parametrize("most", [10, 7], ids=["as many as asked for", "fewer than asked for"])
async def test_more_paid_invoices_than_a_page_holds_are_all_found(
    db: Database, listings: Listings, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """An outage of ours, after which no order is watched any more: only the listing of what was paid tells of the money."""
    monkeypatch.setattr(cryptopay, "PAGE", 10)
    monkeypatch.setattr(cryptopay, "OVERLAP", 2)
    listings.most = most
    for number in range(101, 136):
        await db.run(open_one, number)
        token = BEFORE if number % 5 == 0 else CURRENT
        listings.add(str(number), token=token)
        listings.pay(str(number), token=token)
    await db.run(orders.close_at_provider, list(range(1, 36)))
    assert (await swept(db)).done == 35
    assert set(await db.run(statuses)) == {"paid"}


@pytest.mark.proves("G-3")
@pytest.mark.parametrize("newest_first", [True, False])
async def test_money_far_back_in_the_listing_is_found_within_as_many_passes_as_it_has_pages(
    db: Database, listings: Listings, monkeypatch: pytest.MonkeyPatch, *, newest_first: bool
) -> None:
    """An old invoice is paid late: it stands among those that are known, wherever the listing puts it."""
    monkeypatch.setattr(cryptopay, "PAGE", 10)
    monkeypatch.setattr(cryptopay, "OVERLAP", 2)
    listings.newest_first = newest_first
    for number in range(101, 131):
        event = await db.run(open_order, number, "basic", 30, str(number))
        listings.add(str(number))
        if number not in {101, 115, 130}:
            listings.pay(str(number))
            await db.run(pay, event)
    await db.run(lambda tx: orders.close_at_provider(tx, tx.values("select id from orders where status = 'open'")))
    for number in (101, 115, 130):
        listings.pay(str(number))
    found = 0
    for _ in range(12):  # two rounds: a page whose minute passed between two passes has its turn in the second
        found += (await swept(db)).done
        await db.run(travel, timedelta(minutes=1))
    assert found == 3
    assert set(await db.run(statuses)) == {"paid"}


async def test_an_invoice_never_heard_of_is_found_behind_a_page_of_others(
    db: Database, listings: Listings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cryptopay, "PAGE", 10)
    monkeypatch.setattr(cryptopay, "OVERLAP", 2)
    await db.run(order_without_invoice, 1)
    await db.run(travel, timedelta(minutes=1))
    purchase_id = await db.run(lambda tx: tx.value("select purchase_id from orders"))
    listings.add("100", payload=str(purchase_id), bot_invoice_url="https://t.me/CryptoBot?start=lost")
    for number in range(101, 131):  # other customers', later
        listings.add(str(number), bot_invoice_url="https://t.me/CryptoBot?start=other")
    await swept(db)
    assert await db.run(watched) == ["100"]


@pytest.mark.proves("G-4")
async def test_an_order_that_can_not_be_settled_now_stops_no_other(
    processes: Callable[[int], list[Database]], listings: Listings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow webhook holds one event's row; another order raises what no one foresaw."""
    db, other = processes(2)
    for number in range(101, 106):
        await db.run(open_one, number)
        listings.add(str(number))
        listings.pay(str(number))
    receive = inbox.receive

    def failing(tx: Transaction, event: Any, prices: Any) -> Any:
        if event.external_id == "101":
            raise UnicodeError("of tomorrow")
        if event.external_id == "102":
            tx.execute("insert into payment_events (id) values (1) on conflict do nothing")
        return receive(tx, event, prices)

    monkeypatch.setattr(inbox, "receive", failing)
    run = await swept(db)
    assert run.done == 3
    assert run.failed == 4  # each twice: by its money and by its order
    assert sorted(await db.run(statuses)) == ["open", "open", "paid", "paid", "paid"]
    monkeypatch.setattr(inbox, "receive", receive)
    await swept(other)
    assert set(await db.run(statuses)) == {"paid"}


def order_without_invoice(tx: Transaction, number: int) -> None:
    orders.open_subscription(
        tx,
        meet(tx, number),
        tariff="basic",
        period_days=30,
        quote=at_list_price(PRICES, "basic", 30),
        provider="cryptobot",
        minutes=30,
    )


@pytest.mark.proves("G-5")
async def test_an_order_whose_invoice_was_never_heard_of_closes_after_a_day(db: Database) -> None:
    await db.run(order_without_invoice, 1)
    await swept(db)
    await db.run(travel, timedelta(hours=1))
    await swept(db)
    assert await db.run(watched) == [None]
    await db.run(travel, timedelta(hours=24))
    await swept(db)
    assert await db.run(watched) == []
    assert await db.run(statuses) == ["expired"]


@pytest.mark.proves("G-5")
@pytest.mark.parametrize("replaced", [False, True])
async def test_an_order_that_asked_for_no_invoice_closes_with_its_end(db: Database, *, replaced: bool) -> None:
    """Stars, a card, the balance: no provider was asked to make anything."""

    def never_asked(tx: Transaction) -> None:
        order_without_invoice(tx, 1)
        tx.execute("update orders set invoice_asked_at = null, invoice_claimed_by = null, invoice_claimed_until = null")

    await db.run(never_asked)
    if replaced:
        await db.run(
            lambda tx: orders.open_subscription(
                tx,
                meet(tx, 1),
                tariff="plus",
                period_days=30,
                quote=at_list_price(PRICES, "plus", 30),
                provider="cryptobot",
                minutes=30,
            )
        )
    else:
        await db.run(travel, timedelta(hours=1))
        await db.run(orders.expire_due, 100)
    assert await db.run(lambda tx: tx.value("select provider_closed_at is not null from orders order by id limit 1"))


@pytest.mark.proves("G-5")
@pytest.mark.parametrize("size", [2_000, pytest.param(50_000, marks=pytest.mark.full)])
async def test_what_the_sweep_reads_does_not_grow_with_orders_that_are_over(db: Database, size: int) -> None:
    def many(tx: Transaction, size: int) -> None:
        tx.execute(
            "with buyers as (insert into accounts (first_name) select 'Anna' from generate_series(1, :size) returning id)"
            " insert into orders (account_id, kind, tariff, period_days, list_price, price, value, currency, provider, expires_at,"
            " created_at, provider_closed_at) select id, 'subscription', 'basic', 30, 14900, 14900, 14900, 'RUB', 'cryptobot',"
            " atlas.now() - interval '2 days', atlas.now() - interval '2 days', atlas.now() from buyers",
            size=size,
        )
        tx.execute("update orders set status = 'expired' where status = 'open'")

    for _ in range(size // 2_000):  # no statement takes long, on whatever machine
        await db.run(many, 2_000)
    await db.run(lambda tx: tx.execute("analyze orders"))
    statements: dict[str, dict[str, Any]] = {
        orders._WATCHED: {"provider": "cryptobot", "after": 0, "page": 1000},
        orders._WITHOUT_INVOICE: {"provider": "cryptobot", "page": 1000},
        orders._EXPIRE_DUE: {"page": 1000},
        orders._CLOSE_WITHOUT_INVOICE: {"provider": "cryptobot", "page": 1000},
    }

    def plans(tx: Transaction) -> list[str]:
        return ["\n".join(tx.values(f"explain {sql}", **parameters)) for sql, parameters in statements.items()]

    for plan in await db.run(plans):
        assert "Index" in plan
        assert "Seq Scan on orders" not in plan


async def test_a_settled_order_is_paid_once_however_it_is_found(db: Database, listings: Listings) -> None:
    event = await db.run(open_order, 1, "basic", 30, "101")
    listings.add("101")
    listings.pay("101")
    await db.run(pay, event)
    run = await swept(db)
    assert (run.done, run.failed) == (0, 0)


@pytest.mark.parametrize("told_before", [False, True], ids=["found among what was paid", "told by the webhook"])
async def test_an_order_whose_money_fits_it_not_is_left_to_an_operator(
    db: Database, listings: Listings, *, told_before: bool
) -> None:
    await db.run(open_one, 101)
    listings.add("101", amount="148", status="paid")
    if told_before:
        event = cryptopay_news.event_of(listings.held[CURRENT]["101"], b"{}", "webhook", "t")
        assert (await db.run(pay, event)).outcome == "unmatched"
    await swept(db)
    assert await db.run(watched) == []


# What made way ------------------------------------------------------------------------------------------------------


def with_access(tx: Transaction, number: int) -> int:
    return subscribed(tx, PRICE, telegram_id=number)


async def renew_over(db: Database, listings: Listings, *numbers: int) -> None:
    """Customers whose access was renewed from the balance in its last hour, while an invoice of theirs was open."""
    accounts = [await db.run(with_access, number) for number in numbers]
    await db.run(travel, timedelta(days=30, minutes=-30))
    for number, account_id in zip(numbers, accounts, strict=True):
        await db.run(open_one, number)
        listings.add(str(number))
        renewed = await db.run(renewals.renew, account_id, PRICES, "c")
        assert [one.invoice_id for one in renewed.replaced] == [str(number)]


async def test_the_invoice_of_an_order_that_made_way_for_a_renewal_is_taken_back(
    db: Database, listings: Listings
) -> None:
    await renew_over(db, listings, 101)
    await db.run(open_one, 102)
    listings.add("102")
    await swept(db)
    assert (listings.deleted, await db.run(watched)) == (["101"], ["102"])
    await swept(db)
    assert listings.deleted == ["101"]


async def test_what_was_paid_before_it_could_be_taken_back_settles(db: Database, listings: Listings) -> None:
    """Money that arrives is never refused: access is longer by that period too."""
    await renew_over(db, listings, 101)
    listings.pay("101")
    await swept(db)
    assert (listings.deleted, set(await db.run(statuses))) == ([], {"paid"})


async def test_an_invoice_that_its_provider_keeps_stops_no_other_and_is_asked_about_on(
    db: Database, listings: Listings
) -> None:
    await renew_over(db, listings, 101, 102)
    listings.kept = {"101"}
    run = await swept(db)
    assert (listings.deleted, await db.run(watched), run.broken) == (["102"], ["101"], 0)
    listings.kept.clear()
    await swept(db)
    assert (listings.deleted, await db.run(watched)) == (["102", "101"], [])
