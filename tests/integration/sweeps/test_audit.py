"""What must always hold is asked: of what is new each hour, of all each night; what does not hold alarms once a day."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from functions.sweeps import sweep_audit
from lib.db.errors import TooSlow
from lib.domain import audit, invariant_audit
from lib.sweeps.runner import Run
from tests.integration.by_the_owner import by_the_owner, travel
from tests.integration.sweeps.grants import know_nodes, open_order, pay, start_trial
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from lib.db import Database, Transaction

pytestmark = pytest.mark.breaks_invariants

_LATER = timedelta(minutes=invariant_audit.SETTLES_MIN + 1)


class Told:
    """What the sweep logged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        for level in ("info", "error", "exception"):
            monkeypatch.setattr(f"lib.log.{level}", lambda event, **of: self.lines.append((event, of)))

    def violated(self) -> list[tuple[str, str]]:
        """(invariant, key) of each alarm since the last time this was asked."""
        found = [(of["invariant"], of["key"]) for event, of in self.lines if event == "invariant_violated"]
        self.lines.clear()
        return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


@pytest.fixture
def db(processes: Callable[..., list[Database]]) -> Database:
    (one,) = processes(1)
    return one


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int] | None]]:
    """Every question: the invariant, and of which things; None: of all."""
    found: list[tuple[str, list[int] | None]] = []
    real = invariant_audit.violated

    def counted(tx: Transaction, invariant: str, keys: list[int] | None = None) -> list[str]:
        if (invariant, keys) not in found[-1:]:  # the guards run each transaction twice
            found.append((invariant, keys))
        return real(tx, invariant, keys)

    monkeypatch.setattr(invariant_audit, "violated", counted)
    return found


async def _run(db: Database) -> Run:
    run = sweep_run(db, "audit")
    await sweep_audit._work(run)
    assert not run.broken
    return run


def _shop(tx: Transaction) -> None:
    know_nodes(tx, 2)
    start_trial(tx, 1)
    pay(tx, open_order(tx, 2, "basic", 30, "102"))


def _end_of(tx: Transaction, person: int, end: str) -> int:
    found: int = tx.value(
        "update subscriptions s set expires_at = expires_at + cast(:end as interval) from accounts a"
        " where a.id = s.account_id and a.telegram_id = :person returning s.id",
        person=person,
        end=end,
    )
    return found


@pytest.mark.proves("G-11.hourly")
async def test_a_new_violation_is_told_by_the_hour_once_a_day_and_again_on_the_next(db: Database, told: Told) -> None:
    await _run(db)
    await db.run(_shop)
    broken = await db.run(_end_of, 2, "1 day")
    await _run(db)
    assert told.violated() == [], "too young: what belongs to it may be under way"
    await db.run(travel, _LATER)
    await _run(db)
    assert ("end_is_explained", str(broken)) in told.violated()
    await _run(db)
    assert told.violated() == []
    await db.run(travel, timedelta(days=1))
    await _run(db)
    assert ("end_is_explained", str(broken)) in told.violated(), "the night finds it, and it is another day"


@pytest.mark.proves("G-11.hourly")
async def test_an_hour_asks_about_what_it_brought_and_about_nothing_else(
    db: Database, told: Told, asked: list[tuple[str, list[int] | None]]
) -> None:
    await db.run(_shop)
    await db.run(travel, _LATER)
    await _run(db)
    assert told.violated() == []
    asked.clear()
    await _run(db)
    assert [one for one in asked if one[1]] == []
    await db.run(lambda tx: start_trial(tx, 3))
    await db.run(travel, _LATER)
    await _run(db)
    of = await db.run(
        lambda tx: tx.value(
            "select s.id from subscriptions s join accounts a on a.id = s.account_id where a.telegram_id = 3"
        )
    )
    about = {tuple(keys) for invariant, keys in asked if invariant in invariant_audit.by_kind("subscription") and keys}
    assert about == {(of,)}
    whole = {invariant for invariant, keys in asked if keys is None}
    assert whole == set(invariant_audit.asked_whole(hourly=True))


@pytest.mark.proves("G-11.nightly")
async def test_what_changed_without_a_trace_is_found_by_the_night(db: Database, told: Told) -> None:
    await db.run(_shop)
    await db.run(travel, _LATER)
    await _run(db)
    assert told.violated() == []
    broken = await db.run(_end_of, 1, "1 hour")
    await _run(db)
    assert told.violated() == []
    await db.run(travel, timedelta(days=1))
    await _run(db)
    assert ("end_is_explained", str(broken)) in told.violated()


