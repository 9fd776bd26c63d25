"""Which blocks of a graph break it in a lower precision: found by halving, and left in fp32."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distillkit.callable import Say
from distillkit.exports._lowering import pattern_of
from distillkit.parity.gate import Parity, compare
from distillkit.parity.questions import LEAST, Questions
from distillkit.parity.reference import Reference

Passes = Callable[[Sequence[str]], bool]


def fewest(blocks: Sequence[str], passes: Passes) -> list[str]:
    """Blocks that have to be kept for `passes(kept)`: those that fail alone, and where errors of the others add up, so
    many of the first ones as it takes.
    """
    kept = _alone(blocks, blocks, passes)
    if passes(kept):
        return kept
    others = [block for block in blocks if block not in kept]
    low, high = 0, len(others)  # so many of the others do not suffice; so many do
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(kept + others[:middle]) else (middle, high)
    return [block for block in blocks if block in kept or block in others[:high]]


def _alone(part: Sequence[str], blocks: Sequence[str], passes: Passes) -> list[str]:
    """Those of `part` that fail when they alone are lowered, of groups that fail."""
    if passes([block for block in blocks if block not in part]):
        return []
    if len(part) == 1:
        return list(part)
    middle = len(part) // 2
    return _alone(part[:middle], blocks, passes) + _alone(part[middle:], blocks, passes)


def mended(
    target: Any,
    student: Any,
    pixels: Any,
    folder: Path,
    asked: Questions,
    reference: Reference,
    refused: Parity,
    say: Say,
) -> Parity:
    """Write `folder` anew, with those blocks in fp32 that break it; `refused` again where that would be all of them.

    Trials ask towers a part of the questions; what is written is asked all of them.
    """
    precision, towers = refused.precision, [tower.name for tower in refused.towers]
    broken = [tower.name for tower in refused.towers if tower.refusal(precision)] or towers
    every = target.blocks(precision)
    blocks = [block for block in every if block.partition("/")[0] in broken]
    say(f"{precision}: {refused.refusal}; looking for what breaks it among {len(blocks)} blocks")
    some = replace(asked, pictures=asked.pictures.first(LEAST), texts=asked.texts[:LEAST], measure=None)

    def passes(kept: Sequence[str]) -> bool:
        target.keep = pattern_of(kept) if kept else None
        with tempfile.TemporaryDirectory() as place:
            target.write(student, Path(place), precision, pixels)
            return compare(some, reference, target.open(Path(place)), broken, precision).refusal is None

    kept = fewest(blocks, passes)
    if len(kept) == len(blocks):
        return refused
    target.keep = pattern_of(kept)
    target.write(student, folder, precision, pixels)
    found = compare(asked, reference, target.open(folder), towers, precision)
    told = f"kept in fp32, as {precision} breaks them: {', '.join(kept)} ({len(kept)} of {len(every)} blocks)"
    return replace(found, notes=(*found.notes, told))
