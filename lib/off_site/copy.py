"""One closed day is copied: its files first, its manifest last. Who does it, when and how often makes no difference: the same objects.

Nothing is held while the store is waited for: a page of rows is a transaction of its own. A day does not change once it is closed, so
the pages fit together. What stands under a name stays: it is the same, or the copy is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lib import failpoints
from lib.domain import ledger_export
from lib.domain.ledger_export import Copied
from lib.off_site import files
from lib.off_site.files import BadManifestError, DayFile, Kept, Manifest, Sum, Unpacker
from lib.off_site.store import NotThereError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from lib.db import Database
    from lib.domain.ledger_export import Due
    from lib.off_site.store import Store

WALLETS = ("user:topped_up", "user:earned")


class NotCopiedError(Exception):
    """The day can't be copied, and no repetition helps; the text says why."""


class _Alive(Protocol):
    async def __call__(self) -> None:
        """Show that this runner lives, while it works on one day."""


@dataclass(slots=True)
class _Reader:
    """Reads a day out of the books, and adds up what passes.

    Attributes:
        moved: by account and currency, the debits and the credits of its entries.
        balance: what its balances come to.
    """

    db: Database
    due: Due
    alive: _Alive
    moved: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    balance: int = 0

    async def fill(self, file: DayFile, kind: str) -> None:
        """All lines of one kind."""
        after: tuple[Any, ...] = ()
        while True:
            page = await self.db.run(ledger_export.READERS[kind], self.due, after)
            for line in page.lines:
                if kind == "entries":
                    add_entry(self.moved, line)
                elif kind == "balances":
                    self.balance += int(line["balance"])
            await asyncio.to_thread(file.add, [files.line(line) for line in page.lines])
            await self.alive()
            if page.is_last:
                return
            after = page.last


def add_entry(sums: dict[tuple[str, str], list[int]], line: Mapping[str, Any]) -> None:
    """Add an entry's line to the sums of its accounts.

    Raises:
        ValueError: its amount is none.
        KeyError: it is no entry.
    """
    amount, currency = files.amount(line["amount"]), line["currency"]
    sums.setdefault((line["debit"], currency), [0, 0])[0] += amount
    sums.setdefault((line["credit"], currency), [0, 0])[1] += amount


def listed(by_account: dict[tuple[str, str], list[int]]) -> tuple[Sum, ...]:
    """Sums in the order of a manifest: by currency, then by account."""
    found = [Sum(account, currency, *sums) for (account, currency), sums in by_account.items()]
    return tuple(sorted(found, key=lambda one: (one.currency, one.account)))


def with_more(before: tuple[Sum, ...], moved: tuple[Sum, ...]) -> tuple[Sum, ...]:
    """What had moved before, and what moved since."""
    sums: dict[tuple[str, str], list[int]] = {}
    for one in (*before, *moved):
        both = sums.setdefault((one.account, one.currency), [0, 0])
        both[0] += one.debit
        both[1] += one.credit
    return listed(sums)


async def copy_day(db: Database, store: Store, due: Due, protection: str, alive: _Alive) -> Copied:
    """Copy a closed day, and record that it is copied.

    Args:
        db: where pages are read.
        store: where to.
        due: the day, as `ledger_export.due` gives it.
        protection: what the store said of itself.
        alive: is called now and then.

    Raises:
        NotCopiedError: other content stands under a name, the day before is not there as it was copied, or the day does not add up.
        StoreError: the store can't be had, or refuses.
    """
    before = await _manifest_before(store, due)
    reader, kept = _Reader(db, due, alive), []
    for kind in files.KINDS:
        file = DayFile()
        await reader.fill(file, kind)
        file.finish()
        failpoints.reach(f"export.{kind}.before-put")
        kept.append(await _put(store, files.file_name(due.day, kind), file, alive))
        failpoints.reach(f"export.{kind}.after-put")
    moved = listed(reader.moved)
    totals = with_more(before.totals if before else (), moved)
    await _adds_up(db, due, totals, reader.balance)
    manifest = Manifest(
        environment=due.environment,
        zone=due.zone,
        day=due.day,
        number=due.number,
        previous=due.previous.sha256 if due.previous else None,
        files=tuple(kept),
        moved=moved,
        totals=totals,
    )
    copied = Copied(due.day, await _put_manifest(store, manifest))
    failpoints.reach("export.manifest.after-put")
    try:
        await db.run(ledger_export.record, store.address, copied, protection)
    except ledger_export.OtherManifest:
        raise NotCopiedError(f"{due.day} is recorded as copied with another manifest") from None
    failpoints.reach("export.recorded")
    return copied


