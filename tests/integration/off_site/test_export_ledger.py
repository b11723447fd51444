"""`export_ledger` as the scheduler calls it (N-62): off, on, several days owed, a store that is away, and what it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from functions.sweeps import export_ledger
from infra.doctor import money
from infra.doctor.check import WrongError
from lib import bootstrap, function_table, log
from lib.off_site import files, store
from lib.off_site.verify import verify
from lib.settings import plain
from lib.sweeps import runner
from tests.integration.by_the_owner import by_the_owner
from tests.integration.off_site import shop
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from lib.db import Database
    from lib.sweeps.runner import Run
    from tests.integration.off_site.buckets import Bucket

pytestmark = pytest.mark.proves("N-62")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for level in ("info", "warning", "error"):
        monkeypatch.setattr(log, level, lambda event, **fields: found.append((event, fields)))
    return found


@pytest.fixture
def configured(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    settings = bucket.settings
    monkeypatch.setenv("LEDGER_EXPORT_URL", f"s3://{settings.bucket}/{settings.prefix}")
    monkeypatch.setenv("LEDGER_EXPORT_ENDPOINT", settings.endpoint)
    monkeypatch.setenv("LEDGER_EXPORT_KEY", f"{settings.key_id}:{settings.secret}")
    monkeypatch.setattr(bootstrap, "http_client", lambda: bucket.client)
    monkeypatch.setattr(store, "_PAUSE_S", 0.0)
    return bucket


async def run_once(db: Database) -> Run:
    run = sweep_run(db, "export_ledger")
    await export_ledger._work(run)
    return run


async def test_without_a_store_it_is_off(
    racing_db: Database, told: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LEDGER_EXPORT_URL", raising=False)
    await shop.open_days(racing_db)
    await shop.close_all(racing_db)
    run = await run_once(racing_db)
    assert (run.claimed, run.done, run.broken) == (0, 0, 0)
    assert [event for event, _ in told] == ["books_off_site_off"]


async def test_every_day_that_is_owed_goes_and_then_one_a_day(
    racing_db: Database, configured: Bucket, told: list[tuple[str, dict[str, Any]]]
) -> None:
    await shop.open_days(racing_db)
    days = await shop.close_all(racing_db)
    run = await run_once(racing_db)
    assert (run.claimed, run.done, run.broken) == (len(days), len(days), 0)
    assert [fields["day"] for event, fields in told if event == "books_exported"] == [str(day) for day in days]
    assert (await run_once(racing_db)).claimed == 0
    more = await shop.close_all(racing_db)
    assert (await run_once(racing_db)).done == len(more) >= 1
    assert (await verify(configured.store)).last == more[-1]


async def test_a_run_whose_time_is_up_hands_the_next_day_on(racing_db: Database, configured: Bucket) -> None:
    await shop.open_days(racing_db)
    await shop.close_all(racing_db)
    run = sweep_run(racing_db, "export_ledger")
    run.soft_s = -1.0
    await export_ledger._work(run)
    assert (run.more, run.done, await configured.objects()) == (True, 0, {})


async def test_what_can_not_be_copied_is_told_and_the_run_is_none_that_ended_well(
    racing_db: Database, configured: Bucket, told: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.open_days(racing_db)
    first, *_ = await shop.close_all(racing_db)
    await configured.put(files.file_name(first, "entries"), b"not ours")
    run = await run_once(racing_db)
    assert (run.done, run.failed, run.broken) == (0, 1, 1)
    (fields,) = (fields for event, fields in told if event == "books_not_exported")
    assert "is there with other content" in fields["error"]
    monkeypatch.setenv("LEDGER_EXPORT_ENDPOINT", "http://127.0.0.1:9")
    told.clear()
    assert (await run_once(racing_db)).broken == 1
    (fields,) = (fields for event, fields in told if event == "books_not_exported")
    assert "can't be had" in fields["error"]
    assert configured.settings.secret not in str(told)


async def test_the_scheduler_is_told_to_try_again_when_the_store_is_away_and_only_then(
    racing_db: Database, functions_url: str, configured: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another content stays another content: a person looks at it."""
    monkeypatch.setenv("DATABASE_URL", functions_url)
    monkeypatch.setattr(bootstrap, "database", lambda: racing_db)
    plain.database.cache_clear()
    await shop.open_days(racing_db)
    first, *_ = await shop.close_all(racing_db)
    await configured.put(files.file_name(first, "entries"), b"not ours")

    async def answered() -> int:
        answer = await runner._exclusive("export_ledger", runner.Tick("t"), export_ledger._work, None)
        return answer.status_code

    try:
        assert await answered() == 200
        with monkeypatch.context() as away:
            away.setenv("LEDGER_EXPORT_ENDPOINT", "http://127.0.0.1:9")
            assert await answered() == 503
        await configured.remove(files.file_name(first, "entries"))
        assert await answered() == 200
    finally:
        plain.database.cache_clear()
    assert (await verify(configured.store)).first == first
    outcomes = "select outcome || ' ' || coalesce(error, '') from sweep_runs order by id"
    assert await racing_db.run(lambda tx: tx.values(outcomes)) == ["failed items", "failed items", "done "]


