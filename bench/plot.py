"""Bars as SVG: a page of text that every browser and code host draws sharply, without a plotting library of 40 MB."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.figures import Plot

_WIDTH, _LABELS, _VALUES = 760, 220, 90
_TOP, _STEP, _BAR = 48, 34, 20
_OURS, _OTHERS = "#2f6fdb", "#9aa4b2"


def svg(plot: Plot) -> str:
    """Horizontal bars from zero; ours stand out. Readable on a light and on a dark page."""
    height = _TOP + _STEP * len(plot.bars) + 8
    longest = max(bar.value for bar in plot.bars)
    available = _WIDTH - _LABELS - _VALUES
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(plot.title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        '<g font-family="system-ui, sans-serif" font-size="14" fill="#1f2733">',
        f'<text x="16" y="28" font-weight="600">{escape(plot.title)}</text>',
    ]
    for number, bar in enumerate(plot.bars):
        y = _TOP + number * _STEP
        width = max(1.0, available * bar.value / longest)
        middle = y + _BAR / 2 + 5
        lines += [
            f'<text x="{_LABELS - 10}" y="{middle:g}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect x="{_LABELS}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="3" fill="{_OURS if bar.ours else _OTHERS}"/>',
            f'<text x="{_LABELS + width + 8:.1f}" y="{middle:g}">{bar.value:,.0f} {escape(plot.unit)}</text>',
        ]
    return "\n".join([*lines, "</g>", "</svg>", ""])
