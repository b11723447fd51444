"""Access by hand is given once under its name, by an operator who may, in the environment that was meant."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from infra import environment, give_access
from lib.db import Database
from lib.db.invariants import violations
from lib.domain import access_by_hand, audit, operators
from lib.domain.access_by_hand import NotGiven, Wanted, give
from lib.settings import pricelist
from tests.integration.infra.test_end_suspense import hold_solo, other_list
from tests.integration.sweeps.grants import meet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lib.db import Transaction

PRICES = pricelist.load()
OWNER, SUPPORT, CUSTOMER = 1001, 1002, 1003
WANTED = Wanted(1, "basic", 30, OWNER, "paid by hand, ticket 7", "ticket-7", "local")
_HISTORY = "select event || ' ' || source || ' ' || actor_id from subscription_history order by id"


def _give(tx: Transaction, wanted: Wanted) -> access_by_hand.Given:
    return give(tx, wanted, PRICES, {OWNER})


@pytest.fixture
async def customer(db: Database) -> int:
    def met(tx: Transaction) -> None:
        meet(tx, 7)
        operators.grant(tx, OWNER, SUPPORT, operators.Role.SUPPORT, "c")
        operators.grant(tx, OWNER, CUSTOMER, operators.Role.MARKETING, "c")

    await db.run(met)
    return int(await db.run(lambda tx: tx.value("select id from accounts")))


async def test_it_is_given_once_and_says_who_what_and_why(db: Database, customer: int, database_url: str) -> None:
    wanted = replace(WANTED, account_id=customer)
    first = await db.run(_give, wanted)
    again = await db.run(_give, wanted)
    assert (first.already, again.already) == (False, True)
    assert again.until == first.until
    assert await db.run(lambda tx: tx.values(_HISTORY)) == [f"granted admin {OWNER}"]
    (line,) = await db.run(lambda tx: tx.values("select after from audit_log where action = 'access.granted'"))
    assert line | {"until": ""} == {
        "account_id": customer,
        "tariff": "basic",
        "days": 30,
        "reason": WANTED.reason,
        "until": "",
    }
    assert await db.run(lambda tx: tx.values("select target from outbox")) == ["task_provision"]
    assert await db.run(audit.verify) == []
    assert violations(database_url) == []


async def test_another_name_is_another_gift_and_support_may_give_it(db: Database, customer: int) -> None:
    wanted = replace(WANTED, account_id=customer)
    first = await db.run(_give, wanted)
    second = await db.run(_give, replace(wanted, once="ticket-8", operator=SUPPORT))
    assert (second.until - first.until).days == 30
    assert await db.run(lambda tx: tx.values(_HISTORY)) == [f"granted admin {OWNER}", f"extended admin {SUPPORT}"]


async def test_two_at_once_give_once(racing_db: Database) -> None:
    await racing_db.run(meet, 7)
    account = await racing_db.run(lambda tx: tx.value("select id from accounts"))
    given = await asyncio.gather(*(racing_db.run(_give, replace(WANTED, account_id=account)) for _ in range(4)))
    assert sorted(one.already for one in given) == [False, True, True, True]
    assert len({one.until for one in given}) == 1


async def test_everything_that_is_wrong_is_told_at_once_and_nothing_is_given(db: Database, customer: int) -> None:
    wrong = replace(WANTED, account_id=customer + 1, tariff="gold", operator=CUSTOMER, environment="prod")
    with pytest.raises(NotGiven) as refused:
        await db.run(_give, wrong)
    said = str(refused.value).split("\n")
    assert [line.split()[0] for line in said] == ["this", "there", "there", str(CUSTOMER)]
    assert "environment local, not prod" in said[0]
    assert await db.run(lambda tx: tx.values(_HISTORY)) == []


@pytest.mark.parametrize("other", [{"days": 31}, {"tariff": "plus"}, {"account_id": 99}])
async def test_a_name_stands_for_one_gift(db: Database, customer: int, other: dict[str, Any]) -> None:
    wanted = replace(WANTED, account_id=customer)
    await db.run(_give, wanted)
    with pytest.raises(NotGiven, match="'ticket-7' stands for another gift already"):
        await db.run(_give, replace(wanted, **other))
    assert len(await db.run(lambda tx: tx.values(_HISTORY))) == 1


@dataclass(frozen=True)
class _Local:
    """As `infra.environment.load` gives one."""

    name: str
    url: str
    settings: Mapping[str, str]

    def secret(self, name: str) -> str:
        assert name == environment.OWNER_SECRET
        return self.url


def _said(**changes: str) -> list[str]:
    words = {
        "account": "1",
        "tariff": "basic",
        "days": "30",
        "operator": str(OWNER),
        "reason": "paid by hand, ticket 7",
        "once": "ticket-7",
    }
    return ["--env", "local", *(part for name, value in (words | changes).items() for part in (f"--{name}", value))]


def test_the_command_gives_once_and_tells_the_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local = _Local("local", database_url, {"ADMIN_IDS": f"{OWNER},5"})
    monkeypatch.setattr(environment, "load", lambda _name: local)
    assert give_access.main(_said()) == 2
    assert capsys.readouterr().err == "Nothing was given.\nthere is no account 1\n"
    asyncio.run(_met(database_url))
    assert give_access.main(_said()) == 0
    assert capsys.readouterr().out.startswith("Account 1 has basic until 20")
    assert give_access.main(_said()) == 0
    assert "was given before, until 20" in capsys.readouterr().out


async def test_time_is_worth_what_the_environments_price_list_says(
    db: Database,
    customer: int,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    tmp_path: Path,
) -> None:
    await db.run(hold_solo, customer)
    local = _Local("local", database_url, {"ADMIN_IDS": str(OWNER)})
    monkeypatch.setattr(environment, "load", lambda _name: local)
    said = _said(account=str(customer))
    assert await asyncio.to_thread(give_access.main, said) == 2
    told = capsys.readouterr().err
    assert told.startswith("Nothing was given.\n")
    assert "the price list lacks solo" in told
    settings = {**local.settings, "TARIFFS_PATH": other_list(tmp_path)}
    monkeypatch.setattr(environment, "load", lambda _name: replace(local, settings=settings))
    assert await asyncio.to_thread(give_access.main, said) == 0


async def _met(url: str) -> None:
    db = Database(url, connections=1, application="test", guards=False)
    await db.run(meet, 7)
    await db.close()


def test_the_command_names_every_word_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "load", lambda _name: _Local("local", "postgresql://o@127.0.0.1:1/atlas", {}))
    wrong = _said(account="0", tariff="", days="1e3", operator="-1", reason="short", once="a b")
    assert give_access.main(wrong) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Nothing was given."
    assert [line.split()[0] for line in said[1:]] == ["ACCOUNT", "DAYS", "OPERATOR", "TARIFF", "REASON", "ONCE"]


def test_a_database_that_is_away_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = _Local("local", "postgresql://owner:marked-password@127.0.0.1:1/atlas", {})
    monkeypatch.setattr(environment, "load", lambda _name: gone)
    assert give_access.main(_said()) == 1
    said = capsys.readouterr()
    assert "same command again" in said.err
    assert "marked-password" not in json.dumps([said.out, said.err])


def test_a_missing_env_is_told_with_all_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert give_access.main(["--env", ""]) == 2
    said = capsys.readouterr().err
    for name in ("ENV", "ACCOUNT", "DAYS", "OPERATOR", "TARIFF", "REASON", "ONCE"):
        assert f"\n{name}" in said, name