async def test_a_store_that_keeps_nothing_is_told_each_time(
    racing_db: Database, configured: Bucket, told: list[tuple[str, dict[str, Any]]]
) -> None:
    await configured.keep_versions("Suspended")
    await shop.open_days(racing_db)
    await shop.close_all(racing_db)
    assert (await run_once(racing_db)).broken == 0
    assert "books_off_site_unprotected" in [event for event, _ in told]


async def test_a_manifest_that_is_gone_is_told_also_when_no_day_is_owed(
    racing_db: Database, configured: Bucket, told: list[tuple[str, dict[str, Any]]]
) -> None:
    await shop.open_days(racing_db)
    days = await shop.close_all(racing_db)
    await run_once(racing_db)
    await configured.remove(files.manifest_name(days[-1]))
    assert (await run_once(racing_db)).broken == 1
    assert told[-1][0] == "books_not_exported"


def test_it_works_its_tick_through_within_the_platforms_time() -> None:
    table = function_table.load()
    soft_s, hard_s = runner.budgets(table.sweep("export_ledger"))
    assert soft_s < hard_s < table.functions["export_ledger"].timeout_s
    assert runner.budgets(table.sweep("expiry")) == (runner.SOFT_BUDGET_S, runner.HARD_LIMIT_S)


class _Rows:
    """A deployment that has settings and a database."""

    def __init__(self, db: Database, settings: dict[str, str]) -> None:
        self._db, self.settings = db, settings

    async def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        def ask(tx: Any) -> list[dict[str, Any]]:
            columns, rows, _ = tx._run(sql, parameters)
            return [dict(zip(columns, row, strict=True)) for row in rows]

        return await self._db.run(ask)


async def test_the_doctor_names_what_is_owed_and_a_store_that_keeps_nothing(
    racing_db: Database, configured: Bucket
) -> None:
    settings = configured.settings
    url = {
        "LEDGER_EXPORT_URL": f"s3://{settings.bucket}/{settings.prefix}",
        "LEDGER_EXPORT_ENDPOINT": settings.endpoint,
    }

    async def look(given: dict[str, str]) -> str:
        deployment: Any = _Rows(racing_db, given)
        return await money.books_off_site(deployment)

    assert "no store is configured" in await look({})
    assert await look(url) == "no day is closed yet"
    await shop.open_days(racing_db)
    days = await shop.close_all(racing_db)
    assert await look(url) == "nothing is copied yet"  # they closed this moment
    await racing_db.run(by_the_owner, "update closed_days set closed_at = closed_at - interval '27 hours'")
    with pytest.raises(
        WrongError, match=f"{len(days)} closed days are owed, the first {days[0]}; nothing was copied yet"
    ):
        await look(url)
    await run_once(racing_db)
    assert await look(url) == f"up to {days[-1]}, versioned"
    await racing_db.run(by_the_owner, "update ledger_exports set protection = 'none'")
    with pytest.raises(WrongError, match="neither versions nor object lock"):
        await look(url)
