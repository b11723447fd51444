"""Money moved at random by several processes at once, against the oracle: what came of each, and every account in the end (N-34)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from lib.db.invariants import violations
from lib.oracle import Books, Order, Refused, Sum, TooLittle
from lib.settings import pricelist

if TYPE_CHECKING:
    from lib.db import Database, Transaction

_PRICES = {tariff.prices[30] for tariff in pricelist.load().tariffs.values()}
_HELD = """
select jsonb_build_array(a.code, a.currency, a.account_id, cast(sum(case when e.debit_account_id = a.id then e.amount else -e.amount end) as text))
from ledger_accounts a join ledger_entries e on a.id in (e.debit_account_id, e.credit_account_id)
group by a.code, a.currency, a.account_id
"""


async def worker(url: str, seed: int, steps: int) -> list[dict[str, Any]]:
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.domain.money_worker", url, str(seed), str(steps)),
        env={**os.environ, "ENVIRONMENT": "local"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await running.communicate()
    assert running.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


class Judge:
    """Tells the oracle what happened, in the order of the commits, and expects what it says."""

    def __init__(self) -> None:
        self.books = Books()
        self._gone: set[str] = set()
        self._on: set[int] = set()
        self._banned: set[int] = set()

    def tell(self, said: dict[str, Any]) -> None:
        """One transaction; its outcome is the oracle's."""
        match said["did"]:
            case "paid":
                price, kind = said["price"], said["kind"]
                agreed = Order(said["customer"], kind, listed=price, price=price, value=price)
                self.books.order(str(said["order"]), agreed)
                assert self._charge(said) == said["outcome"] == "settled"
                if said["renewed"] is not None:
                    self._by_itself(said["renewed"] | {"customer": said["customer"]})
            case "again":
                self._again(said)
            case "bought":
                assert said["customer"] not in self._banned
                assert self._pays(said) == (said["outcome"] != "bought")
            case "credit":
                self.books.operator_credit(said["name"], said["customer"], said["amount"])
            case "debit":
                refused = self._or_refused(
                    lambda: self.books.operator_debit(said["name"], said["customer"], said["amount"])
                )
                assert refused == (said["outcome"] != "done")
            case "given back":
                self._given_back(said)
            case "went back":
                self._went_back(said)
            case _:
                self._life(said)

    def _again(self, said: dict[str, Any]) -> None:
        known = self.books.orders[str(said["order"])]
        self._charge(said)
        if known.customer in self._banned:
            assert said["outcome"] == "unmatched"
            return
        assert said["outcome"] == "duplicate"
        self.books.credit(said["charge"], known.customer, said["amount"])

    def _life(self, said: dict[str, Any]) -> None:
        match said["did"]:
            case "turned":
                (self._on.add if said["on"] else self._on.discard)(said["customer"])
            case "banned":
                self._banned.add(said["customer"])
            case "unbanned":
                self._banned.discard(said["customer"])
            case "renewed" if said["outcome"] == "renewed":
                self._by_itself(said)
            case "renewed" if said["outcome"] == "low":
                assert self._pays(said), "the oracle has enough"

    def _by_itself(self, said: dict[str, Any]) -> None:
        """A renewal is a purchase that only who asked for it, and is not banned, makes; at the price of the list."""
        assert said["customer"] in self._on - self._banned
        assert said["price"] in _PRICES
        assert not self._pays(said)

    def _pays(self, said: dict[str, Any]) -> bool:
        """Whether the oracle refuses it."""
        name, price = str(said["order"]), said["price"]
        self.books.order(name, Order(said["customer"], "subscription", listed=price, price=price, value=price))
        return self._or_refused(lambda: self.books.pay_from_balance(name))

    def _charge(self, said: dict[str, Any]) -> str:
        return self.books.charge(said["charge"], "card", Sum(said["amount"]), order=str(said["order"]))

    @staticmethod
    def _or_refused(happens: Any) -> bool:
        try:
            happens()
        except (TooLittle, Refused):
            return True
        return False

    def _given_back(self, said: dict[str, Any]) -> None:
        name, route = str(said["order"]), {"wallet": "wallets"}.get(said["route"], said["route"])
        if self.books.orders[name].kind == "top_up":
            assert said["outcome"] != "done"
            return
        refused = self._or_refused(lambda: self.books.refund(name, route))
        assert refused == (said["outcome"] != "done"), said

    def _went_back(self, said: dict[str, Any]) -> None:
        charge, route = said["charge"], "outside" if said["kind"] == "refund" else "chargeback"
        assert said["outcome"] == "settled"
        if charge in self._gone:
            assert said["reason"] == "a second debit of its charge"
            self.books.second_debit(said["news"], Sum(said["amount"]), "card")
            return
        self._gone.add(charge)
        assert said["reason"] == ""
        if said["of"] == "duplicate":
            self.books.refund_of_charge(charge, route)
        else:
            self.books.refund(str(said["order"]), route)


async def judged(db: Database, database_url: str, functions_url: str, seed: int, *, processes: int, steps: int) -> None:
    logs = await asyncio.gather(*(worker(functions_url, seed * 100 + one, steps) for one in range(processes)))
    judge = Judge()
    for said in sorted((one for log in logs for one in log), key=lambda one: one["at"]):
        judge.tell(said)

    def held(tx: Transaction) -> Counter[tuple[str, str, int | None]]:
        return Counter({(code, currency, owner): int(minor) for code, currency, owner, minor in tx.values(_HELD)})

    found = await db.run(held)
    told = judge.books.balances
    assert {account: amount for account, amount in found.items() if amount} == {
        account: amount for account, amount in told.items() if amount
    }
    assert violations(database_url) == []


@pytest.mark.proves("N-34")
async def test_random_money_of_three_processes_is_the_oracles(
    racing_db: Database, database_url: str, functions_url: str
) -> None:
    await judged(racing_db, database_url, functions_url, 1, processes=3, steps=25)


@pytest.mark.full
@pytest.mark.proves("N-34")
@pytest.mark.parametrize("seed", range(2, 8))
async def test_much_random_money_of_four_processes_is_the_oracles(
    racing_db: Database, database_url: str, functions_url: str, seed: int
) -> None:
    await judged(racing_db, database_url, functions_url, seed, processes=4, steps=120)
