"""The tables of variables and outputs in infra/terraform/README.md, made from the modules: `python -m infra.terraform.document`.

Own code instead of terraform-docs: that is a binary which most machines lack, and `terraform fmt` leaves so little freedom
that reading two kinds of blocks takes a few lines.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
README = _HERE / "README.md"
_DOCUMENTED = ("environments/prod", "modules/platform", "modules/function")
_BLOCK = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}$', re.MULTILINE | re.DOTALL)
_ATTRIBUTE = re.compile(r"^  (\w+)\s+= (.*(?:\n(?:    |  [}\])]).*)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Described:
    """A variable or an output, as its block says."""

    kind: str
    name: str
    description: str
    type: str
    default: str | None
    rules: int


def described(folder: Path) -> list[Described]:
    """Every variable and output of a module, in the order of its files.

    Raises:
        ValueError: one has no description.
    """
    found = []
    for file in ("variables.tf", "outputs.tf"):
        for kind, name, body in _BLOCK.findall((folder / file).read_text()):
            attributes = dict(_ATTRIBUTE.findall(body))
            description = attributes.get("description", "").strip('"')
            if not description:
                raise ValueError(f"{folder.name}: {kind} {name} has no description")
            found.append(
                Described(
                    kind,
                    name,
                    description,
                    _one_line(attributes.get("type", "")),
                    attributes.get("default"),
                    len(re.findall(r"^  validation \{", body, re.MULTILINE)),
                )
            )
    return found


def _one_line(value: str) -> str:
    """A type of several lines: `object({ owner = string, functions = string })`."""
    joined = ", ".join(" ".join(line.split()) for line in value.splitlines())
    return joined.replace("({, ", "({ ").replace(", })", " })")


def tables() -> str:
    """Markdown of all documented modules."""
    lines: list[str] = []
    for module in _DOCUMENTED:
        entries = described(_HERE / module)
        lines += [f"### {module}", "", "| variable | type | default | |", "|---|---|---|---|"]
        for entry in entries:
            if entry.kind == "variable":
                default = "**required**" if entry.default is None else f"`{entry.default}`"
                checked = " Checked." if entry.rules else ""
                lines.append(f"| {entry.name} | `{entry.type}` | {default} | {entry.description}{checked} |")
        lines += ["", "| output | |", "|---|---|"]
        lines += [f"| {entry.name} | {entry.description} |" for entry in entries if entry.kind == "output"]
        lines.append("")
    return "\n".join(lines).rstrip("\n")


def written(text: str) -> str:
    """The README with the tables of now between its marks.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = text.partition("<!-- tables -->\n")
    _, end, after = rest.partition("\n<!-- /tables -->")
    if not begin or not end:
        raise ValueError("README.md has lost its marks <!-- tables --> and <!-- /tables -->")
    return f"{before}{begin}{tables()}{end}{after}"


def main() -> int:
    """Write the tables; with `--check` only say whether they are current (exit code 1 when not)."""
    text = README.read_text()
    now = written(text)
    if "--check" not in sys.argv[1:]:
        README.write_text(now)
        return 0
    if now != text:
        sys.stderr.write("infra/terraform/README.md is out of date: python -m infra.terraform.document\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
