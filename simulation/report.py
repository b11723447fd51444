"""A run as a page: what was met and found, and how people, money, nodes and waiting work went over time."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulation.run import Outcome

_PLOTS: Final = (
    ("People", ("accounts", "active")),
    ("Money", ("paid orders",)),
    ("Sold, kopecks", ("sold",)),
    ("Nodes: clients let in", ("on first", "on second")),
    ("Work waiting", ("work waiting",)),
    ("Faults met", ("faults met",)),
)
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 760, 200, 70, 34, 26
_COLOURS: Final = ("#2f6fdb", "#d9822b")


def page(outcome: Outcome, commit: str) -> str:
    """HTML, whole, with nothing from elsewhere."""
    plan = outcome.plan
    found = "".join(f"<li><b>{escape(one.check)}</b>: {escape(one.what)}</li>" for one in outcome.found)
    met = "".join(f"<tr><td>{escape(kind)}</td><td>{count}</td></tr>" for kind, count in sorted(outcome.met.items()))
    head = f"seed {plan.seed}@{commit}: {plan.customers} customers, {outcome.at_s / 86_400:.1f} days"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{escape(head)}</title>
<style>body {{ font: 15px system-ui, sans-serif; max-width: 780px; margin: 2em auto; color: #1f2733 }} td {{ padding-right: 2em }}</style>
<h1>{escape(head)}</h1>
<p>{outcome.calls} calls of functions, {outcome.deaths} died; {outcome.ticks} ticks, {outcome.looks} looks; log {outcome.digest[:16]}; {outcome.took_s:.0f} s.</p>
<h2>{"Found" if found else "All held"}</h2><ul>{found}</ul>
{"".join(_plot(title, names, outcome.series) for title, names in _PLOTS)}
<h2>Faults met</h2><table>{met}</table>
</html>
"""


def _plot(title: str, names: Sequence[str], series: Sequence[Mapping[str, float]]) -> str:
    """Lines over the days, from zero."""
    if not series:
        return ""
    days = max(one["day"] for one in series) or 1.0
    top = max((one.get(name, 0.0) for one in series for name in names), default=0.0) or 1.0
    across, up = _WIDTH - _LEFT - 16, _HEIGHT - _TOP - _BOTTOM
    lines = []
    for name, colour in zip(names, _COLOURS, strict=False):
        points = " ".join(
            f"{_LEFT + across * one['day'] / days:.1f},{_TOP + up * (1 - one.get(name, 0.0) / top):.1f}"
            for one in series
        )
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    legend = "".join(
        f'<text x="{_LEFT + 120 * number + 160}" y="22" fill="{colour}">{escape(name)}</text>'
        for number, (name, colour) in enumerate(zip(names, _COLOURS, strict=False))
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" role="img">
<title>{escape(title)}</title><g font-family="system-ui, sans-serif" font-size="13" fill="#1f2733">
<text x="0" y="22" font-weight="600">{escape(title)}</text>{legend}
<line x1="{_LEFT}" y1="{_TOP + up}" x2="{_LEFT + across}" y2="{_TOP + up}" stroke="#9aa4b2"/>
<text x="{_LEFT - 8}" y="{_TOP + 10}" text-anchor="end">{top:,.0f}</text>
<text x="{_LEFT - 8}" y="{_TOP + up}" text-anchor="end">0</text>
<text x="{_LEFT + across}" y="{_HEIGHT - 6}" text-anchor="end">{days:.1f} days</text>
{"".join(lines)}</g></svg>
"""
