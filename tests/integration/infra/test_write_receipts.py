"""The command that writes receipts, over a database of its own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from infra import environment, write_receipts
from tests.integration.domain.test_receipts import give_back, later, rows, sold, today
from tests.integration.infra.test_end_suspense import Found

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from lib.db import Database


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "load", lambda name: Found(database_url, name))
    monkeypatch.chdir(tmp_path)


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def run(first: date | str, last: date | str, *more: str, env: str = "local") -> int:
    return write_receipts.main(["--env", env, "--from", str(first), "--to", str(last), *more])


async def test_it_writes_the_days_once_and_the_same_again(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await sold(db)
    day, over = await later(db)
    assert run(day, over) == 0
    path = tmp_path / f"receipts-local-{day}-{over}.csv"
    written = path.read_bytes()
    assert written.decode("utf-8-sig").splitlines()[1].startswith("receipt;")
    assert "receipts: 1, reversals: 0, sha256 " in capsys.readouterr().out
    assert await db.run(rows) == ["issued 14900"]
    back = await db.run(today)
    await db.run(give_back)
    _, over_then = await later(db)
    assert run(day, over, "--out", "again.csv") == 0
    assert (tmp_path / "again.csv").read_bytes() == written
    assert run(back, over_then, "--out", "back.csv") == 0
    (reversal,) = (tmp_path / "back.csv").read_bytes().decode("utf-8-sig").splitlines()[1:]
    assert reversal.startswith("reversal;")
    assert ";-149.00;RUB;" in reversal
    assert names(tmp_path) == sorted([path.name, "again.csv", "back.csv"])


async def test_days_that_are_not_over_and_another_environment_change_nothing(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await sold(db)
    day = await db.run(today)
    assert run(day, day) == 2
    assert "is not over" in capsys.readouterr().err
    day, over = await later(db)
    assert run(day, over, env="prod") == 2
    assert "belongs to environment local" in capsys.readouterr().err
    assert (names(tmp_path), await db.run(rows)) == ([], ["due 14900"])


async def test_a_file_that_can_not_be_written_is_written_by_the_same_command_again(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await sold(db)
    day, over = await later(db)
    name = "x" * 250  # the name of the part beside it is too long
    assert run(day, over, "--out", name) == 1
    complained = capsys.readouterr().err
    assert f"{name} can't be written" in complained
    assert "counts as told" in complained
    assert names(tmp_path) == []
    assert run(day, over, "--out", "another.csv") == 0
    assert len((tmp_path / "another.csv").read_bytes().splitlines()) == 2


@pytest.mark.parametrize("named", ["taken", "taken/", "new/", "."])
async def test_a_folder_is_refused_before_anything_counts_as_told(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    await sold(db)
    day, over = await later(db)
    (tmp_path / "taken").mkdir()
    assert run(day, over, "--out", named) == 2
    assert f"OUT: {named} is a folder: name a file" in capsys.readouterr().err
    assert (names(tmp_path), await db.run(rows)) == (["taken"], ["due 14900"])


@pytest.mark.parametrize(
    ("first", "last", "more", "said"),
    [
        ("2026-02-30", "2026-03-01", [], "FROM must be a day"),
        ("", "x", [], "TO must be a day"),
        ("\u0662\u0660\u0662\u0666-01-01", "2026-01-01", [], "FROM must be a day"),
        ("2026-03-01", "2026-02-01", [], "TO is before FROM"),
        ("2024-01-01", "2026-02-01", [], "at most 366 days at once"),
        ("9999-12-31", "9999-12-31", [], "is not over"),
        ("2026-01-01", "2026-01-01", ["--form", "xml"], "FORM must be one of csv"),
        ("2026-01-01", "2026-01-01", ["--out", "no/such/folder.csv"], "there is no folder no/such"),
    ],
)
def test_what_can_not_be_asked_for_is_told(
    capsys: pytest.CaptureFixture[str], first: str, last: str, more: list[str], said: str
) -> None:
    assert run(first, last, *more) == 2
    assert said in capsys.readouterr().err


async def test_days_without_receipts_are_a_file_without_lines(db: Database, tmp_path: Path) -> None:
    day = await db.run(today) - timedelta(days=9)
    assert run(day, day, "--out", "none.csv") == 0
    assert len((tmp_path / "none.csv").read_bytes().splitlines()) == 1
