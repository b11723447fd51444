"""The command that takes up a card statement, over a database of its own."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from infra import card_statement, environment
from lib.domain import inbox
from tests.integration.by_the_owner import travel
from tests.integration.domain.test_statements import FEE_MOVE, PRICES, SALE, SUSPENSE, moves, news, open_order
from tests.integration.infra.test_end_suspense import OWNER, Found
from tests.integration.statement_faults import everything

if TYPE_CHECKING:
    from pathlib import Path

    from lib.db import Database, Transaction

HEAD = "kind;id;charge;amount;fee;currency;at"


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "load", lambda name: Found(database_url, name))
    monkeypatch.chdir(tmp_path)


async def run(folder: Path, *rows: str, env: str = "local", more: tuple[str, ...] = ()) -> int:
    (folder / "may.csv").write_text("\n".join((HEAD, *rows)), "utf-8")
    return await main("--env", env, "--file", "may.csv", *more)


async def main(*words: str) -> int:
    """The command has an event loop of its own."""
    by = () if "--operator" in words else ("--operator", str(OWNER))
    return await asyncio.to_thread(card_statement.main, [*words, *by])


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What it said, without the numbers that differ from run to run."""
    return re.sub(r"(event|order) [0-9]+", r"\1 N", capsys.readouterr().out)


def now(tx: Transaction, minutes: int = 0) -> str:
    """As statements write it, in the books' zone, some minutes ago."""
    return str(
        tx.value(
            "select to_char((atlas.now() - make_interval(mins => :minutes)) at time zone books_zone, 'YYYY-MM-DD HH24:MI:SS')"
            " from deployment",
            minutes=minutes,
        )
    )


async def sold(db: Database, person: int, charge: str) -> None:
    order = await db.run(open_order, person)
    assert (await db.run(inbox.receive, news(order, charge), PRICES)).outcome == "settled"


