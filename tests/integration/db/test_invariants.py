"""Each invariant is seen to fail, alone, on violations that no constraint keeps out; and its page is the list of them."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib.db import Database
from lib.db.connection import Connection, Timeouts
from lib.db.invariants import declared, queries, violations, violations_in
from lib.domain import audit, messages, provisioning, subscriptions
from lib.domain.provisioning import Answer
from tests.integration import money_watch
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import claim, know_nodes, meet, open_order, pay, start_trial

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lib.db import Transaction
    from sandbox.postgres.server import Postgres

ROOT = Path(__file__).resolve().parents[3]

_PART = re.compile(r"^-- (planted|excused): (.+)$", re.MULTILINE)


def _planted(kind: str) -> list[tuple[str, str]]:
    """(name, statements) of each part of planted.sql."""
    parts = _PART.split((Path(__file__).with_name("planted.sql")).read_text())
    return [(name, sql) for part, name, sql in zip(parts[1::3], parts[2::3], parts[3::3], strict=True) if part == kind]


@dataclass(frozen=True)
class Sound:
    """A small shop in which all holds."""

    url: str
    ids: dict[str, int]

    def found_by_keys(self, statements: str, name: str) -> tuple[list[str], list[str], list[str]]:
        """What an invariant finds in all once these have run; of these keys alone; and of others."""
        one = declared()[name]
        connection = Connection(self.url, application="planted", timeouts=Timeouts(statement_ms=60_000))
        try:
            connection.begin()
            connection.simple(statements.format(**self.ids))
            connection.simple("set constraints all immediate")

            def ask(keys: list[int] | None) -> list[str]:
                _, rows, _ = connection.execute(
                    one.asked(by_keys=keys is not None), {} if keys is None else {"keys": keys}
                )
                return sorted(row[0] for row in rows)

            in_all = ask(None)
            keys = [int(key) for key in in_all]
            others = [key for key in range(200) if key not in keys]
            found = (in_all, ask(keys), ask(others))
            connection.rollback()
            return found
        finally:
            connection.close()

    def violated_after(self, statements: str) -> list[str]:
        """Names of what is violated once these have run under every constraint; nothing stays."""
        connection = Connection(self.url, application="planted", timeouts=Timeouts(statement_ms=60_000))
        try:
            connection.begin()
            connection.simple(statements.format(**self.ids))
            connection.simple("set constraints all immediate")
            found = [one.invariant for one in violations_in(connection)]
            connection.rollback()
            return found
        finally:
            connection.close()


def _confirm(tx: Transaction) -> None:
    for wanted in (True, False):
        for claimed in claim(tx, uuid.UUID(int=1), 100, wanted=wanted):
            answers = [
                Answer(w.subscription_id, w.node_id, w.version, str(w.claimed_by), applied=True, link="l" if w.wanted else None)
                for w in claimed.works
            ]  # fmt: skip
            provisioning.record(tx, claimed.node, answers, None, correlation_id="c")


def _open_shop(tx: Transaction) -> None:
    know_nodes(tx, 2)
    start_trial(tx, 3)
    _confirm(tx)
    travel(tx, timedelta(hours=73))
    subscriptions.expire(tx, 100, "c")
    _confirm(tx)
    start_trial(tx, 1)
    pay(tx, open_order(tx, 2, "basic", 30, "102"))
    _confirm(tx)
    open_order(tx, 4, "basic", 30, "104")
    for number in (1, 2):
        audit.record(
            tx, 1, "flag.set", audit.Subject("flag", "trial"), before=None, after={"n": number}, correlation_id="c"
        )
    gone = meet(tx, 5)
    for key, delivery, status in (("gone", "must", "unreachable"), ("news", "once", "sent")):
        messages.queue(tx, key=key, account_id=gone, kind="receipt" if key == "gone" else "news", params={}, correlation_id="c",
                       delivery=delivery)  # fmt: skip
        tx.execute(
            "update messages set status = :status, finished_at = atlas.now() where key = :key", status=status, key=key
        )
        tx.execute("update outbox set done_at = atlas.now() where id = (select max(id) from outbox)")
    tx.execute("update accounts set unreachable_since = atlas.now() where id = :id", id=gone)


@pytest.fixture(scope="module")
async def sound(postgres: Postgres) -> AsyncIterator[Sound]:
    postgres.create_database("sound", template="atlas_template")
    url = postgres.url("sound")
    money_watch.remove(url)  # what is planted is planted under the constraints alone
    db = Database(url, connections=1, application="shop")
    await db.run(_open_shop)

    def ids(tx: Transaction) -> dict[str, int]:
        of = "select s.id from subscriptions s join accounts a on a.id = s.account_id where a.telegram_id = :person"
        found = {name: tx.value(of, person=person) for name, person in (("trial", 1), ("paid", 2), ("ended", 3))}
        return found | {
            "order": tx.value("select id from orders where status = 'open'"),
            "payment": tx.value("select id from payments"),
        }

    yield Sound(url, await db.run(ids))
    await db.close()
    postgres.drop_database("sound")


@pytest.mark.proves("G-11")
def test_all_holds_in_a_sound_shop(sound: Sound) -> None:
    assert violations(sound.url) == []
    assert None not in sound.ids.values()


@pytest.mark.proves("G-11")
def test_every_invariant_has_a_violation() -> None:
    assert {name for name, _ in _planted("planted")} == queries().keys()


@pytest.mark.proves("G-11")
@pytest.mark.parametrize(("name", "statements"), _planted("planted"))
def test_an_invariant_sees_what_no_constraint_keeps_out(sound: Sound, name: str, statements: str) -> None:
    """The statements run with every constraint and trigger in force: an invariant that repeats one can't be planted."""
    assert sound.violated_after(statements) == [name]


@pytest.mark.parametrize(
    ("name", "statements"), [one for one in _planted("planted") if declared()[one[0]].by is not None]
)
def test_an_invariant_that_is_asked_about_some_things_sees_those_and_no_other(
    sound: Sound, name: str, statements: str
) -> None:
    """As sweep_audit asks; `--only` lines included."""
    in_all, of_them, of_others = sound.found_by_keys(statements, name)
    assert in_all == of_them != []
    assert of_others == []


@pytest.mark.proves("G-11")
@pytest.mark.parametrize(("case", "statements"), _planted("excused"))
def test_what_is_no_violation_is_not_named(sound: Sound, case: str, statements: str) -> None:
    assert sound.violated_after(statements) == [], case


def test_every_invariant_says_in_a_sentence_what_it_means() -> None:
    for name, sql in queries().items():
        assert re.match(r'-- ["A-Z][^\n]+', sql), name


def test_the_page_of_invariants_is_the_list() -> None:
    page = (ROOT / "docs/runbooks/invariant-violated.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|[^|]+\|[^|]+\|[^|]+\|$", page, re.MULTILINE)
    assert listed == list(queries())
