"""SIGKILL anywhere while a day is copied (N-62): what follows ends with the objects of a copy that no one disturbed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from lib.domain import ledger_export
from lib.off_site import files
from lib.off_site.verify import verify
from tests.integration.off_site import shop

if TYPE_CHECKING:
    from pathlib import Path

    from lib.db import Database
    from tests.integration.off_site.buckets import Bucket

pytestmark = pytest.mark.proves("N-62")

PLACES = [
    "export.in-put",
    *(f"export.{kind}.{when}" for kind in files.KINDS for when in ("before-put", "after-put")),
    "export.manifest.before-put",
    "export.manifest.after-put",
    "record.in-commit",
    "export.recorded",
]
_FEW = {"export.entries.after-put", "record.in-commit"}


async def copies(url: str, bucket: Bucket, failpoints: Path) -> int:
    """One run of a process of its own; how it ended."""
    settings = bucket.settings
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.off_site.copy_and_die", url),
        env={
            **os.environ,
            "ENVIRONMENT": "local",
            "ATLAS_FAILPOINTS": str(failpoints),
            "LEDGER_EXPORT_URL": f"s3://{settings.bucket}/{settings.prefix}",
            "LEDGER_EXPORT_ENDPOINT": settings.endpoint,
            "LEDGER_EXPORT_KEY": f"{settings.key_id}:{settings.secret}",
        },
    )
    return await process.wait()


async def undisturbed(db: Database, bucket: Bucket) -> dict[str, bytes]:
    await shop.open_days(db)
    await shop.close_all(db)
    await shop.copy_all(db, bucket.elsewhere("undisturbed"))
    return await bucket.objects("undisturbed")


@pytest.mark.parametrize("place", [one if one in _FEW else pytest.param(one, marks=pytest.mark.full) for one in PLACES])
async def test_a_run_that_was_killed_is_ended_by_the_next(
    racing_db: Database, functions_url: str, bucket: Bucket, tmp_path: Path, place: str
) -> None:
    expected = await undisturbed(racing_db, bucket)
    (tmp_path / place).touch()
    assert await copies(functions_url, bucket, tmp_path) == -signal.SIGKILL
    assert not (tmp_path / place).exists()
    # what is there is a part of the whole, and no manifest stands there before its files
    half = await bucket.objects()
    assert half.items() <= expected.items()
    manifests = [one for one in half if one.startswith(files.MANIFESTS)]
    assert len([one for one in half if one not in manifests]) >= len(files.KINDS) * len(manifests)
    assert await copies(functions_url, bucket, tmp_path) == 0
    await as_if_undisturbed(racing_db, bucket, expected)


@pytest.mark.full
async def test_a_run_that_is_killed_at_every_place_ends_so_too(
    racing_db: Database, functions_url: str, bucket: Bucket, tmp_path: Path
) -> None:
    expected = await undisturbed(racing_db, bucket)
    for place in PLACES:
        (tmp_path / place).touch()
        assert await copies(functions_url, bucket, tmp_path) == -signal.SIGKILL
    assert await copies(functions_url, bucket, tmp_path) == 0
    await as_if_undisturbed(racing_db, bucket, expected)


async def as_if_undisturbed(db: Database, bucket: Bucket, expected: dict[str, bytes]) -> None:
    assert await bucket.objects() == expected
    versions = await bucket.versions()
    assert len(versions) == len(set(versions))
    newest = await db.run(ledger_export.newest_copied, bucket.store.address)
    found = await verify(bucket.store)
    assert newest is not None
    assert (newest.day, newest.sha256) == (found.last, found.manifest)
