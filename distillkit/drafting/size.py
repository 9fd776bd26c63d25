"""Which student: the largest of a ladder that keeps to a budget of parameters, or of milliseconds an image here.

Sizes are counted on the meta device, which takes neither memory nor weights.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import nn

from distillkit.errors import RecipeError
from distillkit.recipe import Component
from distillkit.students._count import tokens_of
from distillkit.system import cpu
from distillkit.system.memory import available_memory

Knobs = dict[str, Any]
_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}
_TRIES = 5
_HOPELESS = 4.0  # times the budget: what is larger is no faster
_FLOAT = 4  # bytes
_MOST_BATCH = 256  # images
_SHARE = 0.5  # of the free memory that a step may take


@dataclass(frozen=True)
class Choice:
    """A student as a recipe has it, its parameters, bytes of a training image, and what it was chosen by."""

    knobs: Knobs
    parameters: int
    image_bytes: int
    why: str


def parameters_of(text: str) -> float:
    """ "5M" is 5,000,000. RecipeError says how to write it."""
    number = _number(text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else _number(text)
    if number is None:
        raise RecipeError(f"parameters: {text!r:.80} is no number of parameters; write one such as 5M or 300k")
    return number


def milliseconds_of(text: str) -> float:
    """ "4ms" is 4.0. RecipeError says how to write it."""
    number = _number(text.removesuffix("ms").removesuffix("s"), 1 if text.endswith("ms") else 1000)
    if number is None:
        raise RecipeError(f"latency: {text!r:.80} is no time; write one such as 4ms")
    return number


def _number(text: str, unit: float = 1) -> float | None:
    """So many units; None for what is no finite number above 0, as "nan", "1e400" and "-5" are none."""
    try:
        number = float(text) * unit
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def within_parameters(ladder: Sequence[Knobs], most: float) -> Choice:
    """The last of the ladder, which rises, that has no more parameters; RecipeError where none has."""
    sizes = list(takewhile(lambda size: size <= most, map(_parameters, ladder)))
    if not sizes:
        least = _parameters(ladder[0]) / 1e6
        enough = f"--parameters {math.ceil(10 * least) / 10:g}M"
        told = f"the smallest student here has {least:.2f} M parameters{_where_most_is(ladder[0], least)}"
        raise RecipeError(f"{told}; allow more: {enough}")
    knobs, size = ladder[len(sizes) - 1], sizes[-1]
    return Choice(knobs, size, _image_bytes(knobs), f"the largest here of at most {most / 1e6:g} M parameters")


def _where_most_is(knobs: Knobs, parameters: float) -> str:
    """Of a student whose embedding of tokens is most of it, which no smaller tower would lessen; in millions."""
    with torch.device("meta"):
        tokens = tokens_of(_student(knobs))
    if tokens is None or 2 * tokens.numel() / 1e6 < parameters:
        return ""
    return f", {tokens.numel() / 1e6:.2f} M of them the embedding of {len(tokens):,} tokens"


@cpu.settled()
def within_latency(ladder: Sequence[Knobs], most: float) -> Choice:
    """The same for milliseconds of one image alone, measured here."""
    timed: list[tuple[Knobs, float]] = []
    for knobs in ladder:
        timed.append((knobs, _milliseconds(knobs)))
        if timed[-1][1] > _HOPELESS * most:
            break
    fitting = [one for one in timed if one[1] <= most]
    if not fitting:
        raise RecipeError(f"the quickest student here takes {min(ms for _, ms in timed):.3g} ms an image; allow more")
    knobs, ms = fitting[-1]
    return Choice(
        knobs, _parameters(knobs), _image_bytes(knobs), f"{ms:.3g} ms an image alone on this machine, of {most:g} ms"
    )


def fitting_batch(rows: int, image_bytes: int) -> int:
    """A power of two: four batches of the corpus at least, and what half of the free memory holds in training."""
    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else available_memory()
    room = int(free * _SHARE / max(image_bytes, 1)) if free else _MOST_BATCH
    return int(2 ** max(int(min(_MOST_BATCH, rows // 4, room)).bit_length() - 1, 1))


def _student(knobs: Knobs) -> Any:
    return Component(**knobs).build("students")


def _parameters(knobs: Knobs) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in _student(knobs).parameters())


def _image_bytes(knobs: Knobs) -> int:
    """What a layer makes of an image is kept for its gradient, which is as large again; of all layers together."""
    made = 0

    def add(_module: nn.Module, _given: Any, result: Any) -> None:
        nonlocal made
        made += 2 * _FLOAT * result.numel() if isinstance(result, torch.Tensor) else 0

    with torch.device("meta"):
        student = _student(knobs).eval()
        for module in student.modules():
            if not any(module.children()):
                module.register_forward_hook(add)
        side = student.image_size
        student.embed(torch.zeros(1, 3, side, side, dtype=torch.uint8))
        if "text" in student.widths:
            student.embed_text(torch.zeros(1, student.context_length, dtype=torch.long))
    return made


@torch.no_grad()
def _milliseconds(knobs: Knobs) -> float:
    """The median of some tries, one image at a time, on the device that training would take."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student = _student(knobs).eval().to(device)
    side = student.image_size
    image = torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device)
    times = []
    for _ in range(_TRIES + 2):  # the first ones also prepare
        started = time.perf_counter()
        student.embed(image).cpu()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[2:])
