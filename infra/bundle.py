"""The zip that is uploaded for every function: `python infra/bundle.py OUT.zip`.

The same tree gives the same bytes on every machine, so its hash can name it and an unchanged tree deploys nothing: names
sorted, times and modes fixed, stored and not compressed (two versions of zlib compress differently).

Its requirements.txt is infra/requirements.lock, which `make lock` makes of requirements.txt: the same pins, each with the SHA-256 of
every file of that version, and wheels alone. The buildpack runs `pip install -r requirements.txt`, and pip by itself refuses what
no hash is of as soon as one line has a hash: so an exchanged file never gets into the image, and no package's own code runs while
it is built.
"""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = "requirements.txt"
LOCK = "infra/requirements.lock"
_SINGLE = ("main.py", PINS)
_FOLDERS = ("functions", "lib")
_KINDS = frozenset({".py", ".sql", ".ftl", ".toml", ".json"})
_LEFT_OUT = frozenset({"__pycache__"})
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can say
_MODE = 0o100644
_UNIX = 3
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


class UnknownFileError(Exception):
    """A file lies among what is deployed and no rule says whether it is; the text names it."""


class StaleLockError(Exception):
    """infra/requirements.lock is not of requirements.txt; the text says in what they differ."""


def pins(text: str) -> dict[str, str]:
    """Name, as indexes spell it (PEP 503), and version of every `name==version` that begins a line of a requirements file."""
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in _PIN.findall(text)}


def differences(wanted: str, locked: str) -> list[str]:
    """In what the text of a lock is not of exactly the pins of a requirements file, in words; empty when it is."""
    pinned, held = pins(wanted), pins(locked)
    found = [f"{name} {pinned[name]} is not locked" for name in sorted(pinned.keys() - held.keys())]
    found += [f"{name} {held[name]} is locked and not pinned" for name in sorted(held.keys() - pinned.keys())]
    found += [
        f"{name} is locked as {held[name]} and pinned as {pinned[name]}"
        for name in sorted(pinned.keys() & held.keys())
        if pinned[name] != held[name]
    ]
    # From one pin to the next: its own hashes.
    starts = [match.start() for match in _PIN.finditer(locked)]
    for start, end in zip(starts, [*starts[1:], len(locked)], strict=True):
        if not _HASH.search(locked, start, end):
            found.append(f"{locked[start:end].split(maxsplit=1)[0]} is locked without a hash")
    return found


def names(root: Path = ROOT) -> list[str]:
    """What is deployed, as paths below `root`, sorted.

    Raises:
        UnknownFileError: a file is of no kind that is known to be needed at run time.
        FileNotFoundError: a part is missing.
    """
    found = list(_SINGLE)
    for folder in _FOLDERS:
        for path in (root / folder).rglob("*"):
            if path.is_dir() or _LEFT_OUT & set(path.relative_to(root).parts):
                continue
            name = path.relative_to(root).as_posix()
            if path.suffix not in _KINDS or path.is_symlink():
                raise UnknownFileError(name)
            found.append(name)
    for name in found:
        if not (root / name).is_file():
            raise FileNotFoundError(name)
    return sorted(found)


def build(target: Path, root: Path = ROOT) -> str:
    """Write the zip and return its SHA-256 in hex.

    Raises:
        UnknownFileError, FileNotFoundError: see `names`; nothing is written then.
        StaleLockError: the lock is not of requirements.txt; nothing is written then.
    """
    deployed = names(root)
    lock = root / LOCK
    if not lock.is_file():
        raise FileNotFoundError(LOCK)
    if stale := differences((root / PINS).read_text(), lock.read_text()):
        raise StaleLockError("; ".join(stale))
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as bundle:
        for name in deployed:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = _MODE << 16
            bundle.writestr(entry, (lock if name == PINS else root / name).read_bytes())
    return hashlib.sha256(target.read_bytes()).hexdigest()


def main(arguments: list[str]) -> int:
    """0 and the hash when the zip is written; 1 and a sentence when not; 2 for a wrong call."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python infra/bundle.py OUT.zip\n")
        return 2
    try:
        digest = build(Path(arguments[0]))
    except UnknownFileError as error:
        sys.stderr.write(f"bundle: {error} is neither code nor a {', '.join(sorted(_KINDS))} file: is it deployed?\n")
        return 1
    except FileNotFoundError as error:
        sys.stderr.write(f"bundle: {error} is missing\n")
        return 1
    except StaleLockError as error:
        sys.stderr.write(f"bundle: {LOCK} is not of {PINS}: {error}; make lock makes it anew\n")
        return 1
    sys.stdout.write(f"{digest}  {arguments[0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
