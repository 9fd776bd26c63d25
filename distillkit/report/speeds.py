"""Speeds of networks as a table of ratios to the first, and as columns of a comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from distillkit.errors import TrainError
from distillkit.report.costs import BENCH
from distillkit.report.words import count, duration, size
from distillkit.system.wording import as_word

_DASH = "–"


class Timed(Protocol):
    """Seconds of one question alone, questions a second in batches, bytes; None where there is no such tower."""

    @property
    def told(self) -> dict[str, Any]: ...


def table(speeds: Sequence[Timed], batch: int, threads: int, machine: dict[str, Any]) -> str:
    """A row for each network; behind its numbers, how many times better they are than the first network's."""
    rows = [one.told for one in speeds]
    columns = {
        "one image": ("image_seconds", duration, True),
        f"images/s, {batch} at once": ("images_per_second", count, False),
        "one text": ("text_seconds", duration, True),
        f"texts/s, {batch} at once": ("texts_per_second", count, False),
        "file": ("file_bytes", size, True),
        "memory": ("memory_bytes", size, True),
    }
    columns = {name: how for name, how in columns.items() if any(row[how[0]] is not None for row in rows)}
    lines = ["| | runtime | " + " | ".join(columns) + " |", "|---|---|" + "---:|" * len(columns)]
    for row in rows:
        cells = [_cell(row, rows[0], *how) for how in columns.values()]
        lines.append(f"| {_who(row)} | {row['runtime']} | " + " | ".join(cells) + " |")
    threaded = f"{threads} thread{'s'[: threads > 1]}"
    who = f"{_who(rows[0])} in {rows[0]['runtime']}"
    return "\n".join([*lines, "", f"On {machine['cpu']}, {threaded}; in brackets, times better than {who}."])


def _who(row: dict[str, Any]) -> str:
    """The teacher is called so; a run of that name by its folder, as one types it."""
    return "./teacher" if row["who"] == "teacher" and not _is_teacher(row) else str(row["who"])


def _cell(row: dict[str, Any], first: dict[str, Any], name: str, words: Any, less: bool) -> str:
    value, base = row[name], first[name]
    if value is None:
        return _DASH
    if row is first or not base or not value:
        return str(words(value))
    ratio = base / value if less else value / base
    return f"{words(value)} ({f'{ratio:.0f}' if ratio >= 9.95 else f'{ratio:.2g}'}x)"


def _is_teacher(kept: dict[str, Any]) -> bool:
    """Files of before did not tell; there, runs that are called so counted as the teacher."""
    return bool(kept.get("is_teacher", kept["who"] == "teacher"))


def speed_of(run: Path) -> dict[str, Any] | None:
    """What bench-model kept of a run: its numbers in torch, and what makes them comparable; None where it did not."""
    path = run / BENCH
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_bytes())
        own = next((one for one in kept["speeds"] if not _is_teacher(one) and one["runtime"] == "torch"), None)
        measured = {name: kept[name] for name in ("machine", "threads", "batch")}
        speed = None if own is None else {name: own[name] for name in ("image_seconds", "images_per_second")}
    except (ValueError, KeyError, TypeError) as error:
        raise TrainError(
            f"{path}: damaged ({error!r}); measure again: distillkit bench-model {as_word(run)}"
        ) from error
    return None if speed is None else speed | {"measured": measured}