async def _manifest_before(store: Store, due: Due) -> Manifest | None:
    """The manifest of the day before, which must be there as it was copied: the chain goes on from no other."""
    if due.previous is None:
        return None
    name = files.manifest_name(due.previous.day)
    body = await read_whole(store.chunks(name), name)
    if body is None:
        raise NotCopiedError(f"{name} is missing, which was copied")
    if Copied(due.previous.day, files.sha256_of(body)) != due.previous:
        raise NotCopiedError(f"{name} is not what was copied")
    try:
        return Manifest.read(body, due.previous.day)
    except BadManifestError as error:
        raise NotCopiedError(f"{name}: {error}") from None


async def _adds_up(db: Database, due: Due, totals: tuple[Sum, ...], balance: int) -> None:
    """What was copied so far is what the day's snapshot says, and customers have what their wallets say."""
    snapshot = {
        (one.code, one.currency): [int(one.debit), int(one.credit)]
        for one in await db.run(ledger_export.totals, due.day)
    }
    if listed(snapshot) != totals:
        raise NotCopiedError(f"the entries up to {due.day} do not come to that day's snapshot")
    if sum(one.credit - one.debit for one in totals if one.account in WALLETS) != balance:
        raise NotCopiedError(f"the balances of {due.day} do not come to what wallets had moved")


async def _put(store: Store, name: str, file: DayFile, alive: _Alive) -> Kept:
    """The file as it stands under its name now: this one, or the one that is there with the same lines."""
    wanted = file.kept(name)
    content = _Watched(file, alive)
    if not await store.exists(name) and await store.put_new(name, content):
        return wanted
    unpacker = Unpacker()
    try:
        async for chunk in store.chunks(name):
            await asyncio.to_thread(_drain, unpacker, chunk)
            await alive()
        found = unpacker.kept(name)
    except ValueError as error:
        raise NotCopiedError(f"{name} is there with other content: {error}") from None
    if found.lines_sha256 != wanted.lines_sha256:
        raise NotCopiedError(f"{name} is there with other content")
    return found


def _drain(unpacker: Unpacker, chunk: bytes) -> None:
    for _ in unpacker.feed(chunk):
        pass


async def _put_manifest(store: Store, manifest: Manifest) -> str:
    name, body = files.manifest_name(manifest.day), manifest.to_bytes()
    failpoints.reach("export.manifest.before-put")
    if await store.exists(name) or not await store.put_new(name, files.Small(body)):
        there = await read_whole(store.chunks(name), name)
        if there != body:
            raise NotCopiedError(f"{name} is there with other content")
    return files.sha256_of(body)


async def read_whole(chunks: AsyncIterator[bytes], name: str) -> bytes | None:
    """A manifest; None when it is not there.

    Raises:
        StoreError: the store can't be had; or it is too long to be one.
    """
    body = bytearray()
    async with contextlib.aclosing(chunks) as reading:  # type: ignore[type-var]
        try:
            async for chunk in reading:
                body += chunk
                if len(body) > files.MANIFEST_LIMIT:
                    raise StoreError(f"{name} is longer than any manifest")
        except NotThereError:
            return None
    return bytes(body)


class _Watched:
    """A file that shows with each chunk that goes out that its runner lives: a large one takes longer than the lock waits."""

    def __init__(self, file: DayFile, alive: Callable[[], Awaitable[None]]) -> None:
        self._file, self._alive = file, alive

    @property
    def size(self) -> int:
        return self._file.size

    @property
    def sha256(self) -> str:
        return self._file.sha256

    @property
    def md5_base64(self) -> str:
        return self._file.md5_base64

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._file.chunks():
            await self._alive()
            failpoints.reach("export.in-put")
            yield chunk


async def last_copied_is_there(store: Store, copied: Copied) -> None:
    """The newest manifest that was recorded stands in the store as it was.

    Raises:
        NotCopiedError: it does not.
        StoreError
    """
    name = files.manifest_name(copied.day)
    body = await read_whole(store.chunks(name), name)
    if body is None:
        raise NotCopiedError(f"{name} is missing, which was copied")
    if Copied(copied.day, files.sha256_of(body)) != copied:
        raise NotCopiedError(f"{name} is not what was copied")
