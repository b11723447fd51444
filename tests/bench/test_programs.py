"""The bot that P1 compares with does what Atlas does."""

from __future__ import annotations

import ast
from collections import Counter
from typing import Any

import pg8000.native

from bench.load import person, update
from bench.places import PROGRAMS
from lib.domain import accounts, trial, updates
from lib.telegram import intake
from lib.texts import LANGUAGES, of


def _constants() -> dict[str, Any]:
    """What the program's module binds to capital names, without loading aiogram for it."""
    tree = ast.parse((PROGRAMS / "asyncpg_bot" / "main.py").read_text("utf-8"))
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
    }


THEIRS = _constants()


def test_its_statements_are_ours() -> None:
    ours = (updates._CLAIM, accounts._MEET, trial._ELIGIBLE, updates._FINISH)
    as_sent = [pg8000.native.to_statement(sql)[0] for sql in ours]
    assert as_sent == [THEIRS[name] for name in ("CLAIM", "MEET", "ELIGIBLE", "FINISH")]


def test_its_texts_are_ours() -> None:
    for language in LANGUAGES:
        say = THEIRS["TEXTS"][language]
        assert say["welcome"].format(name="Anna") == of(language).html("menu-welcome", name="Anna")
        assert say["data"] == of(language).html("menu-welcome-data")
        for name in {name for row in (("trial",), *THEIRS["ROWS"]) for name in row}:
            assert say[name] == of(language).plain(f"button-{name}")


def test_every_person_of_a_load_sends_two_updates_that_are_never_under_way_together() -> None:
    numbers = range(1000, 3000)
    seen: dict[int, int] = {}
    again = 0
    for number in numbers:
        if (first := seen.get(person(number))) is not None:
            again += 1
            assert number - first > 8
        seen[person(number)] = number
    assert again == len(numbers) / 2 - 32  # the first to come back were new to the load before
    assert max(Counter(person(number) for number in numbers).values()) == 2


def test_an_update_of_a_load_is_one_that_atlas_reads() -> None:
    incoming, read = intake.read(update(7, 123))
    assert incoming.update_id > 7
    assert read["message"]["from"]["id"] == 123
