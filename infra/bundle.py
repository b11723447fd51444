"""The zip that is uploaded for every function: `python infra/bundle.py OUT.zip`.

The same tree gives the same bytes on every machine, so its hash can name it and an unchanged tree deploys nothing: names
sorted, times and modes fixed, stored and not compressed (two versions of zlib compress differently).
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_SINGLE = ("main.py", "requirements.txt")
_FOLDERS = ("functions", "lib")
_KINDS = frozenset({".py", ".sql", ".ftl", ".toml", ".json"})
_LEFT_OUT = frozenset({"__pycache__"})
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can say
_MODE = 0o100644
_UNIX = 3


class UnknownFileError(Exception):
    """A file lies among what is deployed and no rule says whether it is; the text names it."""


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
    """
    deployed = names(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as bundle:
        for name in deployed:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = _MODE << 16
            bundle.writestr(entry, (root / name).read_bytes())
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
    sys.stdout.write(f"{digest}  {arguments[0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
