"""The purchase by provider `test`: whole and once outside prod, and in prod impossible by each of four ways."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from infra import environment, synthetic_purchase
from lib.db import Database, StatementFailed
from lib.db.migrate import migrate
from lib.domain import accounts, inbox, refund_requests, subscriptions
from lib.domain.accounts import Person
from lib.domain.inbox import StoredEvent
from lib.payments import registry, synthetic
from lib.payments.synthetic import NotHere, Purchase
from lib.settings import plain, pricelist
from tests.integration.infra.test_end_suspense import Found, other_list

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lib.db import Transaction
    from sandbox.postgres.server import Postgres

PRICES = pricelist.load()


def meet(tx: Transaction) -> int:
    return accounts.meet(tx, Person(1, "Anna", None, "ru")).id


def statuses(tx: Transaction) -> list[str]:
    return tx.values("select provider || ' ' || status from orders order by id")


@pytest.mark.proves("N-32")
async def test_a_purchase_is_a_customers_and_is_made_once(
    racing_db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account = await racing_db.run(meet)
    monkeypatch.setattr(environment, "load", lambda name, **_: Found(database_url, name))
    given = ["--env", "local", "--account", str(account), "--tariff", "basic", "--days", "30", "--once", "release-1"]
    assert (synthetic_purchase.main(given), synthetic_purchase.main(given)) == (0, 0)
    assert capsys.readouterr().out == "release-1: settled\nrelease-1: repeated\n"
    assert await racing_db.run(statuses) == ["test paid"]
    held = "select clearing from providers where name = 'test'"
    assert await racing_db.run(lambda tx: tx.value(held)) == "clearing:test"
    work = await racing_db.run(lambda tx: tx.values("select target from outbox order by target"))
    assert work == ["task_notify", "task_provision"]


async def test_what_is_sold_is_what_the_environments_price_list_says(
    racing_db: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    account = await racing_db.run(meet)
    given = ["--env", "local", "--account", str(account), "--tariff", "solo", "--days", "30", "--once", "release-1"]
    monkeypatch.setattr(environment, "load", lambda name, **_: Found(database_url, name))
    assert synthetic_purchase.main(given) == 2
    assert "not sold" in capsys.readouterr().err
    settings = {"TARIFFS_PATH": other_list(tmp_path)}
    monkeypatch.setattr(environment, "load", lambda name, **_: Found(database_url, name, settings))
    assert synthetic_purchase.main(given) == 0
    assert await racing_db.run(statuses) == ["test paid"]


@pytest.fixture
async def prod(postgres: Postgres) -> AsyncIterator[Database]:
    """A production's database, with a customer."""
    postgres.create_database("prod")
    migrate(postgres.url("prod"), "prod", providers=registry.providers("prod"))
    database = Database(postgres.url("prod"), connections=2, application="test", guards=True)
    yield database
    await database.close()
    postgres.drop_database("prod")


@pytest.mark.proves("N-32")
async def test_in_prod_it_is_impossible(prod: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await prod.run(meet)
    wanted = Purchase("prod", account, "basic", 30, "release-1")
    for said in (wanted, replace(wanted, environment="dev")):
        with pytest.raises(NotHere):
            await prod.run(synthetic.buy, said, PRICES)
    # its database has no row of that provider, and the functions can't make one: no order, no news, no payment can name it
    monkeypatch.setattr(synthetic, "_belongs", lambda *_: None)
    with pytest.raises(StatementFailed) as refused:
        await prod.run(synthetic.buy, wanted, PRICES)
    assert refused.value.code == "23503"
    assert await prod.run(statuses) == []
    # nor is it among prod's providers, so that what is stored of it is read as of one that is unknown
    monkeypatch.setenv("ENVIRONMENT", "prod")
    assert plain.environment() == "prod"
    event = synthetic.charge("x", purchase_id=uuid4(), amount=1, currency="RUB", correlation_id="c")
    stored = StoredEvent(event.provider, "x", event.body, event.via, "c", "new")
    assert (registry.read_again(stored).money, registry.read_again(stored).reason) == (None, "unknown provider")


@pytest.mark.parametrize("env", ["prod", "PROD", "", "staging"])
def test_the_command_refuses_it_before_anything_is_looked_at(env: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--env", env, "--account", "1", "--tariff", "basic", "--days", "30", "--once", "release-1"]
    assert synthetic_purchase.main(given) == 2
    assert "ENV must be local or dev" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["account", "days", "tariff", "once"])
def test_what_is_not_said_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"env": "local", "account": "1", "tariff": "basic", "days": "30", "once": "release-1"} | {name: ""}
    assert synthetic_purchase.main([word for key, value in given.items() for word in (f"--{key}", value)]) == 2
    assert f"{name.upper()} must" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"account_id": 10**6}, "no account"), ({"tariff": "gold"}, "not sold"), ({"days": 31}, "not sold")],
)
async def test_what_can_not_be_bought_is_told(racing_db: Database, changes: dict[str, object], words: str) -> None:
    wanted = Purchase("local", await racing_db.run(meet), "basic", 30, "release-1")
    with pytest.raises(NotHere, match=words):
        await racing_db.run(synthetic.buy, replace(wanted, **changes), PRICES)  # type: ignore[arg-type] # names are checked by replace
    assert await racing_db.run(statuses) == []


async def test_a_purchase_is_given_back_with_its_access(
    racing_db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account = await racing_db.run(meet)
    monkeypatch.setattr(environment, "load", lambda name, **_: Found(database_url, name))
    given = ["--env", "local", "--account", str(account), "--tariff", "basic", "--days", "30", "--once", "release-1"]
    assert (synthetic_purchase.main([*given, "--give-back", "1"]), synthetic_purchase.main(given)) == (0, 0)
    assert "is given back" in capsys.readouterr().out
    (claimed,) = await racing_db.run(refund_requests.claim, ["test"], 10, 60.0)
    answer = await synthetic.GivesBack().give_back(claimed.charge, "c")
    assert answer.news is not None
    assert (await racing_db.run(inbox.receive, answer.news, PRICES)).outcome == "settled"
    held = await racing_db.run(subscriptions.current, account)
    assert held is not None
    assert not held.is_current
    assert await racing_db.run(lambda tx: tx.values("select status from refund_requests")) == ["done"]
