"""S4-4.2: no error is swallowed in what is deployed. Ruff's rules are on there, and whoever goes around one says why."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

import pytest

from tests.lint.deployed import ROOT, modules

RULES = ("S110", "S112", "BLE001", "E722")
_DEPLOYED = ("main.py", "functions", "lib", "xray_api")
_NOQA = re.compile(r"#\s*noqa(?P<codes>:\s*[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)?(?P<rest>.*)$", re.IGNORECASE)
_SWALLOWED = {
    "S110": "try:\n    work()\nexcept Exception:\n    pass\n",
    "S112": "for one in all_of_them:\n    try:\n        work(one)\n    except Exception:\n        continue\n",
    "BLE001": "try:\n    work()\nexcept Exception:\n    tell()\n",
    "E722": "try:\n    work()\nexcept:\n    tell()\n",
}


def ruff(*arguments: str, source: str | None = None) -> list[dict[str, object]]:
    """What ruff finds, by this repository's own settings."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "json", *arguments],
        cwd=ROOT,
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


@pytest.mark.proves("S4-4.2")
def test_a_swallowed_error_is_seen_wherever_it_is_deployed() -> None:
    for place in ("main.py", "functions/sweeps/new.py", "lib/domain/new.py", "xray_api/new.py"):
        for rule in RULES:
            found = {item["code"] for item in ruff("--stdin-filename", place, "-", source=_SWALLOWED[rule])}
            assert rule in found, place


@pytest.mark.proves("S4-4.2")
def test_the_deployed_code_has_none() -> None:
    assert ruff("--select", ",".join(RULES), *_DEPLOYED) == []


@pytest.mark.proves("S4-4.2")
def test_no_setting_takes_the_rules_away() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert lint["select"] == ["ALL"]
    forbidden = [code for code in lint["ignore"] if any(rule.startswith(code) for rule in RULES)]
    assert forbidden == []
    for pattern, codes in lint.get("per-file-ignores", {}).items():
        if pattern.startswith(_DEPLOYED):
            assert not [code for code in codes if any(rule.startswith(code) for rule in RULES)], pattern


def _unreasoned(source: str) -> list[str]:
    """`noqa` without a code, or without words after it."""
    found = []
    for number, line in enumerate(source.splitlines(), 1):
        match = _NOQA.search(line)
        if match is None:
            continue
        words = match["rest"].strip(" -\u2014:")
        if not match["codes"] or len(words.split()) < 1:
            found.append(f"{number}: {match[0].strip()}")
    return found


@pytest.mark.proves("S4-4.2")
def test_every_exception_to_a_rule_says_why() -> None:
    assert {module.name: found for module in modules() if (found := _unreasoned(module.source))} == {}


@pytest.mark.parametrize(
    ("source", "good"),
    [
        ("x = 1  # noqa", False),
        ("x = 1  # noqa: BLE001", False),
        ("x = 1  # noqa: BLE001, S110", False),
        ("x = 1  # noqa: BLE001 -- the boundary", True),
        ("x = 1  # noqa: S608 - constants", True),
    ],
)
def test_the_lint_sees_an_exception_without_a_reason(source: str, *, good: bool) -> None:
    assert (_unreasoned(source) == []) is good


def test_no_file_is_excused_whole() -> None:
    for module in modules():
        assert "ruff: noqa" not in module.source, module.name
        assert "flake8: noqa" not in module.source, module.name
