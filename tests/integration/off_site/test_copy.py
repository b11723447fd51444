"""The books off site (N-62): the same objects, no matter who copies, when and how often; and never another content under a name."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from lib.db import Database
from lib.domain import books, ledger_export
from lib.off_site import files
from lib.off_site.copy import NotCopiedError
from lib.off_site.files import Small
from lib.off_site.verify import verify
from tests.integration.by_the_owner import by_the_owner, travel
from tests.integration.off_site import shop
from tests.integration.off_site.shop import close_all, copy_all, open_days

if TYPE_CHECKING:
    from datetime import date

    from lib.db import Transaction
    from tests.integration.off_site.buckets import Bucket

pytestmark = pytest.mark.proves("N-62")


async def closed_days(db: Database) -> int:
    await open_days(db)
    return len(await close_all(db))


async def test_what_is_copied_is_the_books_and_rebuilds_them(racing_db: Database, bucket: Bucket) -> None:
    days = await closed_days(racing_db)
    assert days >= 3
    assert await copy_all(racing_db, bucket.store) == days
    found = await verify(bucket.store)
    assert found.days == days
    trial = await racing_db.run(books.trial_balance)  # nothing was posted since
    assert {(one.account, one.currency): (one.debit, one.credit) for one in found.totals} == {
        (one.code, one.currency): (one.debit, one.credit) for one in trial
    }
    assert {currency for _, currency in {(one.account, one.currency) for one in found.totals}} == {"RUB", "USDT", "XTR"}
    held = "select account_id || ' ' || code || ' ' || balance from ledger_accounts where balance > 0"
    assert {f"{account} {code} {balance}" for (account, code, _), balance in found.wallets.items()} == set(
        await racing_db.run(lambda tx: tx.values(held))
    )
    counted = "select count(*) from ledger_entries"
    assert found.lines["entries"] == await racing_db.run(lambda tx: tx.value(counted)) > 8
    assert found.lines["orders"] == await racing_db.run(lambda tx: tx.value("select count(*) from orders")) > 5
    assert found.lines["payments"] == await racing_db.run(lambda tx: tx.value("select count(*) from payments")) > 4


async def test_it_tells_of_customers_by_number_alone(racing_db: Database, bucket: Bucket) -> None:
    await closed_days(racing_db)
    await copy_all(racing_db, bucket.store)
    told = b"".join(
        gzip.decompress(body) if name.endswith(".gz") else body for name, body in (await bucket.objects()).items()
    ).decode()
    for secret in (shop.NAME, "sorry", "111222333", "444555666", str(shop.OWNER), "an-id", "a-secret-key"):
        assert secret not in told
    assert '"by_operator":true' in told


async def test_a_second_copy_is_the_first_one_byte_for_byte_whatever_its_pages_and_its_moment(
    racing_db: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first was made day by day, each in its night; the second weeks later, at once, in pages of two."""
    anna = await open_days(racing_db)
    await racing_db.run(travel, timedelta(hours=4))
    first = bucket.elsewhere("first")
    while await racing_db.run(books.close_next_day):
        assert await copy_all(racing_db, first) == 1
    await shop.credit(racing_db, anna, 5)
    await racing_db.run(travel, timedelta(days=30))
    monkeypatch.setattr(ledger_export, "PAGE", 2)
    await copy_all(racing_db, bucket.elsewhere("second"))
    one, other = await bucket.objects("first"), await bucket.objects("second")
    assert len(one) >= 2 * 6
    assert one == other


async def test_a_run_that_is_made_again_writes_nothing(racing_db: Database, bucket: Bucket) -> None:
    """Also when the books forgot that they were copied: restored to a moment before it, say."""
    await closed_days(racing_db)
    await copy_all(racing_db, bucket.store)
    before = await bucket.versions()
    assert len(before) == len(set(before))
    assert await copy_all(racing_db, bucket.store) == 0
    await racing_db.run(by_the_owner, "delete from ledger_exports")
    assert await copy_all(racing_db, bucket.store) >= 3
    assert await bucket.versions() == before


async def test_two_runners_at_once_make_the_objects_of_one(
    racing_db: Database, functions_url: str, bucket: Bucket
) -> None:
    await closed_days(racing_db)
    alone = bucket.elsewhere("alone")
    days = await copy_all(racing_db, alone)
    other = Database(functions_url, connections=2, application="other", guards=True)
    try:
        done = await asyncio.gather(
            *(copy_all(db, bucket.store) for db in (racing_db, other, racing_db, other)), return_exceptions=True
        )
    finally:
        await other.close()
    assert all(isinstance(one, int) and one <= days for one in done), done
    versions = await bucket.versions()
    assert len(versions) == len(set(versions))
    assert await bucket.objects() == await bucket.objects("alone")


