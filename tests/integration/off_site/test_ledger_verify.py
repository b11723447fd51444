"""`make ledger-verify`, the command: what it says, how it ends, and what it never shows (N-62)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from infra import ledger_verify
from lib.off_site import files
from tests.integration.by_the_owner import by_the_owner
from tests.integration.off_site import shop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lib.db import Database
    from tests.integration.off_site.buckets import Bucket

    Command = Callable[..., Awaitable["Done"]]

pytestmark = pytest.mark.proves("N-62")


@dataclass
class Done:
    code: int
    said: str
    complained: str


@pytest.fixture
def command(
    bucket: Bucket, functions_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    settings = bucket.settings
    monkeypatch.setenv("LEDGER_EXPORT_ENDPOINT", settings.endpoint)
    monkeypatch.setenv("LEDGER_EXPORT_KEY", f"{settings.key_id}:{settings.secret}")
    monkeypatch.setenv("BOOKS", functions_url)

    async def run(*arguments: str, source: str = f"s3://{settings.bucket}/{settings.prefix}") -> Done:
        capsys.readouterr()
        code = await asyncio.to_thread(ledger_verify.main, ["--from", source, *arguments])
        told = capsys.readouterr()
        assert settings.secret not in told.out + told.err
        return Done(code, told.out, told.err)

    return run


async def copied(db: Database, bucket: Bucket) -> list[str]:
    await shop.open_days(db)
    await shop.close_all(db)
    await shop.copy_all(db, bucket.store)
    return sorted(await bucket.objects())


@pytest.mark.breaks_invariants
async def test_it_tells_the_books_from_the_bucket_alone_and_compares_them_row_for_row(
    racing_db: Database, bucket: Bucket, command: Command
) -> None:
    names = await copied(racing_db, bucket)
    alone = await command("--wallets")
    assert (alone.code, alone.complained) == (0, "")
    assert re.search(r"clearing:stars +201\.000000000 +0\.000000000 XTR", alone.said)
    assert re.search(r"provider_fees +0\.090000 +0\.000000 USDT", alone.said)
    assert "Customers' wallets: 2, with 702.01 RUB in them." in alone.said
    compared = await command("--against", "BOOKS")
    assert (compared.code, compared.complained) == (0, "")
    assert "Every line is what the books have." in compared.said
    # one row of the books says otherwise now
    await racing_db.run(by_the_owner, "update orders set value = value + 1 where id = (select min(id) from orders)")
    differs = await command("--against", "BOOKS")
    assert (differs.code, differs.said) == (1, "")
    assert re.search(
        r"^BROKEN  days/\S+/orders\.jsonl\.gz, line 1: is not what the books have$", differs.complained, re.MULTILINE
    )
    await racing_db.run(by_the_owner, "update orders set value = value - 1 where id = (select min(id) from orders)")
    # its newest day is gone from the bucket, which the bucket alone can't tell
    newest = max(one for one in names if one.startswith(files.MANIFESTS))
    await bucket.remove(newest)
    assert (await command()).code == 0
    missing = await command("--against", "BOOKS")
    assert (missing.code, newest in missing.complained) == (1, True)


async def test_it_names_what_is_broken_and_says_when_it_could_not_look(
    racing_db: Database, bucket: Bucket, command: Command
) -> None:
    for against in ([], ["--against", "BOOKS"]):
        empty = await command(*against)
        assert (empty.code, empty.said, "there is no day there" in empty.complained) == (1, "", True)
    names = await copied(racing_db, bucket)
    name = next(one for one in names if "entries" in one)
    await bucket.put(name, (await bucket.objects())[name][:-1])
    broken = await command()
    assert (broken.code, broken.complained) == (1, f"BROKEN  {name}: it is not whole\n")
    for arguments, words in (
        (["--against", "postgresql://a:hidden@h/d"], "AGAINST is the name of a variable"),
        (["--against", "NO_SUCH"], "NO_SUCH is not set"),
        (["--known", "abc"], "KNOWN must be"),
    ):
        refused = await command(*arguments)
        assert (refused.code, words in refused.complained) == (2, True)
        assert "hidden" not in refused.complained
    assert (await command(source="http://elsewhere")).code == 2
    away = await command(source="s3://no-such-bucket/atlas")
    assert (away.code, "NoSuchBucket" in away.complained) == (2, True)
