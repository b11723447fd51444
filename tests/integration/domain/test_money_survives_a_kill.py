"""S4-13 of money that moves in one transaction: SIGKILL at each of its places; all of it happened or nothing, and it happens once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib.db.invariants import violations
from lib.domain import balance, inbox, orders
from lib.domain.ledger import Wallets
from lib.payments import stars
from lib.telegram import payments
from tests.integration.domain import test_checkout
from tests.integration.domain.test_balance import NONE, ONE, PRICES, buy, counts, customer, purchase
from tests.integration.domain.test_top_up import open_top_up, paid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lib.db import Database, Transaction

_LIST = Path(__file__).resolve().parents[3] / "docs" / "acceptance.toml"
# Where each dies, by its failpoint, and whether it stands then; None: COMMIT was sent, so the server may have it or not.
_BALANCE = {
    "before-claim": ("balance.before-claim", False),
    "after-claim": ("balance.after-claim", False),
    "mid-transaction": ("balance.mid-transaction", False),
    "in-commit": ("buy.in-commit", None),
    "after-commit": ("after-commit", True),
}
_TOP_UP = {
    "before-claim": ("settle.before-claim", False),
    "after-claim": ("settle.after-claim", False),
    "mid-transaction": ("settle.mid-transaction", False),
    "in-commit": ("receive.in-commit", None),
    "after-commit": ("after-commit", True),
}
_STARS = {
    "before-claim": ("settle.before-claim", False),
    "after-claim": ("settle.after-claim", False),
    "mid-transaction": ("settle.mid-transaction", False),
    "in-commit": ("record_charge.in-commit", None),
    "after-commit": ("after-commit", True),
}
_PAID_ONCE = {"orders": 1, "payments": 1, "subscription_history": 0, "messages": 1, "outbox": 1}
_OPEN = {**NONE, "orders": 1}


def _cells(operation: str, places: Mapping[str, tuple[str, bool | None]]) -> list[object]:
    return [
        pytest.param(place, stands, id=point, marks=pytest.mark.proves(f"S4-13.{operation}.{point}"))
        for point, (place, stands) in places.items()
    ]


def _seen(tx: Transaction, account_id: int) -> tuple[dict[str, int], Wallets]:
    return counts(tx), balance.of(tx, account_id)


async def _dies(url: str, folder: Path, place: str, *arguments: str) -> None:
    (folder / place).touch()
    dying = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.domain.pay_and_die", url, *arguments),
        env={**os.environ, "ENVIRONMENT": "local", "ATLAS_FAILPOINTS": str(folder)},
    )
    assert await dying.wait() == -signal.SIGKILL
    assert not (folder / place).exists()


def test_the_cells_are_the_acceptance_list() -> None:
    document = tomllib.loads(_LIST.read_text())
    cells = {
        f"S4-13.{operation}.{point}"
        for operation, places in (("balance", _BALANCE), ("top-up", _TOP_UP), ("stars", _STARS))
        for point in [*places, "after-call"]
    }
    listed = {name for part in ("money", "not_applicable") for name in document[part]}
    assert cells == {name for name in listed if name.startswith(("S4-13.balance.", "S4-13.top-up.", "S4-13.stars."))}


@pytest.mark.parametrize(("place", "stands"), _cells("balance", _BALANCE))
async def test_a_purchase_from_the_balance(
    db: Database, database_url: str, functions_url: str, tmp_path: Path, place: str, *, stands: bool | None
) -> None:
    """What asks again under the same key ends with one purchase, whose work the sweep of the outbox finds."""
    anna = await customer(db, 100_000)
    nothing, bought = (NONE, Wallets(100_000, 0)), (ONE, Wallets(85_100, 0))
    await _dies(functions_url, tmp_path, place, "balance", str(anna), "0")
    assert await db.run(_seen, anna) in {False: [nothing], True: [bought], None: [nothing, bought]}[stands]
    again = await db.run(buy, purchase(anna))
    assert stands is None or again.already == stands
    assert await db.run(_seen, anna) == bought
    assert violations(database_url) == []


@pytest.mark.parametrize(("place", "stands"), _cells("top-up", _TOP_UP))
async def test_a_top_up(
    db: Database, database_url: str, functions_url: str, tmp_path: Path, place: str, *, stands: bool | None
) -> None:
    """The provider tells it again, and the sweep asks: the balance has it once, and the customer hears of it once."""
    order = await db.run(open_top_up)
    open_still, credited = (_OPEN, Wallets(0, 0)), (_PAID_ONCE, Wallets(25_000, 0))
    await _dies(functions_url, tmp_path, place, "top-up", str(order.account_id), str(order.id))
    seen = await db.run(_seen, order.account_id)
    assert seen in {False: [open_still], True: [credited], None: [open_still, credited]}[stands]
    again = await db.run(inbox.receive, paid(order), PRICES)
    assert stands is None or again.outcome == ("repeated" if stands else "settled")
    assert await db.run(_seen, order.account_id) == credited
    settled = await db.run(orders.of_account, order.account_id, order.id)
    assert settled is not None
    assert settled.status == "paid"
    assert violations(database_url) == []


@pytest.mark.parametrize(("place", "stands"), _cells("stars", _STARS))
async def test_a_charge_by_stars(
    db: Database, database_url: str, functions_url: str, tmp_path: Path, place: str, *, stands: bool | None
) -> None:
    """Telegram delivers the update again, and its list tells it as well: one payment, one grant."""
    order = await db.run(test_checkout.open_order)
    open_still, sold = (_OPEN, Wallets(0, 0)), (ONE, Wallets(0, 0))
    await _dies(functions_url, tmp_path, place, "stars", str(order.account_id), str(order.id))
    seen = await db.run(_seen, order.account_id)
    assert seen in {False: [open_still], True: [sold], None: [open_still, sold]}[stands]
    update, charge = test_checkout.update_of(order)
    again = await db.run(payments.record_charge, update, charge, PRICES)
    assert stands is None or (again is None) == stands
    partner = {"type": "user", "user": {"id": 1}, "invoice_payload": str(order.purchase_id)}
    line = {"id": charge.external_id, "amount": order.price, "date": 1, "source": partner}
    listed = stars.event_of(line, b"{}", "sweep", "c-2")
    assert (await db.run(inbox.receive, listed, PRICES)).outcome == "repeated"
    assert await db.run(_seen, order.account_id) == sold
    assert violations(database_url) == []
