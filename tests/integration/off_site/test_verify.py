"""A changed byte, a missing file, a rewritten day (N-62): the check of a copy names the first thing that is not so."""

from __future__ import annotations

import gzip
import json
import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from lib.db import Database
from lib.off_site import files
from lib.off_site.files import DayFile, Kept, Manifest
from lib.off_site.verify import BrokenError, verify
from lib.settings.plain import StoreSettings
from tests.integration.off_site import shop
from tests.integration.off_site.buckets import Bucket, Objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from tests.integration.databases import Databases

pytestmark = pytest.mark.proves("N-62")


@pytest.fixture(scope="module")
async def copied(databases: Databases, endpoint: str) -> dict[str, bytes]:
    """The objects of a copy, which every test changes in a way of its own."""
    url = databases.take()
    db = Database(url, connections=2, application="copies", guards=False)
    async with httpx.AsyncClient(trust_env=False) as client:
        bucket = Bucket(client, StoreSettings("to-verify", "", endpoint, "us-east-1", "an-id", "a-secret-key"))
        await bucket.make()
        await shop.open_days(db)
        await shop.close_all(db)
        await shop.copy_all(db, bucket.store)
        held = await bucket.objects()
    await db.close()
    databases.give_back(url)
    return held


async def test_every_changed_byte_is_found_and_its_object_named(copied: dict[str, bytes]) -> None:
    """Of each object: one bit turned, cut short, something behind it, gone; and any two of them exchanged."""
    await verify(Objects(copied))
    newest = max(one for one in copied if one.startswith(files.MANIFESTS))
    draw = random.Random(62)  # noqa: S311 -- the order of a test
    for name, body in copied.items():
        at = draw.randrange(len(body))
        turned = body[:at] + bytes([body[at] ^ 1 << draw.randrange(8)]) + body[at + 1 :]
        for changed in (turned, body[: draw.randrange(len(body))], body + b"\n", body + body, None):
            held = {one: text for one, text in copied.items() if one != name}
            if changed is None and name == newest:
                continue  # a shorter copy: see below
            with pytest.raises(BrokenError) as broken:
                await verify(Objects(held if changed is None else held | {name: changed}))
            assert str(broken.value).startswith(name), broken.value
    names = sorted(copied)
    for _ in range(40):
        one, other = draw.sample(names, 2)
        if copied[one] != copied[other]:
            with pytest.raises(BrokenError):
                await verify(Objects(copied | {one: copied[other], other: copied[one]}))


@pytest.mark.full
async def test_every_single_bit_of_a_day_counts(copied: dict[str, bytes]) -> None:
    """But the five bytes of gzip's header that say nothing of what is in it are covered by the hash as well."""
    day = min(one for one in copied if one.startswith(files.MANIFESTS))
    name = json.loads(copied[day])["files"]["entries"]["name"]
    for one in (day, name):
        for at in range(len(copied[one])):
            changed = copied[one][:at] + bytes([copied[one][at] ^ 4]) + copied[one][at + 1 :]
            with pytest.raises(BrokenError, match=re.escape(one)):
                await verify(Objects(copied | {one: changed}))


async def test_without_its_newest_days_it_is_a_shorter_copy_that_another_hash_stands_for(
    copied: dict[str, bytes],
) -> None:
    """Nothing in a store can tell of what was taken off its end: the hash that is kept elsewhere does."""
    whole = await verify(Objects(copied))
    newest = max(one for one in copied if one.startswith(files.MANIFESTS))
    shorter = await verify(Objects({name: body for name, body in copied.items() if name != newest}))
    assert shorter.manifest != whole.manifest
    assert (shorter.days, whole.days) == (whole.days - 1, whole.days)
    await verify(Objects(copied), known=shorter.manifest)
    with pytest.raises(BrokenError, match=f"none of them is {whole.manifest}"):
        await verify(Objects({name: body for name, body in copied.items() if name != newest}), known=whole.manifest)


async def test_an_empty_store_has_no_days() -> None:
    found = await verify(Objects({}))
    assert (found.days, found.last, found.totals, found.wallets) == (0, None, (), {})


def packed(lines: list[bytes]) -> tuple[bytes, Kept]:
    file = DayFile()
    file.add(lines)
    file.finish()
    return b"".join(file._packed), file.kept("")


