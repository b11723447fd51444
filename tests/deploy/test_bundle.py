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
    for name in [*bundle.names(), bundle.LOCK]:
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


@pytest.mark.parametrize("part", [bundle.PINS, bundle.LOCK])
def test_a_missing_part_is_refused(tree: Path, tmp_path: Path, part: str) -> None:
    (tree / part).unlink()
    with pytest.raises(FileNotFoundError, match=part):
        bundle.build(tmp_path / "bundle.zip", tree)


def test_its_requirements_are_the_lock(tmp_path: Path) -> None:
    bundle.build(tmp_path / "bundle.zip")
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        assert archive.read("requirements.txt") == (bundle.ROOT / bundle.LOCK).read_bytes()


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        (bundle.PINS, ("segno==1.6.6", "segno==1.6.7"), "segno is locked as 1.6.6 and pinned as 1.6.7"),
        (bundle.PINS, ("segno==1.6.6", "segno==1.6.6\nNew_One==2"), "new-one 2 is not locked"),
        (bundle.PINS, ("segno==1.6.6", ""), "segno 1.6.6 is locked and not pinned"),
        (bundle.LOCK, ("segno==1.6.6", "segno==1.6.5"), "segno is locked as 1.6.5 and pinned as 1.6.6"),
        (bundle.LOCK, ("segno==1.6.6 \\\n", "segno==1.6.6\nother==1 \\\n"), "other 1 is locked and not pinned"),
        (bundle.LOCK, ("segno==1.6.6 \\\n", "segno==1.6.6\nother==1 \\\n"), "segno==1.6.6 is locked without a hash"),
    ],
)
def test_a_lock_of_other_pins_is_refused_and_nothing_is_written(
    tree: Path, tmp_path: Path, file: str, change: tuple[str, str], words: str
) -> None:
    text = (tree / file).read_text()
    assert text.count(change[0]) == 1
    (tree / file).write_text(text.replace(*change))
    with pytest.raises(bundle.StaleLockError, match=words):
        bundle.build(tmp_path / "bundle.zip", tree)
    assert not (tmp_path / "bundle.zip").exists()
