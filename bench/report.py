"""What a run leaves: everything measured as JSON, the table as Markdown, a plot for each benchmark that has one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench import pairs
from bench.plot import svg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.figures import Outcome, Row
    from bench.pairs import Compared

_SMALL_UNITS = 10.0


def write(folder: Path, date: str, facts: dict[str, Any], outcomes: Sequence[Outcome]) -> Path:
    """Write `<date>.json`, `<date>.md` and `<date>-<plot>.svg`; the Markdown's path."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "date": date,
        **facts,
        "table": [row.as_dict() for outcome in outcomes for row in outcome.rows],
        "measured": {outcome.key: outcome.measured for outcome in outcomes},
    }
    (folder / f"{date}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    plots = [outcome.plot for outcome in outcomes if outcome.plot is not None]
    for plot in plots:
        (folder / f"{date}-{plot.name}.svg").write_text(svg(plot), "utf-8")
    pictures = [f"![{plot.title}]({date}-{plot.name}.svg)" for plot in plots]
    page = folder / f"{date}.md"
    page.write_text("\n\n".join([_heading(date, facts), table(outcomes), *pictures]) + "\n", "utf-8")
    return page


def write_pairs(
    folder: Path, date: str, facts: dict[str, Any], compared: Sequence[Compared], laps: dict[str, Any]
) -> Path:
    """Write `<date>-against-<commit>.json` and `.md`; the Markdown's path."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"date": date, **facts, "table": [one.as_dict() for one in compared], "laps": laps}
    page = folder / f"{date}-against-{facts['against']}.md"
    page.with_name(f"{page.stem}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    told = f"Before: commit {facts['against']}. A ratio is the median of the pairs' ratios, with its 95 % interval."
    page.write_text("\n\n".join([_heading(date, facts), told, pairs.table(compared)]) + "\n", "utf-8")
    return page


def _heading(date: str, facts: dict[str, Any]) -> str:
    machine, versions = facts["machine"], facts["versions"]
    small = (
        "\n\n**A small run: it shows that the benchmarks work; its figures mean nothing.**" if facts["small"] else ""
    )
    return (
        f"# Benchmarks, {date}\n\n"
        f"Commit {facts['commit'] or 'unknown'}. {machine['system']}, {machine['processor']}, {machine['cores']} cores,"
        f" {machine['memory_gib']} GiB, load {machine['load_at_start'][0]} when it began.\n"
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}.{small}"
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """All rows as a Markdown table."""
    lines = ["| id | work | measured | compared with | ratio | target | met |", "|---|---|---|---|---|---|---|"]
    lines += [_line(row) for outcome in outcomes for row in outcome.rows]
    return "\n".join(lines)


def _line(row: Row) -> str:
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    digits = 0 if row.value == 0 or (row.value >= _SMALL_UNITS and row.unit != "s") else 1
    return f"| {row.id} | {row.work} | {row.value:.{digits}f} {row.unit} | {row.compared} | {ratio} | {row.target} | {met} |"
