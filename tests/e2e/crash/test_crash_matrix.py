"""S4-13: SIGKILL at a named place of each operation; no help; exactly one effect."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.node.lab import TunnelClient, TunnelRefusedError
from sandbox.system.customer import buttons_of, link_of, text_of
from sandbox.system.system import SystemFailedError
from tests.e2e.sweeps.customers import (
    a_customer,
    accept_trial,
    keys_sent,
    killed_workers,
    minutes_pass,
    on_nodes,
    order,
    said,
    subscription,
)
from tests.waiting import until

if TYPE_CHECKING:
    from sandbox.node.lab import Origin
    from sandbox.system.customer import Customer
    from sandbox.system.system import System

_LIST = Path(__file__).resolve().parents[3] / "docs" / "acceptance.toml"
_POINTS = ("before-claim", "after-claim", "mid-transaction", "in-commit", "after-call", "after-commit")
# The failpoint of a cell where it is not "<operation>.<point>": COMMIT is named after its transaction's function.
_IN_COMMIT = {"settle": "receive", "activation": "record", "expiry": "expire"}


@dataclass(frozen=True)
class Cell:
    """One place where a process dies."""

    operation: str
    point: str

    @property
    def id(self) -> str:
        return f"S4-13.{self.operation}.{self.point}"

    @property
    def failpoint(self) -> str:
        owner = _IN_COMMIT[self.operation] if self.point == "in-commit" else self.operation
        return f"{owner}.{self.point}"


_NOT_APPLICABLE = set(tomllib.loads(_LIST.read_text())["not_applicable"])
MATRIX = [
    cell for operation in _IN_COMMIT for point in _POINTS if (cell := Cell(operation, point)).id not in _NOT_APPLICABLE
]
# Between the grant (settled and committed) and "applied" (recorded and told) lie these.
_GRANT_TO_APPLIED = {"S4-13.settle.after-commit"} | {cell.id for cell in MATRIX if cell.operation == "activation"}


def _cells(*operations: str) -> list[Any]:
    return [
        pytest.param(
            cell,
            id=cell.id,
            marks=[pytest.mark.proves(cell.id)]
            + ([pytest.mark.proves("S0-5")] if cell.id in _GRANT_TO_APPLIED else []),
        )
        for cell in MATRIX
        if cell.operation in operations
    ]


def test_the_matrix_is_the_acceptance_list() -> None:
    listed = {name for name in tomllib.loads(_LIST.read_text())["main"] if name.startswith("S4-13.")}
    assert {cell.id for cell in MATRIX} == listed


async def _dies(system: System, cell: Cell, dead_before: int) -> None:
    """The failpoint fired, and a function server says that it lost a worker to SIGKILL: one, and no more."""
    await until(lambda: killed_workers(system) > dead_before, f"a process dies at {cell.failpoint}")
    assert not system.failpoints.is_armed(cell.failpoint)
    assert killed_workers(system) == dead_before + 1


async def _reaches(link: str, origin: Origin) -> bool:
    try:
        async with TunnelClient(link) as client:
            status, body = await client.get(origin.bytes_url(1000))
    except TunnelRefusedError:
        return False
    return (status, len(body)) == (200, 1000)


async def _bought_once(system: System, customer: Customer, invoice: int, origin: Origin) -> None:
    row = await subscription(system, customer)
    payments = await system.sql(
        "select p.kind from payments p join orders o on o.id = p.order_id where o.invoice_id = :id", id=str(invoice)
    )
    history = await system.sql(
        "select event from subscription_history where subscription_id = :id order by id", id=row["id"]
    )
    assert [payment["kind"] for payment in payments] == ["settling"]
    assert [change["event"] for change in history] == ["granted", "activated"]
    assert (row["status"], row["activation_status"]) == ("active", "active")
    assert len(said(customer, "Payment received")) == 1, customer.user.shown()
    assert len(keys_sent(customer)) == 1, customer.user.shown()
    held = (await on_nodes(system))[str(row["id"])]
    assert [(one["uuid"], one["applied"]) for one in held] == [(str(row["uuid"]), True)] * len(system.nodes)
    link = next(link for message in customer.user.messages if (link := link_of(message)))
    assert await _reaches(link, origin)


async def _nothing_is_left(system: System) -> None:
    assert await system.sql("select id, target, attempt from outbox where done_at is null") == []
    assert await system.sql("select id, key, status from messages where status <> 'sent'") == []
    assert await system.invariants() == []


@pytest.mark.parametrize("cell", _cells("settle", "activation"))
async def test_a_kill_on_the_way_from_payment_to_key_costs_no_customer_anything(
    crashing: System, origin: Origin, cell: Cell
) -> None:
    customer = a_customer(crashing)
    invoice = await order(crashing, customer)
    await crashing.settled()
    dead = killed_workers(crashing)
    crashing.arm(cell.failpoint)
    await crashing.cryptopay.pay(invoice)
    await _dies(crashing, cell, dead)
    await minutes_pass(crashing)
    await _bought_once(crashing, customer, invoice, origin)
    await _nothing_is_left(crashing)


@pytest.mark.parametrize("cell", _cells("expiry"))
async def test_a_kill_while_access_ends_leaves_no_client_on_the_node_and_tells_once(
    crashing: System, origin: Origin, cell: Cell
) -> None:
    customer = a_customer(crashing)
    await accept_trial(customer)
    link = await customer.gets_key()
    await crashing.settled()
    row = await subscription(crashing, customer)
    await crashing.travel(row["expires_at"] - crashing.clock.now())
    dead = killed_workers(crashing)
    crashing.arm(cell.failpoint)
    with pytest.raises(SystemFailedError):
        await crashing.sweep("expiry")
    await _dies(crashing, cell, dead)
    await minutes_pass(crashing)
    ended = await subscription(crashing, customer)
    history = await crashing.sql(
        "select event from subscription_history where subscription_id = :id order by id", id=row["id"]
    )
    assert (ended["status"], ended["uuid"]) == ("expired", None)
    assert [change["event"] for change in history] == ["granted", "activated", "expired"]
    assert str(row["id"]) not in await on_nodes(crashing)
    assert await crashing.sql("select node_id from node_clients where subscription_id = :id", id=row["id"]) == []
    assert len(said(customer, "The free period has ended")) == 1, customer.user.shown()
    assert not await _reaches(link, origin)
    await _nothing_is_left(crashing)


async def test_the_matrix_kills_what_it_says(crashing: System) -> None:
    """Unarmed, the same story kills no process: what the cells count is the failpoints' doing."""
    dead = killed_workers(crashing)
    menu = await a_customer(crashing).start()
    assert "go:trial" in buttons_of(menu), text_of(menu)
    await minutes_pass(crashing, 1)
    assert killed_workers(crashing) == dead
