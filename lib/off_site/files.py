"""The objects of one day: what their lines, bytes and names are (docs/books-off-site.md).

The same rows make the same lines, and the same lines the same bytes: gzip without a time, at one level, by one library. Should that
library ever pack otherwise, the hash of the lines says that nothing else changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from lib import json_reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

FORMAT: Final = 1
KINDS: Final = ("transfers", "entries", "payments", "orders", "balances")
MANIFESTS: Final = "manifests"
"""The folder of the manifests: a day whose manifest is there is copied whole."""
MANIFEST_LIMIT: Final = 4 * 1024 * 1024
_LEVEL: Final = 6
_GZIP: Final = 16 + zlib.MAX_WBITS  # zlib's own header: no name, no time
_CHUNK: Final = 256 * 1024
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_AMOUNT = re.compile(r"0|-?[1-9][0-9]{0,60}", re.ASCII)


class BadManifestError(Exception):
    """It is no manifest of this format; the text says why."""


def file_name(day: date, kind: str) -> str:
    """Of a day's lines of one kind."""
    return f"days/{day}/{kind}.jsonl.gz"


def manifest_name(day: date) -> str:
    """Of what says which files a day has."""
    return f"{MANIFESTS}/{day}.json"


def line(fields: Mapping[str, object]) -> bytes:
    """One object, its names in order, ASCII alone."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Kept:
    """A file as a manifest has it.

    Attributes:
        bytes, sha256: of the object.
        lines, lines_sha256: of what is in it.
    """

    name: str
    bytes: int
    sha256: str
    lines: int
    lines_sha256: str


@dataclass(frozen=True, slots=True)
class Sum:
    """What an account of the chart had moved in one currency, minor units; of wallets, all customers' together."""

    account: str
    currency: str
    debit: int
    credit: int


