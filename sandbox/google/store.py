"""What the stand-in keeps for itself between two calls and two runs: one JSON file, and the bytes of objects beside it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from sandbox.state.private_json import write_private_json

if TYPE_CHECKING:
    from pathlib import Path


class Store:
    """State below `folder`; `save` writes it whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "google.json"
        self._kept: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def table(self, name: str) -> dict[str, Any]:
        """A table of rows by key, to be read and changed in place."""
        found: dict[str, Any] = self._kept.setdefault(name, {})
        return found

    def save(self) -> None:
        """Write it."""
        write_private_json(self._path, self._kept)

    def next(self, name: str) -> int:
        """1, 2, 3, ... of this name."""
        numbers = self.table("numbers")
        numbers[name] = numbers.get(name, 0) + 1
        return int(numbers[name])

    def keep_bytes(self, content: bytes) -> str:
        """Keep an object's bytes; the name to have them back by."""
        name = hashlib.sha256(content).hexdigest()
        place = self._folder / "objects"
        place.mkdir(exist_ok=True, mode=0o700)
        (place / name).write_bytes(content)
        return name

    def kept_bytes(self, name: str) -> bytes:
        """The bytes that were kept under the name."""
        return (self._folder / "objects" / name).read_bytes()
