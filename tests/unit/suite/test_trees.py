"""The release before is what is recorded, or the tests that need it are skipped by name; in CI they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lib.db import schema
from sandbox.cloud.checkout import HERE
from tests.e2e.releases import trees

if TYPE_CHECKING:
    from pathlib import Path

_LACKING = "0" * 40


@pytest.mark.parametrize("ci", ["", "true", "1"])
def test_a_clone_without_the_commit_is_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    monkeypatch.setattr(trees, "recorded", lambda: _LACKING)
    monkeypatch.setenv("CI", ci)
    kind = pytest.fail.Exception if ci else pytest.skip.Exception
    with pytest.raises(kind, match=f"release before: this clone lacks {_LACKING}"):
        trees.before(tmp_path)


def test_migrations_of_the_release_before_are_as_they_were(tmp_path: Path) -> None:
    """What a database has applied is never edited: it would be refused there, and pass on the empty ones of tests."""
    before = trees.before(tmp_path).root / schema.FOLDER.relative_to(HERE.root)
    numbered = {path.name: path.read_bytes() for path in before.glob("[0-9]*.sql")}
    assert numbered
    assert numbered == {name: (schema.FOLDER / name).read_bytes() for name in numbered}


def test_the_release_after_needs_what_is_planted_there(tmp_path: Path) -> None:
    planted = max(path.name for path in trees.PLANTED.glob("*.sql"))
    after = trees.after(tmp_path).root / schema.FOLDER.relative_to(HERE.root)
    assert max(path.name for path in after.glob("[0-9]*.sql")) == planted
    assert schema.needed() < int(planted[:4])
