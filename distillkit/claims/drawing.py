"""Curves of a claim as an SVG file that stands by itself: points with their 95 % intervals over a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from distillkit.claims.judge import Point

WIDTH, HEIGHT = 480, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 96, 16, 44
_COLOURS = ("#2a78d6", "#1a8a5f", "#c4572b", "#7a4fb5")
_GREY = "#777777"


def drawing(curves: Sequence[tuple[str, Sequence[Point]]], across: str, up: str) -> str:
    """The SVG. `across` and `up` are what the axes are."""
    points = [point for _, line in curves for point in line]
    drawn = [end for point in points for end in (point.low, point.value, point.high) if end is not None]
    low, high = min(drawn), max(drawn)
    room = (high - low) * 0.05 or 0.5
    low, high = low - room, high + room
    first, last = (math.log(pick(point.x for point in points)) for pick in (min, max))

    def x_of(x: float) -> float:
        share = (math.log(x) - first) / (last - first) if last > first else 0.5
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * share

    def y_of(y: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * (y - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(up)} over {escape(across)}">'
    ]
    for step in range(5):
        value = low + (high - low) * step / 4
        parts.append(f'<path d="M{_LEFT} {y_of(value):.1f}H{WIDTH - _RIGHT}" stroke="{_GREY}" stroke-opacity="0.25"/>')
        parts.append(_text(_LEFT - 6, y_of(value) + 4, f"{value:.2f}", "end", _GREY))
    for x in sorted({point.x for point in points}):
        parts.append(_text(x_of(x), HEIGHT - _BOTTOM + 16, f"{x:g}", "middle", _GREY))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, across, "middle", _GREY))
    parts.append(_text(_LEFT, _TOP - 4, up, "start", _GREY))
    for number, (name, line) in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        path = "L".join(f"{x_of(point.x):.1f} {y_of(point.value):.1f}" for point in line)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in line:
            x = x_of(point.x)
            if point.low is not None and point.high is not None:
                parts.append(f'<path d="M{x:.1f} {y_of(point.low):.1f}V{y_of(point.high):.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y_of(point.value):.1f}" r="3" fill="{colour}"/>')
        parts.append(_text(x_of(line[-1].x) + 8, y_of(line[-1].value) + 4, name, "start", colour))
    return "".join([*parts, "</svg>\n"])


def _text(x: float, y: float, text: str, anchor: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
