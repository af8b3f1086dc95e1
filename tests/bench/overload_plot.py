"""The picture of a run under overload: the age of the queue and the share that is decided in full, over time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, TOP, GAP = 760, 150, 60, 40, 45
_AGE, _SHARE, _GRID, _TEXT = "#b3541e", "#1f5f8b", "#d9d9d9", "#333333"


class Point(NamedTuple):
    """Seconds since the start, the age of the queue in seconds, and the share decided in full."""

    at_s: float
    age_s: float
    share: float


def plot(title: str, points: Sequence[Point]) -> str:
    """An SVG with two panels, one above the other."""
    end_s = max(point.at_s for point in points) or 1.0
    oldest_s = max([point.age_s for point in points] + [0.1])
    age = [(point.at_s / end_s, point.age_s / oldest_s) for point in points]
    share = [(point.at_s / end_s, point.share) for point in points]
    height = TOP + 2 * (HEIGHT + GAP)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 20} {height}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH + LEFT + 20}" height="{height}" fill="#ffffff"/>',
            f'<text x="{LEFT}" y="20" font-size="14" fill="{_TEXT}">{escape(title)}</text>',
            *_panel(TOP, "age of the queue", f"{oldest_s:.1f} s", end_s, age, _AGE),
            *_panel(TOP + HEIGHT + GAP, "share decided in full", "1", end_s, share, _SHARE),
            "</svg>",
            "",
        ]
    )


def _panel(
    top: float, name: str, most: str, end_s: float, line: Sequence[tuple[float, float]], colour: str
) -> list[str]:
    bottom = top + HEIGHT
    drawn = " ".join(f"{LEFT + x * WIDTH:.1f},{bottom - y * (HEIGHT - 10):.1f}" for x, y in line)
    marks = [
        f'<text x="{LEFT + part * WIDTH / 4:.0f}" y="{bottom + 15}" text-anchor="middle" fill="{_TEXT}">'
        f"{end_s * part / 4:.0f} s</text>"
        for part in range(5)
    ]
    return [
        f'<path d="M{LEFT} {top}V{bottom}H{LEFT + WIDTH}M{LEFT} {top + 10}h{WIDTH}" fill="none" stroke="{_GRID}"/>',
        f'<text x="{LEFT - 6}" y="{top + 14}" text-anchor="end" fill="{_TEXT}">{escape(most)}</text>',
        f'<text x="{LEFT - 6}" y="{bottom}" text-anchor="end" fill="{_TEXT}">0</text>',
        f'<text x="{LEFT + 6}" y="{top + 4}" fill="{colour}">{escape(name)}</text>',
        *marks,
        f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
    ]