@pytest.mark.proves("N-5.statement")
async def test_a_statement_is_taken_up_once_and_a_broken_line_is_named(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await sold(db, 1, "ch-1")
    at = await db.run(now)
    rows = (
        f"charge;ch-1;;149.00;5.22;RUB;{at}",
        f"charge;ch-2;;0.1+0.2;;RUB;{at}",
        f"payout;po-1;;143.78;;RUB;{at}",
        f"charge;ch-9;;149.00;;RUB;{at}",
    )
    assert await run(tmp_path, *rows) == 3
    said = told(capsys)
    assert "line 3: can't be read: amount '0.1+0.2' is not an amount above zero in whole kopecks" in said
    assert "line 2: charge ch-1: booked, event N\n" in said
    assert "line 4: payout po-1: booked\n" in said
    assert "line 5: charge ch-9: unmatched, event N: no such order\n" in said
    assert "Lines: booked 2, unmatched 1; can't be read 1." in said
    assert "Compared with the books: 3 of 3 lines match." in said
    before = await db.run(moves)
    assert before == [SALE, FEE_MOVE, SUSPENSE, "bank>clearing:card 14378"]
    assert await run(tmp_path, *rows) == 3
    assert "Lines: known 3; can't be read 1." in told(capsys)
    assert await db.run(moves) == before
    assert await run(tmp_path, rows[0], rows[2], rows[3]) == 0


async def test_who_takes_a_statement_up_is_in_the_audit_log_each_time(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also before a line is taken, so one that is killed on its way is known; a dry run leaves nothing."""
    await sold(db, 1, "ch-1")
    row = f"charge;ch-1;;149.00;5.22;RUB;{await db.run(now)}"
    assert await run(tmp_path, row, more=("--dry-run", "1")) == 0
    acts = "select json_build_array(actor, action, subject_kind, length(subject_key), after) from audit_log order by id"
    assert await db.run(lambda tx: tx.values(acts)) == []
    days = ("--from", "2020-01-01", "--to", "2030-01-31")
    for _ in range(2):
        assert await run(tmp_path, row, more=days) == 0
    after = {"provider": "card", "lines": 1, "broken": 0, "from": "2020-01-01", "to": "2030-01-31"}
    assert await db.run(lambda tx: tx.values(acts)) == [[OWNER, "statement.taken", "statement", 64, after]] * 2
    capsys.readouterr()


@pytest.mark.parametrize(
    ("by", "words"),
    [("", "OPERATOR is not given"), ("0", "OPERATOR must be a whole"), ("\u0661\u0667", "OPERATOR must be a whole"),
     (str(OWNER + 1), "18 may not")],
)  # fmt: skip
async def test_who_may_not_takes_no_statement_up(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str, words: str
) -> None:
    before = await db.run(everything)
    row = f"charge;ch-1;;149.00;5.22;RUB;{await db.run(now)}"
    for dry_run in ("0", "1"):
        assert await run(tmp_path, row, more=("--operator", by, "--dry-run", dry_run)) == 2
        assert words in capsys.readouterr().err
    assert await db.run(everything) == before


async def test_refunds_and_their_fees_are_compared_too(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await sold(db, 1, "ch-1")
    at = await db.run(now)
    rows = (
        f"refund;r-1;ch-1;149.00;;RUB;{at}",
        f"fee;f-2;r-1;1.00;;RUB;{at}",
        f"charge;ch-1;;149.00;;RUB;{at}",
        f"fee;f-1;ch-1;5.22;;RUB;{at}",
        f"payout;po-1;;100.00;0.50;RUB;{at}",
    )
    assert await run(tmp_path, *rows) == 0
    said = told(capsys)
    assert "line 2: refund r-1: settled, event N, order N\n" in said
    assert "Compared with the books: 3 of 3 lines match." in said
    assert await run(tmp_path, *rows) == 0
    assert "Lines: known 5; can't be read 0." in told(capsys)


async def test_what_the_books_have_and_the_statement_lacks_is_named(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await sold(db, 1, "ch-1")
    await sold(db, 2, "ch-2")
    await db.run(travel_an_hour)
    day = (await db.run(now))[:10]
    row = f"charge;ch-1;;149.00;;RUB;{await db.run(now, 60)}"
    yesterday = "2020-01-01"
    assert await run(tmp_path, row, more=("--from", yesterday, "--to", "2099-01-01")) == 3
    lacks = "differs: charge ch-2, order N: missing there; the provider says nothing, the books say 149.00 RUB"
    assert lacks in told(capsys)
    assert await run(tmp_path, row, more=("--from", yesterday, "--to", yesterday)) == 0, f"it does not speak of {day}"


async def test_a_dry_run_says_all_of_it_and_changes_nothing(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await sold(db, 1, "ch-1")
    before = await db.run(everything)
    at = await db.run(now)
    rows = (f"charge;ch-9;;149.00;;RUB;{at}", f"fee;f-1;ch-9;5.22;;RUB;{at}", f"charge;ch-1;;148.00;;RUB;{at}")
    assert await run(tmp_path, *rows, more=("--dry-run", "1")) == 3
    said = told(capsys)
    assert "line 2: charge ch-9: unmatched" in said
    assert "line 3: fee f-1: booked" in said
    assert "line 4: charge ch-1: differs, event N: 149.00 RUB are known" in said
    assert "nothing was changed" in said
    assert await db.run(everything) == before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--file", "none.csv"), "none.csv can't be read"),
        (("--file", ""), "FILE is not given"),
        (("--from", "2026-01-01"), "FROM and TO are given together"),
        (("--from", "2026-02-30", "--to", "2026-03-01"), "FROM is no day of the calendar"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "TO is before FROM"),
        (("--dry-run", "yes"), "DRY_RUN must be 1"),
    ],
)
async def test_what_can_not_be_asked_for_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], said: str
) -> None:
    assert await run(tmp_path, more=more) == 2
    assert said in capsys.readouterr().err


async def test_a_file_that_is_no_statement_and_another_environment_change_nothing(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await db.run(everything)
    (tmp_path / "other.csv").write_bytes(b"PK\x03\x04\x00")
    assert await main("--env", "local", "--file", "other.csv") == 2
    assert "the file is no text" in capsys.readouterr().err
    assert await run(tmp_path, "payout;po-1;;1;;RUB;2026-11-30 12:00:00", env="prod") == 2
    assert "belongs to environment local, not prod" in capsys.readouterr().err
    assert await db.run(everything) == before


def travel_an_hour(tx: Transaction) -> None:
    travel(tx, timedelta(hours=1))
