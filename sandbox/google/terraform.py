"""What Terraform has made, as its state file says: to the stand-in, that is what the cloud holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]


class TerraformState:
    """The resources in a state file, read anew when it changes; nothing while there is none.

    Args:
        path: of `terraform.tfstate`.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._rows: dict[str, list[Row]] = {}

    def of(self, kind: str) -> list[Row]:
        """The attributes of every resource of a type."""
        self._look()
        return self._rows.get(kind, [])

    def named(self, kind: str, name: str, by: str = "name") -> Row | None:
        """The one whose attribute `by` is `name`."""
        return next((row for row in self.of(kind) if row.get(by) == name), None)

    def _look(self) -> None:
        if self._path is None or not self._path.exists():
            self._seen, self._rows = None, {}
            return
        known = self._path.stat()
        seen = (known.st_mtime_ns, known.st_size)
        if seen == self._seen:
            return
        try:
            read = json.loads(self._path.read_text())
        except ValueError:  # it is being written; what was there before still holds
            return
        rows: dict[str, list[Row]] = {}
        for resource in read.get("resources", ()):
            kept = rows.setdefault(resource["type"], [])
            kept += [instance["attributes"] for instance in resource["instances"] if instance.get("attributes")]
        self._seen, self._rows = seen, rows