async def test_what_another_library_packed_is_the_same_while_its_lines_are(racing_db: Database, bucket: Bucket) -> None:
    """A run of an older image was killed after its first file; a newer one packs otherwise, and goes on with what is there."""
    await closed_days(racing_db)
    await copy_all(racing_db, bucket.elsewhere("first"))
    whole = await bucket.objects("first")
    name = next(one for one in whole if one.endswith("transfers.jsonl.gz"))
    packed_otherwise = gzip.compress(gzip.decompress(whole[name]), compresslevel=1, mtime=1)
    assert packed_otherwise != whole[name]
    await bucket.put(name, packed_otherwise)
    await copy_all(racing_db, bucket.store)
    assert (await bucket.objects())[name] == packed_otherwise
    assert (await verify(bucket.store)).days >= 3


async def test_another_content_under_a_name_is_refused_and_left(racing_db: Database, bucket: Bucket) -> None:
    [first, *_] = await open_and_close(racing_db)
    for kind in (*files.KINDS, "manifest"):
        name = files.manifest_name(first) if kind == "manifest" else files.file_name(first, kind)
        body = b"{}" if kind == "manifest" else gzip.compress(b'{"not":"ours"}\n', mtime=0)
        taken = bucket.elsewhere(kind)
        await taken.put_new(name, Small(body))
        with pytest.raises(NotCopiedError, match="is there with other content"):
            await copy_all(racing_db, taken)
        assert (await bucket.objects(kind))[name] == body
        assert await racing_db.run(ledger_export.newest_copied, taken.address) is None


async def open_and_close(db: Database) -> list[date]:
    await open_days(db)
    return await close_all(db)


async def test_the_chain_goes_on_from_no_manifest_but_the_one_that_was_copied(
    racing_db: Database, bucket: Bucket
) -> None:
    await closed_days(racing_db)
    await copy_all(racing_db, bucket.store)
    newest = await racing_db.run(ledger_export.newest_copied, bucket.store.address)
    assert newest is not None
    name = files.manifest_name(newest.day)
    as_it_was = (await bucket.objects())[name]
    await close_all(racing_db)
    await bucket.remove(name)
    with pytest.raises(NotCopiedError, match=f"{name} is missing"):
        await copy_all(racing_db, bucket.store)
    await bucket.put(name, as_it_was.replace(b'"number":', b'"number": '))
    with pytest.raises(NotCopiedError, match=f"{name} is not what was copied"):
        await copy_all(racing_db, bucket.store)
    await bucket.put(name, as_it_was)
    assert await copy_all(racing_db, bucket.store) >= 1


@pytest.mark.breaks_invariants
async def test_a_day_that_does_not_add_up_is_not_copied(racing_db: Database, bucket: Bucket) -> None:
    [first, *_] = await open_and_close(racing_db)
    await racing_db.run(
        by_the_owner,
        f"update ledger_snapshots set debit = debit + 1 where day = '{first}'",  # noqa: S608 -- a day
    )
    with pytest.raises(NotCopiedError, match="do not come to that day's snapshot"):
        await copy_all(racing_db, bucket.store)
    assert files.manifest_name(first) not in await bucket.objects()


async def test_only_closed_days_go_and_an_order_belongs_to_the_day_it_was_made(
    racing_db: Database, bucket: Bucket
) -> None:
    """An order from before the books' first day goes with that day: it may well be paid on it."""
    anna = await racing_db.run(shop.meet, 5)
    await racing_db.run(shop.open_top_up, anna, 10_000, "cryptobot")
    await shop.a_day_passes(racing_db)
    await racing_db.run(lambda tx: tx.execute("update orders set status = 'expired'"))
    await shop.credit(racing_db, anna, 7)
    assert await copy_all(racing_db, bucket.store) == 0
    [day, *_] = await close_all(racing_db)
    await copy_all(racing_db, bucket.store)
    there = await bucket.objects()
    lines = gzip.decompress(there[files.file_name(day, "orders")]).splitlines()
    assert [json.loads(one)["account"] for one in lines] == [anna]

    def newest(tx: Transaction) -> tuple[int, int]:
        return tx.value("select count(*) from closed_days"), tx.value("select count(*) from ledger_exports")

    closed, copied = await racing_db.run(newest)
    assert closed == copied == len([one for one in there if one.startswith(files.MANIFESTS)])
