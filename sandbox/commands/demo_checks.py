"""What the demo looks at from outside: invoices, tunnels, nodes, books."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import httpx

from lib import currencies
from lib.db import Database
from lib.domain import refunds_by_hand
from lib.domain.refunds_by_hand import Route, Wanted
from lib.domain.suspense_by_hand import By
from lib.settings import pricelist
from sandbox.node.lab import Origin, ShareLink, TunnelClient, TunnelRefusedError
from sandbox.system.customer import APPLIED_S, Customer, StepFailedError, need, text_of, urls_of
from sandbox.system.time_travel import pass_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from sandbox.system.customer import Message
    from sandbox.system.system import System

MEGABYTE: Final = 1_000_000
OK: Final = 200
SOME_SECONDS: Final = timedelta(seconds=10)
A_MINUTE: Final = timedelta(seconds=61)
"""Every sweep of a minute's schedule has its turn in it."""
# Xray lists no client that comes from 127.0.0.1 as online; only Linux has the rest of 127/8 without being asked.
ELSEWHERE: Final = "127.0.0.2" if sys.platform == "linux" else None
_LOST = 502
_OPERATOR: Final = 1
_ROUNDED: Final = Decimal("0.00001")
_CUT_S = 10.0
_BETWEEN_SWEEPS: Final = timedelta(minutes=10)  # of sweep_money: functions/table.json
_TRIES: Final = 12


class Download:
    """A page without an end, read through a tunnel.

    Args:
        origin: that sends it.
        since: what it had sent to others before, in bytes.
        chunks: of the answer's body.
    """

    def __init__(self, origin: Origin, since: int, chunks: AsyncIterator[bytes]) -> None:
        self._origin = origin
        self._read = since
        self.chunks = chunks

    async def goes_on(self) -> None:
        """Read until there is a byte that was not sent yet when this began; what is under way says nothing.

        Raises:
            StepFailedError: it ends before.
            httpx.HTTPError: it is broken off.
        """
        sent = self._origin.dripped
        async for chunk in self.chunks:
            self._read += len(chunk)
            if self._read > sent:
                return
        raise StepFailedError("the download ended")


