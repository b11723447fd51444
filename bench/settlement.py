"""P3: a paid order is settled, four workers at once, against pgbench running the same statements over the same schema.

A settlement is one transaction: the inbox row, order paid, payment, grant, history, receipt, follow-up work, ledger. Ours run in four
processes with a connection each, as instances do, by the code that webhooks run. pgbench has four clients and one script, made of the very
statements that a settlement was seen to send: what one statement returns goes into the next one, everything else is a constant.
Both settle orders of their own, in turn, in one database with synchronous commit.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bench.figures import Bar, Outcome, Plot, Row, Series, paired_ratio
from bench.places import scratch
from bench.settled import body, open_orders
from bench.settling import Done, Work
from lib.db.address import DatabaseAddress
from lib.db.connection import Connection, Timeouts
from lib.db.transaction import Transaction
from lib.domain import inbox
from lib.payments import cryptopay_news
from sandbox.cloud.instances import ROOT
from sandbox.postgres import binaries

if TYPE_CHECKING:
    from pathlib import Path

    from bench.buyers import Buyers
    from bench.sizes import Sizes
    from lib.db.connection import Result
    from sandbox.system.system import System

WORKERS = 4
_MOST_STATEMENTS = 12
_LIMIT = 0.5
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")
_RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_SETTLED = "settled"


class WrongSettlementError(RuntimeError):
    """Something settled otherwise than it must; the text says what."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement as a settlement sent it, with the names of the columns that came back."""

    sql: str
    parameters: dict[str, Any]
    columns: tuple[str, ...]


class _Recording(Connection):
    """Keeps what it sends."""

    sent: list[Sent]

    def execute_together(self, *statements: tuple[str, dict[str, Any]]) -> list[Result]:
        """As ever."""
        results = super().execute_together(*statements)
        self.sent += [Sent(sql, dict(of), tuple(one[0])) for (sql, of), one in zip(statements, results, strict=True)]
        return results

    def execute_with_commit(self, sql: str, parameters: dict[str, Any]) -> None:
        """As ever."""
        super().execute_with_commit(sql, parameters)
        self.sent.append(Sent(sql, dict(parameters), ()))


def recorded(url: str, number: int, buyers: Buyers) -> list[Sent]:
    """The statements of a settlement, by settling an order. Accounts of the ledger are open by then."""
    connection = _Recording(url, application="bench", timeouts=Timeouts())
    connection.sent = []
    try:
        connection.begin()
        received = inbox.receive(
            Transaction(connection, lambda: False, "settle"),
            cryptopay_news.read_webhook(body(number), "bench"),
            buyers.prices,
        )
        connection.commit("settle")
    finally:
        connection.close()
    if received.outcome != _SETTLED:
        raise WrongSettlementError(f"{received.outcome}: {received.reason} {received.error}")
    return connection.sent


# By the name of a parameter, where its value comes from: the number of the order, or what an earlier statement returned, by its column.
_NUMBER = ("external_id", "charge_id", "invoice_id")
_RETURNED = {
    "event_id": ("payment_events", "id"),
    "order_id": ("accounts a join orders o", "id"),
    "account_id": ("accounts a join orders o", "account_id"),
    "payment_id": ("insert into payments", "id"),
    "subscription_id": ("insert into subscriptions", "subscription_id"),
    "uuid": ("insert into subscriptions", "uuid"),
    "expires_at": ("insert into subscriptions", "expires_at"),
}
_TYPES = {"uuid": "uuid", "expires_at": "timestamptz"}


def script(sent: list[Sent], first: int, each: int) -> str:
    """The same statements for pgbench: client c settles the orders from `first + c * each` on."""
    lines = ["\\set n :n + 1", f"\\set number {first} + :client_id * {each} + :n", "begin;"]
    known: dict[str, str] = {}
    for place, one in enumerate(sent):
        if place == 1:
            lines.append("savepoint settlement;")
        lines.append(_with_values(one, known))
        gives = [name for name, (where, _) in _RETURNED.items() if where in one.sql and name not in known]
        if gives:
            lines.append(f"\\gset s{place}_")
            known |= {name: f":s{place}_{_RETURNED[name][1]}" for name in gives}
        else:
            lines[-1] += ";"
    return "\n".join([*lines, "commit;"]) + "\n"