class DayFile:
    """Lines as they are packed, which is all that is kept of them: a tenth. `finish` it before it is read."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._bytes_sha256, self._lines_sha256 = hashlib.sha256(), hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size, self.lines = 0, 0

    def add(self, lines: Iterable[bytes]) -> None:
        """Append them."""
        for one in lines:
            self._lines_sha256.update(one)
            self.lines += 1
            self._write(self._packer.compress(one))

    def finish(self) -> None:
        """There are no more."""
        self._write(self._packer.flush())

    def _write(self, packed: bytes) -> None:
        if packed:
            self._packed.append(packed)
            self._bytes_sha256.update(packed)
            self._md5.update(packed)
            self.size += len(packed)

    @property
    def sha256(self) -> str:
        """Of the object."""
        return self._bytes_sha256.hexdigest()

    @property
    def md5_base64(self) -> str:
        """Of the object."""
        return base64.b64encode(self._md5.digest()).decode()

    def kept(self, name: str) -> Kept:
        """What the manifest says of it."""
        return Kept(name, self.size, self.sha256, self.lines, self._lines_sha256.hexdigest())

    async def chunks(self) -> AsyncIterator[bytes]:
        """The object, from its beginning each time."""
        for packed in self._packed:
            yield packed


class Small:
    """A few bytes to write."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.size, self.sha256 = len(body), sha256_of(body)
        self.md5_base64 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of them at once."""
        yield self._body


def sha256_of(body: bytes) -> str:
    """Hexadecimal."""
    return hashlib.sha256(body).hexdigest()


class Unpacker:
    """Lines out of an object as it comes; counts and hashes what it sees."""

    def __init__(self, longest: int = 1024 * 1024) -> None:
        self._zip = zlib.decompressobj(_GZIP)
        self._longest = longest
        self._rest = b""
        self._bytes_sha256, self._lines_sha256 = hashlib.sha256(), hashlib.sha256()
        self._size, self._lines = 0, 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that a further chunk completes.

        Raises:
            ValueError: it is not packed so, or a line does not end.
        """
        self._size += len(chunk)
        self._bytes_sha256.update(chunk)
        if self._zip.eof and chunk:
            raise ValueError("something follows its end")
        while chunk:
            try:
                self._rest += self._zip.decompress(chunk, _CHUNK)
            except zlib.error:
                raise ValueError("it can't be unpacked") from None
            chunk = self._zip.unconsumed_tail
            *whole, self._rest = self._rest.split(b"\n")
            for one in whole:
                self._lines += 1
                self._lines_sha256.update(one + b"\n")
                yield one + b"\n"
            if len(self._rest) > self._longest:
                raise ValueError("a line does not end")
        if self._zip.unused_data:
            raise ValueError("something follows its end")

    def kept(self, name: str) -> Kept:
        """What was seen.

        Raises:
            ValueError: it is not whole.
        """
        if not self._zip.eof or self._rest:
            raise ValueError("it is not whole")
        return Kept(name, self._size, self._bytes_sha256.hexdigest(), self._lines, self._lines_sha256.hexdigest())


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a day is.

    Attributes:
        environment, zone: of the books.
        number: 1 for their first day.
        previous: sha256 of the manifest of the day before; None for the first day.
        moved: what each account moved on that day.
        totals: and from the first day to its end.
    """

    environment: str
    zone: str
    day: date
    number: int
    previous: str | None
    files: tuple[Kept, ...]
    moved: tuple[Sum, ...]
    totals: tuple[Sum, ...]

    def to_bytes(self) -> bytes:
        """The object; `check` is the hash of it without `check`, so that a slip shows in the newest one too, which none follows."""
        said = self._said()
        return line(said | {"check": hashlib.sha256(line(said)).hexdigest()})

    def _said(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "environment": self.environment,
            "zone": self.zone,
            "day": self.day.isoformat(),
            "number": self.number,
            "previous": self.previous,
            "files": {kind: asdict(kept) for kind, kept in zip(KINDS, self.files, strict=True)},
            "moved": [_sum_said(one) for one in self.moved],
            "totals": [_sum_said(one) for one in self.totals],
        }

    @classmethod
    def read(cls, body: bytes, day: date) -> Manifest:
        """The manifest of a day, by its bytes alone.

        Raises:
            BadManifestError: it is none, of another day, or not as it is written.
        """
        try:
            said = json_reader.read_object(body)
            made = cls(
                environment=_text(said["environment"]),
                zone=_text(said["zone"]),
                day=day,
                number=_count(said["number"]),
                previous=None if said["previous"] is None else _hash(said["previous"]),
                files=tuple(_kept_read(said["files"][kind]) for kind in KINDS),
                moved=tuple(_sum_read(one) for one in said["moved"]),
                totals=tuple(_sum_read(one) for one in said["totals"]),
            )
        except json_reader.UnreadableJson as error:
            raise BadManifestError(f"it can't be read: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadManifestError("it is no manifest of this format") from None
        if made.to_bytes() != body:
            raise BadManifestError("it is not as it was written: a byte of it was changed, or it is of another day")
        return made


def date_of(name: str) -> date:
    """The day of a manifest, by its name.

    Raises:
        ValueError: it is no manifest's name.
    """
    day = name.removeprefix(f"{MANIFESTS}/").removesuffix(".json")
    if not _DAY.fullmatch(day) or name != f"{MANIFESTS}/{day}.json":
        raise ValueError("no manifest's name")
    return date.fromisoformat(day)


def _sum_said(one: Sum) -> dict[str, str]:
    # as text: half of all readers of JSON take a number for a float
    return {"account": one.account, "currency": one.currency, "debit": str(one.debit), "credit": str(one.credit)}


def _sum_read(said: Mapping[str, Any]) -> Sum:
    return Sum(_text(said["account"]), _text(said["currency"]), amount(said["debit"]), amount(said["credit"]))


def _kept_read(said: Mapping[str, Any]) -> Kept:
    return Kept(
        _text(said["name"]),
        _count(said["bytes"]),
        _hash(said["sha256"]),
        _count(said["lines"]),
        _hash(said["lines_sha256"]),
    )


def amount(said: object) -> int:
    """Minor units, as a line has them. Raises: ValueError."""
    if not isinstance(said, str) or not _AMOUNT.fullmatch(said):
        raise ValueError("no amount")
    return int(said)


def _text(said: object) -> str:
    if not isinstance(said, str):
        raise TypeError("no text")
    return said


def _count(said: object) -> int:
    if not isinstance(said, int) or isinstance(said, bool) or said < 0:
        raise ValueError("no count")
    return said


def _hash(said: object) -> str:
    if not isinstance(said, str) or not _HASH.fullmatch(said):
        raise ValueError("no hash")
    return said
