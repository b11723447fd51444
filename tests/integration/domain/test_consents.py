from __future__ import annotations

from typing import TYPE_CHECKING

from lib.domain import consents
from lib.domain.consents import Kind

if TYPE_CHECKING:
    import pytest

    from lib.db import Database, Transaction

ANNA = 100


def rows(tx: Transaction) -> list[tuple[str, int, bool]]:
    written = tx.values("select jsonb_build_array(kind, version, accepted) from consents order by id")
    return [tuple(row) for row in written]


async def test_each_consent_stands_by_itself_and_a_refusal_is_kept_without_an_account(db: Database) -> None:
    assert await db.run(consents.answered, ANNA, Kind.DATA) is None
    await db.run(lambda tx: consents.answer(tx, ANNA, Kind.DATA, accepted=False))
    assert await db.run(consents.answered, ANNA, Kind.DATA) is False
    assert await db.run(consents.answered, ANNA, Kind.TERMS) is None
    assert await db.run(lambda tx: tx.value("select count(*) from accounts")) == 0
    for _ in range(2):  # the same answer again is no news
        await db.run(lambda tx: consents.answer(tx, ANNA, Kind.DATA, accepted=True))
    await db.run(lambda tx: consents.answer(tx, ANNA, Kind.TERMS, accepted=True))
    assert await db.run(consents.answered, ANNA, Kind.DATA) is True
    assert await db.run(rows) == [("data", 1, False), ("data", 1, True), ("terms", 1, True)]


async def test_a_new_text_is_asked_about_anew(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await db.run(lambda tx: consents.answer(tx, ANNA, Kind.TERMS, accepted=True))
    monkeypatch.setitem(consents.VERSIONS, Kind.TERMS, 2)
    assert await db.run(consents.answered, ANNA, Kind.TERMS) is None
    await db.run(lambda tx: consents.answer(tx, ANNA, Kind.TERMS, accepted=True))
    assert await db.run(consents.answered, ANNA, Kind.TERMS) is True
    assert await db.run(rows) == [("terms", 1, True), ("terms", 2, True)]