def _with_values(one: Sent, known: dict[str, str]) -> str:
    """The statement's own text, with what its parameters are here."""

    def value(match: re.Match[str]) -> str:
        name, said = match[1], one.parameters[match[1]]
        if said is None:
            return "null"
        if name in _NUMBER:
            return "cast(:number as text)"
        if name in known:
            return f"cast({known[name]} as {_TYPES.get(name, 'bigint')})"
        if name == "key":  # of a receipt or of a transfer, both made of the payment
            return f"('{str(said).partition(':')[0]}:' || cast({known['payment_id']} as text))"
        return _literal(said)

    return _PARAMETER.sub(value, one.sql).strip()


def _literal(value: object) -> str:
    if isinstance(value, bytes):
        return f"cast('\\x{value.hex()}' as bytea)"
    if isinstance(value, bool | int):
        return str(value).lower()
    # a colon with a word after it is a variable of pgbench, inside quotes as well
    quoted = str(value).replace("'", "''")
    return "'" + re.sub(r":(?=\w)", "' || chr(58) || '", quoted) + "'"


@dataclass
class _Taken:
    """Settlements a second, a figure a round; seconds of every one of ours."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class _Bench:
    def __init__(self, system: System, buyers: Buyers, folder: Path) -> None:
        self._system = system
        self._buyers = buyers
        self._folder = folder
        self._next = 1_000_001
        self._url = system.database.functions_url

    async def ready(self) -> list[Sent]:
        """The first settlement opens the ledger's accounts; the second is the one that is written down."""
        first = await self._orders(2)
        await asyncio.to_thread(recorded, self._url, first, self._buyers)
        return await asyncio.to_thread(recorded, self._url, first + 1, self._buyers)

    async def grow(self, to: int) -> None:
        """At least so many orders are there."""
        (row,) = await self._system.sql("select count(*) as held from orders")
        if row["held"] < to:
            await self._orders(to - row["held"])

    async def _orders(self, count: int) -> int:
        first, self._next = self._next, self._next + count
        await open_orders(self._system, first, count)
        return first

    async def ours(self, count: int) -> tuple[float, list[float]]:
        """Four processes, so many orders each: settlements a second, and the seconds of each."""
        first = await self._orders(count * WORKERS)
        workers = [await self._worker(Work(first + number * count, count)) for number in range(WORKERS)]
        began = time.perf_counter()
        ended = await asyncio.gather(*(one.communicate(b"go\n") for one in workers))
        took = time.perf_counter() - began
        done = [Done(**json.loads(out)) for out, _ in ended]
        outcomes = [one.outcomes for one in done]
        if outcomes != [{_SETTLED: count}] * WORKERS:
            raise WrongSettlementError(str(outcomes))
        seconds = [one for each in done for one in each.seconds]
        # from the first one's beginning to the last one's end, without what a process does around them
        slowest = max(sum(one.seconds) for one in done)
        return count * WORKERS / min(took, slowest), seconds

    async def _worker(self, work: Work) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.settling"),
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": self._url},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asdict(work)).encode() + b"\n")
        await process.stdin.drain()
        if await process.stdout.readline() != b"ready\n":
            raise WrongSettlementError("bench.settling did not start")
        return process

    async def theirs(self, sent: list[Sent], count: int) -> float:
        """pgbench, four clients, so many orders each: transactions a second, its connecting left out."""
        first = await self._orders(count * WORKERS)
        file = self._folder / "settle.sql"
        file.write_text(script(sent, first - 1, count), "utf-8")
        address = DatabaseAddress.parse(self._url)
        process = await asyncio.create_subprocess_exec(
            str(binaries.folder_for(None) / "pgbench"),
            *("-n", "-M", "prepared", "-c", str(WORKERS), "-j", "2", "-t", str(count), "-D", "n=0", "-f", str(file)),
            env=os.environ
            | {
                "PGHOST": address.socket or address.host,
                "PGPORT": str(address.port),
                "PGUSER": address.user,
                "PGPASSWORD": address.password or "",
                "PGDATABASE": address.database,
                "PGOPTIONS": "-c search_path=atlas,pg_catalog",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, problems = await process.communicate()
        found = _RATE.search(out.decode())
        (row,) = await self._system.sql(
            "select count(*) as settled from orders where status = 'paid'"
            " and cast(invoice_id as bigint) between cast(:first as bigint) and cast(:last as bigint)",
            first=first,
            last=first + count * WORKERS - 1,
        )
        if process.returncode or found is None or row["settled"] != count * WORKERS:
            raise WrongSettlementError(f"pgbench settled {row['settled']}: {problems.decode()[-2000:]}")
        return float(found[1])


async def measure(system: System, buyers: Buyers, sizes: Sizes) -> Outcome:
    """Raises: WrongSettlementError: one settled otherwise than it must."""
    with scratch() as folder:
        bench = _Bench(system, buyers, folder)
        sent = await bench.ready()
        held = [sizes.settled_among // 10, sizes.settled_among, sizes.settled_among * sizes.settled_growth]
        grown = []
        taken = _Taken()
        await bench.grow(held[0])
        await bench.ours(max(1, sizes.settled // 4))  # whatever a process does once, it has done
        for size in held:
            await bench.grow(size)
            if size == sizes.settled_among:
                taken = await _rounds(bench, sent, sizes)
            _, seconds = await bench.ours(sizes.settled)
            grown.append(Series.of(seconds).median)
    return _outcome(taken, sent, held, grown)


async def _rounds(bench: _Bench, sent: list[Sent], sizes: Sizes) -> _Taken:
    taken = _Taken()
    for number in range(sizes.settled_rounds):
        for ours in (True, False) if number % 2 else (False, True):
            if ours:
                rate, seconds = await bench.ours(sizes.settled)
                taken.ours.append(rate)
                taken.seconds += seconds
            else:
                taken.theirs.append(await bench.theirs(sent, sizes.settled))
    return taken


def _outcome(taken: _Taken, sent: list[Sent], held: list[int], grown: list[float]) -> Outcome:
    ours, theirs = Series.of(taken.ours), Series.of(taken.theirs)
    ratio = paired_ratio(ours, theirs)
    exponent = math.log(grown[-1] / grown[0]) / math.log(held[-1] / held[0])
    sizes = ", ".join(f"{size}: {seconds * 1000:.1f} ms" for size, seconds in zip(held, grown, strict=True))
    rows = (
        Row("P3", f"paid orders settled by {WORKERS} workers, {held[1]} orders in the database", ours.median, "/s",
            f"pgbench, the same statements: {theirs.median:.0f}/s", ratio.median, _LIMIT, relation="≥"),
        Row("P3", "statements of a settlement, a round trip each", len(sent), "statements", limit=_MOST_STATEMENTS, quantity="value"),
        Row("P3", "how its cost grows with the orders in the database, exponent", exponent, "", sizes),
    )  # fmt: skip
    measured: dict[str, Any] = {
        "statements": [" ".join(one.sql.split()) for one in sent],
        "per_second": {"ours": ours.as_dict(1), "pgbench": theirs.as_dict(1)},
        "ratio": ratio.as_dict(3),
        "seconds": Series.of(taken.seconds).as_dict(),
        "median_s_by_orders": dict(zip(map(str, held), grown, strict=True)),
        "exponent": exponent,
    }
    bars = (Bar("Atlas", ours.median, ours=True), Bar("pgbench", theirs.median, ours=False))
    return Outcome("P3", rows, measured, Plot("settlement", "Paid orders settled a second", "/s", bars))
