"""G-12: one schema of names. The retired words are docs/glossary.md's; old ones in prose may only grow fewer."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.lint.words import GLOSSARY, ROOT, files, parts, read, words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.lint.words import File

RECORDED = ROOT / "tests" / "lint" / "retired_words.toml"
# The list itself, and what tests the test.
_OF_THE_LIST = {"docs/glossary.md", "tests/lint/retired_words.toml", "tests/lint/test_names.py"}

# The account of Unix that may do nothing.
_FOREIGN = {"nobody": {"sandbox/postgres/server.py", "tests/sandbox/postgres/test_postgres.py"}}


def retired(scope: str) -> set[str]:
    """The words of the glossary's list that are retired in names or in prose."""
    listed = GLOSSARY.read_text().partition("## Retired words")[2]
    rows = re.findall(r"^\| `([a-z]+)` \| (names|prose|both) \| [^|]+ \|$", listed, re.MULTILINE)
    return {word for word, where in rows if where in {scope, "both"}}


def retired_names(tree: Iterable[File], retired_words: set[str]) -> list[str]:
    """Every name that has a retired word in it, with its place."""
    found = {
        f"{file.path}:{line} {name}"
        for file in tree
        for name, line in file.names
        if retired_words.intersection(parts(name)) and file.path not in _FOREIGN.get(name, ())
    }
    return sorted(found)


def retired_in_prose(tree: Iterable[File], retired_words: set[str]) -> Counter[tuple[str, str]]:
    """(word, folder) -> how often it stands there."""
    counted: Counter[tuple[str, str]] = Counter()
    for file in tree:
        for word, times in words(file.prose).items():
            if word in retired_words:
                counted[word, file.folder] += times
    return counted


def tree() -> list[File]:
    return [file for file in files() if file.path not in _OF_THE_LIST]


@pytest.mark.proves("G-12")
def test_no_name_has_a_retired_word() -> None:
    assert retired_names(tree(), retired("names")) == []


@pytest.mark.proves("G-12")
def test_retired_words_in_prose_only_grow_fewer() -> None:
    recorded = tomllib.loads(RECORDED.read_text())
    more = {
        f"{word} in {folder}: {times}, recorded {recorded.get(word, {}).get(folder, 0)}"
        for (word, folder), times in retired_in_prose(tree(), retired("prose")).items()
        if times > recorded.get(word, {}).get(folder, 0)
    }
    assert more == set()


def test_the_record_is_of_retired_words_and_folders_that_exist() -> None:
    recorded = tomllib.loads(RECORDED.read_text())
    assert recorded.keys() <= retired("prose")
    assert {folder for counts in recorded.values() for folder in counts} <= {file.folder for file in tree()}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("lib/a.py", "def find_somebody(): ..."),
        ("lib/a.py", "class KeyDoor: ..."),
        ("lib/a.py", "log.info('nobody_there')"),
        ("lib/a.py", 'SQL = "select whoever from accounts"'),
        ("lib/a.py", "event = f'{scene.name} is there'"),
        ("lib/a.py", "call(room=1)"),
        ("lib/door.py", ""),
        ("lib/a.sql", "create table rooms (id bigint);"),
        ("infra/a.tf", 'resource "x" "anybody" {}'),
        ("sandbox/a.js", "const somebodyElse = 1;"),
    ],
)
def test_a_retired_word_in_a_name_is_found(path: str, text: str) -> None:
    assert len(retired_names([read(path, text)], retired("names"))) == 1


@pytest.mark.parametrize(
    ("path", "text", "word"),
    [
        ("lib/a.py", "# nobody waits for it", "nobody"),
        ("lib/a.py", 'def f():\n    """What his key is."""', "his"),
        ("lib/a.py", "raise ValueError('somebody else has it')", "somebody"),
        ("lib/a.py", 'SQL = "select id -- whoever it is\\nfrom accounts"', "whoever"),
        ("lib/a.sql", "-- for anybody\nselect 1;", "anybody"),
        ("infra/a.md", "It is His.", "his"),
        ("sandbox/a.js", "const a = 1; // he waits", "he"),
    ],
)
def test_a_retired_word_in_prose_is_counted(path: str, text: str, word: str) -> None:
    assert retired_in_prose([read(path, text)], retired("prose")) == {(word, path.split("/", maxsplit=1)[0]): 1}


def test_words_that_only_hold_a_retired_one_are_none() -> None:
    text = "def answer_the_history(): ...\n# this, the sheet, outdoors, Playwright, bedroom, display\nheld = 'shell'"
    file = read("lib/a.py", text)
    assert retired_names([file], retired("names")) == []
    assert retired_in_prose([file], retired("prose")) == {}
