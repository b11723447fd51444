"""Every provider's own account against the books: equal after whatever was paid; what is planted is named (N-30)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lib.domain import inbox
from lib.payments.reconciling import reconcile
from tests.integration.payments.test_contract import PRICES, ordered

if TYPE_CHECKING:
    from lib.db import Database
    from lib.payments.provider import ProviderAccount
    from lib.payments.reconciling import Reconciled
    from tests.integration.payments.tills import Till

pytestmark = pytest.mark.parametrize("till", ["cryptobot", "sample"], indirect=True)


@pytest.fixture
def account(till: Till) -> ProviderAccount:
    assert till.account is not None
    return till.account


async def compared(db: Database, till: Till, account: ProviderAccount) -> Reconciled:
    found = await reconcile(db, till.provider.NAME, account, anyway=True)
    assert found is not None
    return found


async def sold(db: Database, till: Till, number: int, *, told: bool = True) -> Any:
    order, invoice = await ordered(db, till, number)
    paid = await till.pay(invoice, order)
    if told:
        await db.run(inbox.receive, paid.told, PRICES)
    return paid


async def test_what_was_told_is_matched_line_by_line(db: Database, till: Till, account: ProviderAccount) -> None:
    for number in range(1, 4):
        await sold(db, till, number)
    found = await compared(db, till, account)
    assert found.outcome.differences == []
    assert (found.outcome.lines, found.outcome.matched, found.outcome.under_way) == (3, 3, 0)
    assert (found.outcome.complete, found.outcome.balance_judged) == (True, True)
    assert await reconcile(db, till.provider.NAME, account) is None, "once a day"
