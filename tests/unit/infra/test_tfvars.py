"""Variables files are read as Terraform reads them, or refused by line."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from infra import tfvars

READ = {
    "text": r'"a \"b\" \\ \n \t é € $${x} %%{y} é"',
    "empty": '""',
    "whole": "300",
    "negative": "-7",
    "broken": "0.25",
    "large": "1e3",
    "yes": "true",
    "no": "false",
    "nothing": "null",
    "list": '["a", "b", ]',
    "lines": '[\n  "a", # one\n  // two\n  "b" /* three */\n]',
    "none": "[]",
    "map": '{ a = 1, b : "x", "c d" = [true] }',
    "block": '{\n  A_NAME  = "x"\n\n  other-name = { deep = {} }\n}',
}


def test_a_value_is_what_terraform_makes_of_it(tmp_path: Path) -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform: not on PATH")
    declared = "".join(f'variable "{name}" {{\n  type    = any\n  default = null\n}}\n' for name in READ)
    (tmp_path / "main.tf").write_text(declared)
    given = "".join(f"# a comment\n{name} = {value}\n" for name, value in READ.items())
    (tmp_path / "terraform.tfvars").write_text(given)
    every = ", ".join(f"{name} = var.{name}" for name in READ)
    asked = subprocess.run(
        ["terraform", f"-chdir={tmp_path}", "console"],
        input=f"jsonencode({{ {every} }})\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert tfvars.read(tmp_path) == json.loads(json.loads(asked.stdout))


REFUSED = {
    "a heredoc": ("a = <<E\nx\nE\n", 1),
    "a template": ('\na = "x${1}"', 2),
    "a directive": ('a = "%{ if true }x%{ endif }"', 1),
    "an operator": ("a = 1 + 1", 1),
    "a function": ('a = upper("x")', 1),
    "a reference": ("a = var.b", 1),
    "no value": ("a =\n", 2),
    "no name": ("= 1", 1),
    "no equals sign": ('\n\na "x"', 3),
    "twice": ("a = 1\na = 2", 2),
    "two on a line": ("a = 1 b = 2", 1),
    "an open text": ('a = "x\n"', 1),
    "an open list": ("a = [1, 2\n", 2),
    "an open map": ("a = {\nb = 1\n", 3),
    "a list without commas": ("a = [1 2]", 1),
    "a map without commas": ("a = { b = 1 c = 2 }", 1),
    "an unknown escape": (r'a = "\x"', 1),
    "a block": ('a { b = "c" }', 1),
    "lists too deep": (f"a = {'[' * 5_000}{']' * 5_000}\n", 1),
    "maps too deep": (f"a = {'{a=' * 5_000}1{'}' * 5_000}\n", 1),
    "a number too long": (f"a = {'1' * 5_000}\n", 1),
    "a number too large": ("a = 1e999\n", 1),
    "beyond the last character": ('a = "\\UFFFFFFFF"\n', 1),
    "half a character": ('a = "\\uD800"\n', 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_by_line_and_quotes_no_value(name: str, tmp_path: Path) -> None:
    text, line = REFUSED[name]
    path = tmp_path / "terraform.tfvars"
    path.write_text(text)
    with pytest.raises(tfvars.UnreadableVariables, match=rf"terraform\.tfvars, line {line}: "):
        tfvars.read(tmp_path)


def test_files_win_in_terraform_s_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_VAR_a", "environment")
    monkeypatch.setenv("TF_VAR_f", "environment")
    for name, given in {
        "terraform.tfvars": {"a": "1", "b": "1", "c": "1", "d": "1", "e": "1"},
        "terraform.tfvars.json": {"b": "2", "c": "2", "d": "2", "e": "2"},
        "b.auto.tfvars": {"c": "4", "d": "4"},
        "a.auto.tfvars.json": {"c": "3", "e": "3"},
        "other.tfvars": {"a": "never"},
    }.items():
        text = json.dumps(given) if name.endswith("json") else "".join(f'{k} = "{v}"\n' for k, v in given.items())
        (tmp_path / name).write_text(text)
    assert tfvars.read(tmp_path) == {"a": "1", "b": "2", "c": "4", "d": "4", "e": "3", "f": "environment"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON in line 1"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": NaN}', "not JSON"),
        ('{"a": ' + "1" * 5_000 + "}", "not JSON"),
    ],
    ids=["broken", "a list", "deep", "no number", "a long number"],
)
def test_a_damaged_json_file_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "release.auto.tfvars.json").write_text(text)
    with pytest.raises(tfvars.UnreadableVariables, match=said):
        tfvars.read(tmp_path)


def test_the_examples_are_read() -> None:
    for path in (Path(__file__).resolve().parents[3] / "infra/terraform/environments").glob("*/*.example"):
        assert tfvars.read_file(path)["project_id"]
