"""Curves as small SVG drawings that follow the page's colours, light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 430, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 88, 12, 30
_POINTS = 240  # more than the drawing can show
_LABEL = 14  # least distance of two labels


@dataclass(frozen=True)
class Line:
    """One curve; `colour` is a class of the page's style sheet. `smooth` lays a running mean over the noisy values."""

    name: str
    colour: str
    x: list[float]
    y: list[float]
    smooth: bool = True


def chart(lines: list[Line], label: str, *, may_log: bool) -> str:
    """An SVG drawing of `lines` over steps; logarithmic, if it may, where they span more than a factor of 20."""
    values = [value for line in lines for value in line.y]
    low, high = min(values), max(values)
    log = may_log and low > 0 and high / low > 20
    ticks = _log_ticks(low, high) if log else _linear_ticks(min(low, 0.0) if low < 0.5 * high else low, high)
    bottom, top = (min(low, ticks[0]), max(high, ticks[-1])) if log else (ticks[0], ticks[-1])
    stop = max(line.x[-1] for line in lines)

    def across(x: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * x / stop

    def up(y: float) -> float:
        place = math.log(y / bottom) / math.log(top / bottom) if log else (y - bottom) / (top - bottom)
        return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * place

    edge = WIDTH - _RIGHT
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for tick in ticks:
        parts.append(f'<path class="rule" d="M{_LEFT} {up(tick):.1f}H{edge}"/>')
        parts.append(_text("tick", _LEFT - 8, up(tick) + 4, _short(tick), "end"))
    for tick in _linear_ticks(0, stop, 4):
        if tick <= stop:
            parts.append(_text("tick", across(tick), HEIGHT - 10, _short(tick), "middle"))
    ends = []
    for line in lines:
        x, y = _thinned(line.x), _thinned(line.y)
        if line.smooth:
            parts.append(f'<path class="raw {line.colour}" d="{_path(map(across, x), map(up, y))}"/>')
            y = _running_mean(y)
        parts.append(f'<path class="line {line.colour}" d="{_path(map(across, x), map(up, y))}"/>')
        ends.append((up(y[-1]), line))
    for place, line in _spread(ends):
        parts.append(_text(f"name {line.colour}", edge + 8, place + 4, line.name))
    # The last tick is centred on the edge: the word stands clear of it.
    return "".join([*parts, _text("tick", edge + 26, HEIGHT - 10, "step"), "</svg>"])


def _text(kind: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _thinned(values: list[float]) -> list[float]:
    """At most _POINTS values, each the mean of its neighbours."""
    return [float(part.mean()) for part in np.array_split(np.asarray(values, float), min(len(values), _POINTS))]


def _running_mean(y: list[float]) -> list[float]:
    """Over a twentieth of the curve, less at its ends."""
    half = max(len(y) // 40, 1)
    return [float(np.mean(y[max(place - half, 0) : place + half + 1])) for place in range(len(y))]


def _path(x: Iterable[float], y: Iterable[float]) -> str:
    return "M" + "L".join(f"{one:.1f} {other:.1f}" for one, other in zip(x, y, strict=True))


def _spread(ends: list[tuple[float, Line]]) -> list[tuple[float, Line]]:
    """Labels at the ends of their curves, from the lowest; each is moved up until it hides no other."""
    placed, lowest = [], float(HEIGHT - _BOTTOM)
    for place, line in sorted(ends, key=lambda end: end[0], reverse=True):
        placed.append((min(place, lowest), line))
        lowest = placed[-1][0] - _LABEL
    return placed


def _linear_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers (steps of 1, 2 or 5) from at or below `low` to at or above `high`."""
    span = (high - low) or abs(high) or 1.0
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 10, 100, ... and 2 and 5 between them where there are few decades."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [digit * 10.0**decade for decade in decades for digit in digits]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001] or [low, high]


def _short(value: float) -> str:
    """12000 is "12k", 0.00008 is "8e-5"."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    if value and abs(value) < 0.0001:
        digits, power = f"{value:.1e}".split("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.4g}"