@pytest.mark.proves("G-11.told")
async def test_a_slow_question_hides_no_other_and_is_told(
    db: Database, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.run(_shop)
    broken = await db.run(_end_of, 2, "1 day")
    await db.run(travel, _LATER)
    real = invariant_audit.violated

    def slow(tx: Transaction, invariant: str, keys: list[int] | None = None) -> list[str]:
        if invariant in {"grant_is_explained", "owed_is_what_is_open"}:
            raise TooSlow("57014", None)
        return real(tx, invariant, keys)

    monkeypatch.setattr(invariant_audit, "violated", slow)
    run = sweep_run(db, "audit")
    await sweep_audit._work(run)
    assert run.broken
    unasked = {of["invariant"] for event, of in told.lines if event == "invariant_not_asked"}
    assert unasked == {"grant_is_explained", "owed_is_what_is_open"}
    assert ("end_is_explained", str(broken)) in told.violated()


@pytest.mark.proves("G-11.told")
async def test_many_violations_of_one_kind_are_ten_lines_a_day(db: Database) -> None:
    first = await db.run(invariant_audit.note, "end_is_explained", [str(n) for n in range(8)])
    second = await db.run(invariant_audit.note, "end_is_explained", [str(n) for n in range(30)])
    third = await db.run(invariant_audit.note, "end_is_explained", [str(n) for n in range(100)])
    other = await db.run(invariant_audit.note, "history_is_a_chain", ["1", "1"])
    assert (len(first), len(second), len(third), other) == (8, 2, 0, ["1"])
    assert not set(first) & set(second)


def _acts(tx: Transaction, count: int) -> None:
    for number in range(count):
        audit.record(
            tx, 1, "flag.set", audit.Subject("flag", "trial"), before=None, after={"n": number}, correlation_id="c"
        )


@pytest.mark.proves("G-11.nightly")
async def test_the_chain_of_acts_is_verified_on_from_the_hash_that_was_kept_and_whole_at_night(
    db: Database, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_audit, "_PAGE", 3)
    await db.run(_acts, 7)
    await _run(db)
    assert told.violated() == []
    assert (await db.run(invariant_audit.next_links, None, 3)).upto == 7
    await db.run(by_the_owner, "update audit_log set action = 'role.granted' where id = 2")
    await db.run(_acts, 2)
    await _run(db)
    assert told.violated() == [], "an hour looks at what is new"
    await db.run(travel, timedelta(days=1))
    await _run(db)
    assert told.violated() == [(invariant_audit.CHAIN, "2")]


@pytest.mark.proves("G-11.hourly")
@pytest.mark.parametrize(
    ("change", "names"),
    [
        ("update audit_log set action = 'role.granted' where id = 8", "8"),
        ("delete from audit_log where id = 9", "9"),
        ("delete from audit_log where id = 8", "9"),
        ("update audit_head set last_hash = sha256('x')", "9"),
    ],
    ids=["changed", "last-removed", "removed", "head"],
)
async def test_new_acts_that_are_not_as_they_were_written_are_told_by_the_hour(
    db: Database, told: Told, change: str, names: str
) -> None:
    await db.run(_acts, 7)
    await _run(db)
    await db.run(_acts, 2)
    await db.run(by_the_owner, change)
    told.violated()
    await _run(db)
    assert (invariant_audit.CHAIN, names) in told.violated()


@pytest.mark.proves("G-11.nightly")
async def test_a_walk_that_was_cut_short_goes_on_where_it_stood(
    db: Database, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_audit, "_PAGE", 1)
    await db.run(_shop)
    await db.run(travel, _LATER)
    await _run(db)  # what is new is asked about, and a first night walked through
    await db.run(travel, timedelta(days=1))
    walked: list[tuple[str, int]] = []
    real = invariant_audit.set_mark

    def noted(tx: Transaction, name: str, position: int, night: date | None = None) -> None:
        if name.startswith("all.") and (name, position) not in walked[-1:]:  # the guards run each transaction twice
            walked.append((name, position))
        real(tx, name, position, night)

    monkeypatch.setattr(invariant_audit, "set_mark", noted)
    cuts = 0
    while await db.run(invariant_audit.night_due) is not None:
        run = sweep_run(db, "audit")
        before = len(walked)

        async def few(run: Run = run, before: int = before) -> bool:
            run.more = len(walked) >= before + 3
            return not run.more

        with monkeypatch.context() as cut:
            cut.setattr(Run, "next_page", lambda _, few=few: few())
            await sweep_audit._work(run)
        cuts += run.more
    assert cuts > 2
    assert len(set(walked)) == len(walked), "no page a second time"
    assert {name for name, _ in walked} == {f"all.{kind}" for kind in await _kinds_there_are(db)}
    assert told.violated() == []


async def _kinds_there_are(db: Database) -> set[str]:
    """Kinds of things of which this shop has one."""
    found = set()
    for kind, table in invariant_audit.KINDS.items():
        if await db.run(_any_of, table):
            found.add(kind)
    return found


def _any_of(tx: Transaction, table: str) -> bool:
    there: bool = tx.value(f"select exists (select from {table})")  # noqa: S608 -- words of the module
    return there


@pytest.mark.proves("G-11.told")
def test_every_kind_of_thing_is_walked_and_every_invariant_is_asked_somewhere() -> None:
    from lib.db.invariants import declared

    assert {one.by for one in declared().values() if one.by} == invariant_audit.KINDS.keys()
    somewhere = {name for kind in invariant_audit.KINDS for name in invariant_audit.by_kind(kind)}
    somewhere |= {*invariant_audit.asked_whole(hourly=True), *invariant_audit.asked_whole(hourly=False)}
    assert somewhere | {invariant_audit.CHAIN} == declared().keys()
    touched = {kind for source in invariant_audit.SOURCES for kind in source.keys}
    assert touched == invariant_audit.KINDS.keys(), "what is new of each kind is asked about"