class Forger:
    """Who may write to the store rewrites a file, its manifest, and, when they care, every later manifest."""

    def __init__(self, held: dict[str, bytes]) -> None:
        self.held = dict(held)
        self.days: list[date] = [files.date_of(one) for one in sorted(held) if one.startswith(files.MANIFESTS)]

    def manifest(self, day: date) -> Manifest:
        return Manifest.read(self.held[files.manifest_name(day)], day)

    def rewrite(self, day: date, kind: str, change: Callable[[list[dict[str, object]]], None]) -> None:
        name = files.file_name(day, kind)
        lines = [json.loads(one) for one in gzip.decompress(self.held[name]).splitlines()]
        change(lines)
        self.held[name], kept = packed([files.line(one) for one in lines])
        manifest = self.manifest(day)
        at = files.KINDS.index(kind)
        whole = (*manifest.files[:at], replace(kept, name=name), *manifest.files[at + 1 :])
        self.write(replace(manifest, files=whole))

    def write(self, manifest: Manifest) -> None:
        self.held[files.manifest_name(manifest.day)] = manifest.to_bytes()

    def chain(self) -> None:
        for before, day in zip(self.days, self.days[1:], strict=False):
            previous = files.sha256_of(self.held[files.manifest_name(before)])
            self.write(replace(self.manifest(day), previous=previous))


def more(lines: list[dict[str, object]]) -> None:
    lines[0]["amount"] = str(int(str(lines[0]["amount"])) + 1)


async def test_a_day_that_was_rewritten_breaks_the_chain(copied: dict[str, bytes]) -> None:
    forger = Forger(copied)
    first, *_ = forger.days
    forger.rewrite(first, "payments", more)
    with pytest.raises(BrokenError, match=rf"manifests/{first}\.json: was changed"):
        await verify(Objects(forger.held))


def another_wallet(lines: list[dict[str, object]]) -> None:
    one = next(one for one in lines if one["credit_account"])
    one["credit_account"] = 99


def from_elsewhere(lines: list[dict[str, object]]) -> None:
    lines[0]["transfer"] = 10**6


def below_zero(lines: list[dict[str, object]]) -> None:
    lines[0]["amount"] = "-5"


def late(lines: list[dict[str, object]]) -> None:
    lines[0]["booked_at"] = "2031-01-01T00:00:00.000000+00:00"


def richer(lines: list[dict[str, object]]) -> None:
    lines[0]["balance"] = str(int(str(lines[0]["balance"])) + 100)


def drop(lines: list[dict[str, object]]) -> None:
    lines.pop()


def wrong_order(lines: list[dict[str, object]]) -> None:
    lines[0], lines[1] = lines[1], lines[0]


def a_name(lines: list[dict[str, object]]) -> None:
    lines[0]["name"] = "Anna"


FORGED = [
    ("entries", more, "the sums of the day of"),
    ("entries", another_wallet, "by the entries, and"),
    ("entries", from_elsewhere, "line 1: it belongs to no transfer"),
    ("entries", below_zero, "line 1: its amount is not above zero"),
    ("entries", drop, "lacks entries"),
    ("transfers", late, "line 1: it is of another day"),
    ("transfers", wrong_order, "line 2: it does not follow the line before"),
    ("transfers", drop, "it belongs to no transfer"),
    ("balances", richer, "by the entries, and"),
    ("balances", drop, "by the entries, and 0 by this file"),
    ("orders", a_name, "line 1: it is not as lines are written"),
]


async def test_a_forged_day_under_a_whole_new_chain_does_not_add_up(copied: dict[str, bytes]) -> None:
    for kind, change, named in FORGED:
        forger = Forger(copied)
        forger.rewrite(forger.days[0], kind, change)
        forger.chain()
        with pytest.raises(BrokenError, match=re.escape(named)):
            await verify(Objects(forger.held))


async def test_other_books_are_no_continuation(copied: dict[str, bytes]) -> None:
    forger = Forger(copied)
    _, second, *_ = forger.days
    forger.write(replace(forger.manifest(second), environment="dev"))
    forger.chain()
    with pytest.raises(BrokenError, match="other books"):
        await verify(Objects(forger.held))


async def test_a_copy_whose_first_days_are_gone_is_none(copied: dict[str, bytes]) -> None:
    first = min(one for one in copied if one.startswith(files.MANIFESTS))
    with pytest.raises(BrokenError, match=rf"{first}: is missing: .* is day 2 of these books"):
        await verify(Objects({name: body for name, body in copied.items() if name != first}))