class DemoChecks:
    """Of one running system. Each raises `StepFailedError` when what it looks for is not so."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._prices = pricelist.load()
        self.origin = Origin()

    async def order(self, customer: Customer) -> Message:
        """Through the buy dialogue to an open invoice, which is returned as Crypto Pay shows it."""
        price = self.price
        invoice = self.invoice_on(await customer.order("basic", 30, self.invoice_on))
        assert invoice is not None  # noqa: S101 - said to the type checker; `order` waited for it
        need(
            round(float(invoice["amount"]) * 100) == price and invoice["fiat"] == self._prices.currency,
            f"the invoice is over {invoice['amount']} {invoice['fiat']}",
        )
        return invoice

    def invoice_on(self, message: Message) -> Message | None:
        """The open invoice that a button of this message leads to, as Crypto Pay shows it."""
        invoices = self._system.cryptopay.invoices.values()
        offered = [one for one in invoices if one["bot_invoice_url"] in urls_of(message)]
        return next((one for one in offered if one["status"] == "active"), None)

    def answers(self, invoice: Message) -> list[int | None]:
        """What Crypto Pay's webhooks about it were answered so far."""
        deliveries = self._system.cryptopay.deliveries
        return [delivery.status for delivery in deliveries if delivery.invoice_id == invoice["invoice_id"]]

    async def all_delivered(self, invoice: Message) -> list[int | None]:
        """What each webhook about it was answered, once the last one has come through.

        What is lost on the way on purpose comes again by Crypto Pay's schedule, so time is let pass for it.
        """
        await self._system.settled()
        deadline = time.monotonic() + APPLIED_S
        while self._system.cryptopay.webhooks.waiting_for(invoice["invoice_id"]):
            need(time.monotonic() < deadline, f"a webhook is still on its way: {self.answers(invoice)}")
            await self._system.travel(SOME_SECONDS)
            await self._system.settled()
        answers = self.answers(invoice)
        lost = {_LOST} if self._system.faults.lost or self._system.faults.unanswered else set()
        need(set(answers) <= {OK} | lost, f"a webhook was answered {answers}")
        return answers

    async def pull(self, link: str, size: int) -> str:
        """Through the tunnel made of this link by an independent client, and straight: the bytes must be the same."""
        url = self.origin.bytes_url(size)
        async with TunnelClient(link, timeout_seconds=60) as client:
            began = time.monotonic()
            status, body = await client.get(url)
            seconds = time.monotonic() - began
        need(status == 200, f"the site answered {status}")  # noqa: PLR2004 - OK
        need(len(body) == size, f"{len(body)} bytes instead of {size}")
        block = bytes(range(256)) * 256
        expected = hashlib.sha256((block * (size // len(block) + 1))[:size]).hexdigest()
        need(hashlib.sha256(body).hexdigest() == expected, "the bytes are not the site's")
        return f"{size / MEGABYTE:.0f} MB at {size / MEGABYTE / seconds:.0f} MB/s"

    async def pull_all(self, links: Iterable[str], size: int) -> None:
        """Through each of them, at the same time."""
        async with asyncio.TaskGroup() as pulling:
            for link in links:
                pulling.create_task(self.pull(link, size))

    async def refused(self, name: str, links: list[str]) -> None:
        """No node lets this person in."""
        await asyncio.gather(*(self._refused_by(name, link) for link in links))

    async def _refused_by(self, name: str, link: str) -> None:
        try:
            async with TunnelClient(link, timeout_seconds=5) as client:
                await client.get(self.origin.bytes_url(1000))
        except TunnelRefusedError:
            return
        raise StepFailedError(f"{name} is still let in by node {self.node_of(link) + 1}")

    async def links_now(self, name: str) -> list[str] | None:
        """Each node's link for this person; None while a node has not confirmed what is wanted of it."""
        query = (
            "select c.link, c.applied_version = c.version as applied from node_clients c"
            " join subscriptions s on s.id = c.subscription_id join accounts a on a.id = s.account_id"
            " where a.first_name = :name order by c.node_id"
        )
        rows = await self._system.sql(query, name=name)
        if len(rows) != len(self._system.nodes) or not all(row["applied"] and row["link"] for row in rows):
            return None
        return [str(row["link"]) for row in rows]

    async def links_of(self, name: str) -> list[str]:
        """Each node's link for this person, once every node has confirmed it: what one can't be told now, it is told by schedule."""
        found: list[str] = []

        async def everywhere() -> bool:
            found[:] = await self.links_now(name) or []
            return bool(found)

        await self.by_schedule(everywhere, A_MINUTE, f"{name} is on every node")
        return found

    async def pass_time(self, by: timedelta) -> None:
        """Let so much time go by; each sweep that was due meanwhile has run once, and what follows from it is done."""
        await pass_time(self._system, by, by)

    async def by_schedule(self, holds: Callable[[], Awaitable[object]], every: timedelta, what: str) -> int:
        """Let the schedule's next runs come, one after the other, until it holds; how many it took."""
        for runs in range(_TRIES):
            if await holds():
                return runs
            await self.pass_time(every)
        raise StepFailedError(f"{what}: not after {_TRIES} runs of the schedule")

    def node_of(self, link: str) -> int:
        """Which node a link leads to, by its port."""
        return [node.port for node in self._system.nodes].index(ShareLink.parse(link).port)

    async def told_of_the_end(self, customer: Customer) -> None:
        """The bot says that access has ended, and no node has the client any more; what one run passed over, the next one ends."""
        name = customer.user.account.first_name
        query = "select c.node_id from node_clients c join subscriptions s on s.id = c.subscription_id join accounts a on a.id = s.account_id where a.first_name = :name"

        async def ended() -> bool:
            told = any("has ended" in text_of(message) for message in customer.user.messages)
            return told and not await self._system.sql(query, name=name)

        await self.by_schedule(ended, A_MINUTE, f"{name} is told that access has ended, and is on no node")

    async def fate(self, chunks: AsyncIterator[bytes], link: str) -> str:
        """What became of a connection that was open when access ended; must agree with what the node says it can do."""
        can_cut = (await self._system.nodes.health(self.node_of(link))).get("can_cut") and ELSEWHERE is not None
        try:
            async with asyncio.timeout(_CUT_S):
                async for _ in chunks:
                    if not can_cut:
                        return "goes on until it closes by itself (the node may not cut sockets on this machine)"
        except TimeoutError:
            raise StepFailedError(f"the node says it can cut, and {_CUT_S:.0f} s later it still flows") from None
        except httpx.HTTPError:
            return "was cut by the node"
        return "was cut by the node"

    @property
    def price(self) -> int:
        """Of 30 days of the basic tariff, in kopecks."""
        return self._prices.tariffs["basic"].prices[30]

    async def balance(self, sold: int) -> str:
        """The books agree with what was sold in the story, so many times 30 days for roubles.

        What was sold for Stars as well was given back.
        """
        rows = await self._system.sql(
            "select e.currency, sum(e.amount) filter (where c.code = 'revenue') as revenue,"
            " sum(e.amount) filter (where d.code = 'refunds') as refunded"
            " from ledger_entries e join ledger_accounts c on c.id = e.credit_account_id"
            " join ledger_accounts d on d.id = e.debit_account_id group by e.currency order by e.currency"
        )
        currency = self._prices.currency
        revenue = next((row["revenue"] for row in rows if row["currency"] == currency), None)
        need(revenue == sold * self.price, f"revenue is {revenue}, not {sold} x {self.price}")
        need(
            all(row["revenue"] == row["refunded"] for row in rows if row["currency"] != currency),
            f"sold for other money and not given back: {rows}",
        )
        orders = await self._system.sql(
            "select count(*) as n from orders where status = 'paid' and kind = 'subscription' and currency = :currency",
            currency=currency,
        )
        need(orders[0]["n"] == sold, f"{orders[0]['n']} orders paid, not {sold}")
        return f"revenue {sold * self.price / 100:.2f} {currency} from {sold} paid orders"

    async def balance_of(self, name: str) -> int:
        """So many kopecks are on this person's balance."""
        rows = await self._system.sql(
            "select coalesce(sum(w.balance), 0) as held from ledger_accounts w join accounts a on a.id = w.account_id"
            " where a.first_name = :name",
            name=name,
        )
        return int(rows[0]["held"])

    async def holds(self, name: str, amount: int) -> None:
        """This is what is on that person's balance, in kopecks."""
        held = await self.balance_of(name)
        need(held == amount, f"{held} on the balance of {name}, not {amount}")

    async def refund(self, provider: str, charge_id: str) -> None:
        """An operator has a charge given back by its provider, with the access that it paid for."""
        db = Database(self._system.database.functions_url, connections=2, application="demo")
        by = By(_OPERATOR, {_OPERATOR}, "the customer wants it back", "demo-refund")
        try:
            event_id = await db.run(refunds_by_hand.charge, provider, charge_id)
            wanted = Wanted(Route.PROVIDER, event_id=event_id, reverses_access=True)
            await db.run(refunds_by_hand.refund, wanted, by, self._prices)
        finally:
            await db.close()

    async def _compare(self) -> None:
        """Let the sweep compare them. A provider that could not be asked is asked again when the sweep is due next, as by schedule."""
        found: dict[str, Any] = {}
        for _ in range(_TRIES):
            found = await self._system.sweep("money")
            if not (found.get("failed") or found.get("skipped")):
                return
            await self._system.travel(_BETWEEN_SWEEPS)
        raise StepFailedError(f"not compared in {_TRIES} tries: {found}")

    async def providers_agree(self) -> str:
        """Each provider's own account is what the books say: by the sweep that compares them, and by what each says it holds."""
        await self._compare()
        compared = await self._system.sql(
            "select distinct on (provider) provider, lines, matched, complete from reconciliations"
            " order by provider, day desc"
        )
        asked = {**self._crypto_pay(), **self._stars()}
        for row in compared:
            need(row["complete"] and row["lines"] == row["matched"], f"compared: {row}")
        need(
            {f"clearing:{row['provider']}" for row in compared} >= {code for code, _ in asked}, f"compared: {compared}"
        )
        differ = await self._system.sql("select provider, state, external_id, asset from reconciliation_differences")
        need(not differ, f"they differ: {differ}")
        held = asked | self._cards()  # no one can be asked about those: an operator uploads the provider's statement
        for (code, asset), amount in held.items():
            booked = await self._cleared(code, asset)
            # each charge's fee has more digits than the books: less than a unit of them for each
            need(abs(booked - amount) < _ROUNDED, f"{code} holds {amount} {asset}, the books say {booked}")
        return ", ".join(f"{amount:f} {asset} at {code.partition(':')[2]}" for (code, asset), amount in held.items())

    def _crypto_pay(self) -> dict[tuple[str, str], Decimal]:
        rows = self._system.cryptopay.methods.balance()
        return {
            ("clearing:cryptobot", row["currency_code"]): Decimal(row["available"])
            for row in rows
            if row["available"] != "0"
        }

    def _stars(self) -> dict[tuple[str, str], Decimal]:
        stars = Decimal(self._system.telegram.payments.balance).scaleb(-currencies.of("XTR").digits).normalize()
        return {("clearing:stars", "XTR"): stars} if stars else {}

    def _cards(self) -> dict[tuple[str, str], Decimal]:
        charges = [one for one in self._system.telegram.payments.charges if one.currency != "XTR" and not one.returned]
        found: dict[tuple[str, str], Decimal] = {}
        for one in charges:
            digits = currencies.of(one.currency).price_digits
            key = ("clearing:card", one.currency)
            found[key] = found.get(key, Decimal(0)) + Decimal(one.amount).scaleb(-digits)
        return found

    async def _cleared(self, code: str, asset: str) -> Decimal:
        """What a clearing account holds, in whole units."""
        rows = await self._system.sql(
            "select coalesce(sum(case when e.debit_account_id = a.id then e.amount else -e.amount end), 0) as held"
            " from ledger_accounts a join ledger_entries e on a.id in (e.debit_account_id, e.credit_account_id)"
            " where a.code = :code and a.currency = :asset",
            code=code,
            asset=asset,
        )
        return Decimal(rows[0]["held"]).scaleb(-currencies.of(asset).digits)

    async def payments(self, invoice: Message) -> int:
        """All that was booked for its order, duplicates too, whatever key they came under."""
        rows = await self._system.sql(
            "select count(*) as n from payments p join orders o on o.id = p.order_id where o.invoice_id = :id",
            id=str(invoice["invoice_id"]),
        )
        return int(rows[0]["n"])

    async def end(self, name: str) -> datetime:
        """When this person's access ends."""
        rows = await self._system.sql(
            "select s.expires_at from subscriptions s join accounts a on a.id = s.account_id where a.first_name = :name",
            name=name,
        )
        end = rows[0]["expires_at"]
        need(isinstance(end, datetime), f"no end: {rows}")
        assert isinstance(end, datetime)  # noqa: S101 - said to the type checker; checked above
        return end
