"""What `make node-add` and its siblings are given: every problem at once, each under its own name."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.nodes import arguments
from infra.nodes.__main__ import main
from infra.nodes.arguments import BadArguments

if TYPE_CHECKING:
    from infra.environment import Environment

pytestmark = pytest.mark.proves("S3-9")

PIN = "0a" * 32
GOOD = {
    "ENV": "prod",
    "NAME": "de1",
    "URL": "https://203.0.113.7:8443",
    "PIN": PIN,
    "COUNTRY": "de",
    "CITY_RU": "Франкфурт",
    "CITY_EN": "Frankfurt am Main",
    "TAGS": "fast, eu",
    "WEIGHT": "10",
}


def problems(command: str, given: dict[str, str]) -> list[str]:
    with pytest.raises(BadArguments) as refused:
        arguments.read(command, given)
    return refused.value.problems


def test_what_is_right_is_read() -> None:
    read = arguments.read("add", GOOD | {"UPDATE": "1"})
    node = read.node
    assert node is not None
    assert (read.environment, read.update, node.name) == ("prod", True, "de1")
    assert (node.api_url, node.pins, node.country) == ("https://203.0.113.7:8443", (PIN,), "DE")
    assert (node.city_ru, node.city_en, node.tags, node.weight) == (
        "Франкфурт",
        "Frankfurt am Main",
        ("fast", "eu"),
        10,
    )
    bare = arguments.read("add", {"ENV": "prod", "NAME": "de1", "TAGS": " "}).node
    assert bare is not None
    assert (bare.api_url, bare.pins, bare.tags, bare.weight) == (None, None, None, None)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "ENV": "staging",
        "NAME": "DE_1",
        "URL": "http://203.0.113.7:8443",
        "PIN": "sha256/abc",
        "COUNTRY": "UK",
        "CITY_RU": "\u0007",
        "CITY_EN": "1" * 61,
        "TAGS": "eu,eu",
        "WEIGHT": "-1",
        "UPDATE": "yes",
    }
    assert [problem.partition(":")[0] for problem in problems("add", wrong)] == [
        name for name in arguments.NAMES if name not in {"UNDO", "OPERATOR", "REASON"}
    ]
    assert [one.partition(":")[0] for one in problems("drain", GOOD | {"UNDO": "yes"}) if one.startswith("UNDO")] == [
        "UNDO"
    ]
    needed = ["URL", "PIN", "COUNTRY", "CITY_RU", "CITY_EN"]
    assert [problem.partition(":")[0] for problem in problems("add", {})] == ["ENV", "NAME", *needed]
    without = {name: value for name, value in GOOD.items() if name != "PIN"}
    assert [one.partition(":")[0] for one in problems("add", without | {"WEIGHT": "-1"})] == ["WEIGHT", "PIN"]
    # of a row that is there, what is not given stays
    assert [one.partition(":")[0] for one in problems("add", without | {"WEIGHT": "-1", "UPDATE": "1"})] == ["WEIGHT"]
    plain = GOOD | {"ENV": "local", "URL": "http://127.0.0.1:8010", "TAGS": "A"}
    assert [one.partition(":")[0] for one in problems("add", plain)] == ["TAGS", "PIN"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("NAME", value) for value in ("-de", "de.1", "d" * 64, "дe1")),
        *(
            ("URL", value)
            for value in ("203.0.113.7", "http://localhost:1", "https://u:p@de1.example", "https://de1.example/?k=1")
        ),
        *(("PIN", value) for value in ("0a" * 31, "0g" * 32, f"{PIN},{PIN.upper()}", f"{PIN},{PIN[:-1]}b,{PIN[:-1]}c")),
        *(("COUNTRY", value) for value in ("D", "DEU", "ZZ", "#c")),
        *(("CITY_EN", value) for value in ("a\nb", "7")),
        *(("TAGS", value) for value in ("a,,b", "A", ",".join(f"t{number}" for number in range(17)))),
        *(("WEIGHT", value) for value in ("1.5", "1001", "\u0661")),
    ],
)
def test_each_is_judged_by_itself(name: str, value: str) -> None:
    assert [problem.partition(":")[0] for problem in problems("add", GOOD | {name: value})] == [name]


def test_this_machine_is_a_node_of_the_local_system_alone() -> None:
    for url in ("http://127.0.0.1:8010", "https://127.0.0.1:8443", "https://[::1]:8443"):
        named = [one.partition(":")[0] for one in problems("add", GOOD | {"URL": url})]
        assert named == (["URL", "PIN"] if url.startswith("http://") else ["URL"])
        local = GOOD | {"URL": url, "ENV": "local"}
        if url.startswith("http://"):
            del local["PIN"]
        assert arguments.read("add", local).environment == "local"


@pytest.mark.parametrize("command", ["key", "list", "check"])
def test_what_a_command_does_not_take_is_refused_and_not_passed_over(command: str) -> None:
    assert any(problem.startswith("URL: ") for problem in problems(command, {"ENV": "prod", "NAME": "de1", "URL": "x"}))


@pytest.mark.parametrize("words", [[], ["add", "more"], ["remove"], ["--help"]])
def test_other_words_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def load(_name: str) -> Environment:
        raise AssertionError("nothing was to be looked at")

    assert main(words, GOOD, load) == 2
    assert main(["add"], {}, load) == 2
    out, err = capsys.readouterr()
    assert (out, "usage" in err) == ("", True)


def test_make_hands_on_what_it_was_given_and_nothing_of_the_shell_s_own(tmp_path: Path) -> None:
    """Blanks, quotes and dollars arrive as they are; a NAME or an ENV that the shell happens to have does not."""
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "[%s|%s|%s]" "$NAME" "$CITY_EN" "$ENV"\n')
    (tmp_path / "python").chmod(0o755)
    root = Path(__file__).resolve().parents[3]
    city = 'Saint John\'s "x" ; echo $HOME'
    done = subprocess.run(
        [
            *("make", "-s", "-o", ".venv/.ready-deploy", "node-list", f"PY={shlex.quote(str(tmp_path / 'python'))}"),
            *("ENV=dev", f"CITY_EN={city.replace('$', '$$')}"),
        ],
        cwd=root,
        env=os.environ | {"NAME": "of-the-machine"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"[|{city}|dev]"
