"""The bundle: the same bytes from the same tree, and exactly what a function needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from infra import bundle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is deployed, with other times and modes than the original's."""
    root = tmp_path / "tree"
    for name in bundle.names():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.ROOT / name, root / name)
        os.utime(root / name, (1_000_000_000, 1_000_000_000))
        (root / name).chmod(0o640)
    return root


def test_the_same_tree_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    first, second, command = (tmp_path / name for name in ("1.zip", "2.zip", "3.zip"))
    assert bundle.build(first) == bundle.build(second, tree)
    subprocess.run([sys.executable, bundle.ROOT / "infra" / "bundle.py", command], check=True, capture_output=True)
    assert first.read_bytes() == second.read_bytes() == command.read_bytes()


def test_another_tree_gives_others(tree: Path, tmp_path: Path) -> None:
    before = bundle.build(tmp_path / "1.zip", tree)
    (tree / "lib" / "texts" / "en.ftl").write_text("other = text\n")
    assert bundle.build(tmp_path / "2.zip", tree) != before


def test_it_holds_what_is_deployed_and_nothing_else(tmp_path: Path) -> None:
    bundle.build(tmp_path / "bundle.zip")
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(set(names))
    assert {name.split("/")[0] for name in names} == {"main.py", "requirements.txt", "functions", "lib"}
    assert not [name for name in names if "__pycache__" in name or "/." in name or name.startswith(("/", "."))]
    assert {"functions/table.json", "lib/texts/ru.ftl", "lib/db/migrations/0001_pre_core.sql"} <= set(names)
    assert {"lib/domain/pricelist.toml", "lib/db/invariants.sql"} <= set(names)
    assert {(entry.date_time, entry.external_attr >> 16, entry.create_system) for entry in entries} == {
        ((1980, 1, 1, 0, 0, 0), 0o100644, 3)
    }


@pytest.mark.parametrize("stray", ["lib/notes.md", "lib/db/dump.sqlite3", "functions/.env", "lib/key.pem"])
def test_a_stray_file_is_refused_and_nothing_is_written(tree: Path, tmp_path: Path, stray: str) -> None:
    (tree / stray).write_text("?")
    with pytest.raises(bundle.UnknownFileError, match=stray.rpartition("/")[2]):
        bundle.build(tmp_path / "bundle.zip", tree)
    assert not (tmp_path / "bundle.zip").exists()


def test_a_missing_part_is_refused(tree: Path, tmp_path: Path) -> None:
    (tree / "requirements.txt").unlink()
    with pytest.raises(FileNotFoundError):
        bundle.build(tmp_path / "bundle.zip", tree)
