"""`make receipts ENV=... FROM=... TO=...`: what an accountant is told of these days; what was due of them counts as told then."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from infra import environment, transaction
from lib.domain import receipts
from lib.receipts import registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lib.db import Transaction
    from lib.domain.receipts import Line

NAMES = ("from", "to", "out", "form")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MOST_DAYS = 366


class BadArguments(Exception):
    """Nothing was changed; the text says everything that is wrong, one a line."""


class NotWritten(Exception):
    """The receipts count as told, and their file was not written: the same command again writes it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of which days, both included, and where to."""

    environment: str
    first: date
    last: date
    form: str
    path: Path


def main(arguments: list[str] | None = None) -> int:
    """0: written. 1: the database can't be had, or the file can't be written. 2: the days are not over, or what was said can't be."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.write_receipts", description="Write the receipts of some days."
    )
    parser.add_argument("--env", required=True, help="local, dev or prod")
    for name in NAMES:
        parser.add_argument(f"--{name}", default="")
    options = vars(parser.parse_args(arguments))
    try:
        return transaction.exit_code(
            lambda: _write(options),
            nothing="Nothing was changed",
            perhaps="They may count as told",
            again="The same command again writes the same file.",
            refusals=(BadArguments, Refused, receipts.NotOver),
        )
    except NotWritten as error:
        sys.stderr.write(
            f"{error}\nWhat was due of these days counts as told. The same command again, or with another OUT, writes the same file.\n"
        )
        return 1


def _write(options: Mapping[str, str]) -> int:
    wanted = wanted_of(options)
    found = environment.load(wanted.environment)
    lines = transaction.run(found.connect("owner"), told, wanted)
    body = registry.forms()[wanted.form].write(lines)
    _put(wanted.path, body)
    counts = f"receipts: {_count(lines, 'receipt')}, reversals: {_count(lines, 'reversal')}"
    sys.stdout.write(f"{wanted.path}: {counts}, sha256 {hashlib.sha256(body).hexdigest()}\n")
    return 0


class Refused(Exception):
    """This database is not of the environment that was meant: nothing was changed."""


def told(tx: Transaction, wanted: Wanted) -> list[Line]:
    """In the database of the environment that was meant.

    Raises:
        Refused, receipts.NotOver: nothing was changed.
    """
    held = tx.value("select environment from deployment")
    if held != wanted.environment:
        raise Refused(f"this database belongs to environment {held}, not {wanted.environment}")
    return receipts.told(tx, wanted.first, wanted.last)


def wanted_of(options: Mapping[str, str]) -> Wanted:
    """What the words of the command ask for.

    Raises:
        BadArguments: with everything that is wrong.
    """
    problems: list[str] = []
    first, last = (_day(options[name], name.upper(), problems) for name in ("from", "to"))
    forms = registry.forms()
    form = options["form"].strip() or next(iter(forms))
    if form not in forms:
        problems.append(f"FORM must be one of {', '.join(forms)}")
    if first and last and last < first:
        problems.append("TO is before FROM")
    if first and last and (last - first).days >= _MOST_DAYS:
        problems.append(f"at most {_MOST_DAYS} days at once")
    named = options["out"].strip()
    if problems or first is None or last is None:
        raise BadArguments("\n".join(problems))
    path = Path(named or f"receipts-{options['env']}-{first}-{last}{forms[form].SUFFIX}")
    if named.endswith("/") or path.is_dir():
        raise BadArguments(f"OUT: {named or path} is a folder: name a file")
    if not path.parent.is_dir():
        raise BadArguments(f"OUT: there is no folder {path.parent}")
    return Wanted(options["env"], first, last, form, path)


def _day(text: str, name: str, problems: list[str]) -> date | None:
    try:
        if _DAY.fullmatch(text.strip()):
            return date.fromisoformat(text.strip())
    except ValueError:
        pass  # such as 2026-02-30: named below
    problems.append(f"{name} must be a day, such as 2026-01-31")
    return None


def _count(lines: Sequence[Line], kind: str) -> int:
    return sum(line.kind == kind for line in lines)


def _put(path: Path, body: bytes) -> None:
    """All of it or nothing: an accountant never imports half a file."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
            try:
                part.write(body)
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).replace(path)
            except OSError:
                Path(part.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise NotWritten(f"{path} can't be written: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
