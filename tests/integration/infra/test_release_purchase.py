"""The purchase at the end of a deploy: paid, applied, given back with its access; once a release, and what does not come is told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from infra import environment, release_purchase
from infra.deploy import variable_files
from infra.deploy.problems import Refused
from infra.deploy.steps import purchase
from infra.transaction import Session
from lib.db.invariants import violations
from lib.domain import accounts, inbox, refund_requests
from lib.payments import synthetic
from lib.settings import pricelist
from tests.integration.infra.test_end_suspense import OWNER, Found

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction

PRICES = pricelist.load()
_GIVEN = ["--env", "dev", "--release", "abc123"]


class Sweeps:
    """What runs meanwhile in the cloud, whenever the command waits."""

    def __init__(self, url: str, *, gives_back: bool = True, applies: bool = True) -> None:
        self._session = Session(Found(url).connect("owner"))
        self._gives_back, self._applies = gives_back, applies

    def __call__(self, _seconds: float) -> None:
        if self._applies:
            self._session.run(_apply)
        if self._gives_back:
            for claimed in self._session.run(refund_requests.claim, ["test"], 10, 60.0):
                answer = asyncio.run(synthetic.GivesBack().give_back(claimed.charge, "c"))
                assert answer.news is not None
                self._session.run(inbox.receive, answer.news, PRICES)

    def close(self) -> None:
        self._session.close()


def _apply(tx: Transaction) -> None:
    tx.execute(
        "update subscriptions set activation_status = 'active', pending_since = null where activation_status = 'pending'"
    )


def _node(tx: Transaction) -> None:
    tx.execute("insert into nodes (name, api_url, key_name) values ('n1', 'http://127.0.0.1', 'K')")


def _left(tx: Transaction) -> tuple[object, ...]:
    return (
        tx.values("select provider || ' ' || status from orders order by id"),
        tx.values("select status from refund_requests"),
        tx.value("select count(*) from subscriptions where expires_at > atlas.now()"),
        tx.value("select telegram_id from accounts"),
    )


def _prove(url: str, monkeypatch: pytest.MonkeyPatch, sweeps: Callable[[float], None], patience_s: float = 60.0) -> int:
    monkeypatch.setattr(environment, "load", lambda name, **_: Found(url, name))
    return release_purchase.main(_GIVEN, patience_s=patience_s, pause=sweeps)


@pytest.mark.breaks_invariants  # no node applies anything here, it only says so
@pytest.mark.parametrize("nodes", [0, 1])
async def test_it_is_bought_and_given_back_once_a_release(
    racing_db: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    nodes: int,
) -> None:
    await racing_db.run(lambda tx: tx.execute("select 1"))
    _as_dev(database_url)
    if nodes:
        _by_owner(database_url, _node)
    sweeps = Sweeps(database_url, applies=bool(nodes))
    try:
        codes = [await asyncio.to_thread(_prove, database_url, monkeypatch, sweeps) for _ in range(2)]
    finally:
        sweeps.close()
    printed = capsys.readouterr()
    assert codes == [0, 0], printed.err
    assert printed.out.count("is given back, its access with it") == 2
    assert ("there is no node yet" in printed.out) == (nodes == 0)
    assert await racing_db.run(_left) == (["test paid"], ["done"], 0, OWNER)
    assert nodes or violations(database_url) == []


@pytest.mark.breaks_invariants  # as above
@pytest.mark.parametrize(
    ("gives_back", "applies", "words"),
    [(True, False, "no node has it after 0 s"), (False, True, "is not given back after 0 s")],
)
async def test_what_does_not_come_is_told(
    racing_db: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    gives_back: bool,
    applies: bool,
    words: str,
) -> None:
    await racing_db.run(lambda tx: tx.execute("select 1"))
    _as_dev(database_url)
    if not applies:
        _by_owner(database_url, _node)
    sweeps = Sweeps(database_url, gives_back=gives_back, applies=applies)
    try:
        assert await asyncio.to_thread(_prove, database_url, monkeypatch, sweeps, 0.0) == 1
    finally:
        sweeps.close()
    assert words in capsys.readouterr().err


async def test_an_operator_who_is_known_keeps_their_name(
    racing_db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await racing_db.run(lambda tx: accounts.meet(tx, accounts.Person(OWNER, "Olga", "olga", "en")))
    _as_dev(database_url)
    sweeps = Sweeps(database_url)
    try:
        assert await asyncio.to_thread(_prove, database_url, monkeypatch, sweeps) == 0
    finally:
        sweeps.close()
    assert await racing_db.run(lambda tx: tx.value("select first_name || ' ' || language from accounts")) == "Olga en"


def test_prod_is_no_choice(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        release_purchase.main(["--env", "prod", "--release", "x"])
    assert ended.value.code == 2
    assert "prod" in capsys.readouterr().err


async def test_production_calls_no_other_environment_its_own(
    racing_db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable that names another environment's database."""
    await racing_db.run(lambda tx: tx.execute("select 1"))
    assert await asyncio.to_thread(_prove, database_url, monkeypatch, lambda _: None) == 2
    assert "this database belongs to environment local, not dev" in capsys.readouterr().err


def test_the_step_is_none_of_prods_and_needs_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    world = _world("prod", said)
    assert purchase.look(world) is None  # type: ignore[arg-type] # what the step asks of it
    assert "nothing but money" in said[0]
    monkeypatch.setattr(variable_files, "release", lambda _: None)
    with pytest.raises(Refused, match="not known here what runs"):
        purchase.look(_world("dev", said))  # type: ignore[arg-type] # as above


def _world(name: str, said: list[str]) -> SimpleNamespace:
    return SimpleNamespace(environment=name, folder=None, talk=SimpleNamespace(say=said.append))


def _as_dev(url: str) -> None:
    _by_owner(url, lambda tx: tx.execute("update deployment set environment = 'dev'"))


def _by_owner(url: str, work: Callable[[Transaction], object]) -> None:
    session = Session(Found(url).connect("owner"))
    try:
        session.run(work)
    finally:
        session.close()
