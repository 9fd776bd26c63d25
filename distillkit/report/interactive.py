"""What the page of a comparison holds for its drawings, galleries and maps, as plain values; its scripts show them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.callable import Say
from distillkit.evaluation.arms import TEACHER
from distillkit.evaluation.comparison import Arm, Comparison, Line
from distillkit.report.flips import Gallery, changes, galleries
from distillkit.report.heard import heard, roots
from distillkit.report.mapped import mapped
from distillkit.report.spaces import Spaces, spaces
from distillkit.report.thumbnails import MOST, thumbnails
from distillkit.runfolder import RunFolder
from distillkit.system.evenly import evenly

DOTS = 2000  # of which a map takes some ten seconds
_POINTS = 600  # of a curve: more than a drawing can show
_NO_CURVES = ("step", "epoch", "seconds")
_COSTS = (
    ("parameters", "parameters"),
    ("macs", "MACs of an image"),
    ("bytes", "bytes of weights"),
    ("seconds", "s of training"),
)
_COLOURS = (1, 2, 4, 5, 6, 7, 8)  # of compare.css; the third is the teacher's
_MAPPED = 4  # recipes that have a map, beside the teacher


def interactive(
    comparison: Comparison, costs: dict[str, dict[str, float | None]], dots: int = DOTS, say: Say = lambda line: None
) -> dict[str, Any]:
    """`costs` by arm; `dots`: how many items a map shows at most, 0 for no map. What is missing is told, not raised."""
    evals, short = heard(comparison), short_names(comparison)
    shown = galleries(evals)
    spaced = _spaces(comparison, dots)
    wanted = _wanted(shown, spaced)
    made = thumbnails(wanted, roots(comparison))
    uris = made.uris()
    place = {key: number for number, key in enumerate(uris)}
    map_, told = mapped(spaced, short, place, say)
    runs = sum(bool(arm.runs) for arm in comparison.arms)
    if map_ is not None and runs > _MAPPED:
        told += f" Of the {runs} recipes the first {_MAPPED} have maps."
    data = {
        "curves": _curves(comparison, short),
        "plot": _plot(comparison, costs, short),
        "galleries": [_gallery(one, short, place) for one in shown],
        "changes": [
            {
                "eval": one.eval,
                "who": short[one.who],
                "baseline": short[one.baseline],
                "classes": one.classes,
                "shown": [[each.name, each.items, each.before, each.after] for each in one.shown],
            }
            for one in changes(evals)
        ],
        "map": map_,
        "pictures": list(uris.values()),
    }
    return {"data": data, "map_told": told, "missing": made.notes}


def short_names(comparison: Comparison) -> dict[str, str]:
    """Of runs the part of their path that tells them apart."""
    names = [arm.name for arm in comparison.arms if arm.runs]
    folders = [os.path.dirname(os.path.abspath(name)) for name in names]  # noqa: PTH100, PTH120
    common = Path(os.path.commonpath(folders))
    short = {name: str(Path(os.path.abspath(name)).relative_to(common)) for name in names}  # noqa: PTH100
    return short | {TEACHER: TEACHER}


def colours(comparison: Comparison) -> dict[str, str]:
    """Of each arm the class that gives it its colour on the page."""
    runs = [arm.name for arm in comparison.arms if arm.runs]
    return {name: f"c{_COLOURS[number % len(_COLOURS)]}" for number, name in enumerate(runs)} | {TEACHER: "teacher"}


def _wanted(shown: Sequence[Gallery], spaced: Spaces | str) -> dict[str, list[str]]:
    """Pictures of the galleries first, then of dots at even distances."""
    wanted: dict[str, list[str]] = {}
    for gallery in shown:
        wanted.setdefault(gallery.store, []).extend(flip.key for flip in gallery.flips)
    if not isinstance(spaced, str):
        room = MOST - sum(len(set(keys)) for keys in wanted.values())
        if room > 0:
            chosen = evenly(spaced.places, room)
            keys = wanted.setdefault(spaced.heard.store, [])
            known = set(keys)
            keys += [key for key in (spaced.heard.keys[place] for place in chosen.tolist()) if key not in known]
    return wanted


def _gallery(one: Gallery, short: dict[str, str], place: dict[tuple[str, str], int]) -> dict[str, Any]:
    flips = [
        {"key": flip.key, "truth": flip.truth, "said": flip.said, "picture": place.get((one.store, flip.key))}
        for flip in one.flips
    ]
    names = {"winner": short[one.winner], "loser": short[one.loser]}
    return {"eval": one.eval, **names, "count": one.count, "items": one.items, "flips": flips}


def _curves(comparison: Comparison, short: dict[str, str]) -> list[dict[str, Any]]:
    """Of every run that has a log, what it logged, thinned to what a drawing can show."""
    colour, made = colours(comparison), []
    for arm in comparison.arms:
        for number, run in enumerate(arm.runs):
            log = RunFolder(run.path).history()
            if not log:
                continue
            names = [
                name
                for name in log[0]
                if name not in _NO_CURVES and all(isinstance(line.get(name), int | float) for line in log)
            ]
            made.append(
                {
                    "name": short[arm.name] + (f", seed {arm.seeds[number]}" if len(arm.runs) > 1 else ""),
                    "colour": colour[arm.name],
                    "seed": number,
                    "step": _thinned([line["step"] for line in log]),
                    "columns": {name: _thinned([line[name] for line in log]) for name in names},
                }
            )
    return made


def _thinned(values: list[float]) -> list[float | None]:
    parts = np.array_split(np.asarray(values, float), min(len(values), _POINTS))
    means = [float(part.mean()) for part in parts]
    return [float(f"{mean:.6g}") if math.isfinite(mean) else None for mean in means]


def _plot(comparison: Comparison, costs: dict[str, dict[str, float | None]], short: dict[str, str]) -> dict[str, Any]:
    colour = colours(comparison)
    return {
        "costs": list(map(list, _COSTS)),
        "measures": [{"name": title(line), "share": line.share} for line in comparison.lines],
        "points": [
            {
                "name": short[arm.name],
                "colour": colour[arm.name],
                "costs": {name: costs[arm.name].get(name) for name, _ in _COSTS},
                "values": {title(line): _ends(line, arm) for line in comparison.lines if arm.name in line.cells},
            }
            for arm in comparison.arms
        ],
    }


def title(line: Line) -> str:
    """A measure and its evaluation: "unseen: R@1"."""
    return f"{line.eval}: {line.measure.name}"


def _ends(line: Line, arm: Arm) -> list[float | None] | None:
    """Value, low and high; None where there is no number."""
    cell = line.cells[arm.name]
    if not math.isfinite(cell.value):
        return None
    low, high = (cell.low, cell.high) if None not in (cell.low, cell.high) else (None, None)
    return [cell.value, low, high]


def _spaces(comparison: Comparison, dots: int) -> Spaces | str:
    if not dots:
        return "none was asked for"
    runs = {arm.name: arm.runs[0] for arm in comparison.arms if arm.runs}
    return spaces(heard(comparison), dict(list(runs.items())[:_MAPPED]), dots)
