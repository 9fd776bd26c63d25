"""The gate: an export that answers otherwise than its student is not written.

    fp32        no cosine between both answers below 1 - 1e-5, and no order of nearest answers changed beyond ties
    fp16, int8  no cosine below 0.999, 0.98
    lengths     none that differs by more than 0.1, 1 and 20 per cent
    all         the measure of the run, on the same items before and after, not separable (evaluation/paired.py)

A lower precision may change single answers as long as the measure does not notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillkit.evals._ranking import one_right, ranked
from distillkit.evaluation.paired import Differences, mean_differences
from distillkit.evaluation.verdicts import holm, verdict
from distillkit.exports._described import Opened
from distillkit.parity.questions import ODD, Measure, Questions
from distillkit.parity.reference import Reference
from distillkit.system.wording import count

LEAST = {"fp32": 1 - 1e-5, "fp16": 0.999, "int8": 0.98}
LENGTHS = {"fp32": 1e-3, "fp16": 1e-2, "int8": 0.2}  # embeddings leave raw, so their lengths say something
_TIE = 1e-4  # answers whose cosines are nearer than this may change places
_NEAREST = 5
_TWO_WAYS = (
    "a measure may differ where no answers changed places: it is of whole pictures, each cut by the program that looks "
    "at it, and even of answers as near as a tie one comes first; the towers are asked about squares both see alike"
)


@dataclass(frozen=True)
class Tower:
    """One tower before and after: cosines between its answers, and whose nearest answers stayed the same."""

    name: str
    asked: int
    worst: float
    mean: float
    agreement: float
    changed: int  # questions whose nearest answers changed places beyond ties
    stretched: float = 0.0  # by how much of itself the length of an answer changed, at most

    @property
    def told(self) -> str:
        return (
            f"{self.name} tower: worst cosine {self.worst:.7f}, mean {self.mean:.7f}, top-1 agreement "
            f"{self.agreement:.2%}, {self.asked} asked, in {self.changed:,} of them the nearest answers changed places "
            "beyond ties"
        )

    def refusal(self, precision: str) -> str | None:
        if not self.worst >= LEAST[precision]:
            return f"worst cosine of the {self.name} tower {self.worst:.5f}, at least {LEAST[precision]:g} is asked"
        if self.stretched > LENGTHS[precision]:
            return f"answers of the {self.name} tower are longer or shorter by up to {self.stretched:.2%}"
        if precision == "fp32" and self.changed:
            asked = count(self.asked, "question")
            return f"the nearest answers of {self.changed:,} of {asked} to the {self.name} tower changed"
        return None


@dataclass(frozen=True)
class Number:
    """The measure before and after, on the same items, with the paired 95 % interval of the difference."""

    name: str
    before: float
    after: float
    low: float
    high: float
    apart: bool
    items: int
    thing: str = "picture"

    @property
    def told(self) -> str:
        return (
            f"{self.name}: {self.before:.4f} before, {self.after:.4f} after, difference "
            f"{self.after - self.before:+.4f} ({self.low:+.4f} to {self.high:+.4f}) over "
            f"{count(self.items, self.thing)}"
        )


@dataclass(frozen=True)
class Parity:
    """What the gate saw, and why it refuses, if it does. `notes`: who was asked, what stayed in fp32."""

    precision: str
    asked_of: str
    towers: tuple[Tower, ...]
    numbers: tuple[Number, ...]
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        return [
            *(tower.told for tower in self.towers),
            *(number.told for number in self.numbers),
            *([_TWO_WAYS] if any(one.before != one.after for one in self.numbers) else []),
            *self.notes,
        ]

    @property
    def refusal(self) -> str | None:
        """In one line; None where the export may be written."""
        reasons = [one.refusal(self.precision) for one in self.towers]
        reasons += [f"{one.told}, which is no chance" for one in self.numbers if one.apart]
        return "; ".join(filter(None, reasons)) or None


def compare(asked: Questions, student: Reference, target: Opened, towers: Sequence[str], precision: str) -> Parity:
    """Ask both the same, tower by tower, then measure whole pictures. A text tower is asked odd texts, too."""
    pictures, texts = asked.pictures.squares, list(asked.texts)
    before = {"image": student.images(pictures)} if "image" in towers else {}
    after = {"image": target.images(pictures)} if "image" in towers else {}
    notes = [getattr(target, "told", "")]
    if "text" in towers:
        texts = [*texts, *ODD]
        before["text"], after["text"] = student.texts(texts), target.texts(texts)
        notes.append(f"{len(ODD)} of the texts are ours: with capitals, marks, other scripts, and longer than is read")
    found = []
    for name, other in (("image", "text"), ("text", "image")):
        if name in towers:
            among = before.get(other) if _same_width(before, other, name) else None
            found.append(_tower(name, before[name], after[name], among))
    numbers: tuple[Number, ...] = ()
    if asked.measure is not None:
        numbers = _numbers(asked, asked.measure, student, target, towers)
    return Parity(precision, asked.public or asked.told, tuple(found), numbers, tuple(filter(None, notes)))


def _same_width(said: dict[str, np.ndarray], one: str, other: str) -> bool:
    return one in said and said[one].shape[1] == said[other].shape[1]


def _tower(
    name: str, before: Float[np.ndarray, "n d"], after: Float[np.ndarray, "n d"], among: np.ndarray | None
) -> Tower:
    """`among`: answers of the other tower, to be ranked; without it, those of this one to the other questions."""
    if before.shape != after.shape or not np.isfinite(after).all():
        return Tower(name, len(before), -1.0, -1.0, 0.0, len(before))
    one, two = (F.normalize(torch.from_numpy(said).double(), dim=-1) for said in (before, after))
    cosines = (one * two).sum(-1)
    answers = one if among is None else F.normalize(torch.from_numpy(among).double(), dim=-1)
    first, then = one @ answers.T, two @ answers.T
    if among is None:
        first.fill_diagonal_(-2.0)
        then.fill_diagonal_(-2.0)
    k = min(_NEAREST, first.shape[1])
    best = first.topk(k).values
    now = first.gather(1, then.topk(k).indices)  # how near, before, what is nearest now
    moved = (best - now).abs() > _TIE
    return Tower(
        name,
        len(before),
        float(cosines.min()),
        float(cosines.mean()),
        float((~moved[:, 0]).double().mean()),
        int(moved.any(1).sum()),
        float(np.abs(_lengths(after) / _lengths(before) - 1).max()),
    )


def _lengths(said: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    return np.maximum(np.linalg.norm(said.astype(np.float64), axis=1), 1e-12)


def _numbers(
    asked: Questions, measure: Measure, student: Reference, target: Opened, towers: Sequence[str]
) -> tuple[Number, ...]:
    """Of the towers that leave, the target's answers; of others, the student's own, or the teacher's, both times."""
    before = torch.from_numpy(student.images(asked.pictures))[measure.pictures] if student.sees else measure.seen()
    after = torch.from_numpy(target.images(asked.pictures))[measure.pictures] if "image" in towers else before
    said, tell = (before, after), student.tells
    answers = measure.answers(tell), measure.answers(target.texts if "text" in towers else tell)
    if any(one.shape[1] != other.shape[1] for one, other in zip(said, answers, strict=True)):
        return ()
    hits = [_hits(measure, *both) for both in zip(said, answers, strict=True)]
    differ = mean_differences(hits[1], hits[0], measure.right.numpy())
    adjusted = holm(differ.p)
    return tuple(_number(measure, place, hits, differ, float(adjusted[place])) for place in range(len(measure.ks)))


def _hits(measure: Measure, images: Float[Tensor, "n d"], answers: Float[Tensor, "m d"]) -> np.ndarray:
    """Whether each picture's right answer is among the k nearest, a column for each k."""
    ranks = ranked(images, answers, one_right(measure.right, len(answers))).rank
    return np.stack([ranks <= k for k in measure.ks], 1).astype(np.float64)


def _number(measure: Measure, place: int, hits: list[np.ndarray], differ: Differences, adjusted: float) -> Number:
    before, after = (float(one[:, place].mean()) for one in hits)
    low, high, items = float(differ.low[place]), float(differ.high[place]), len(hits[0])
    said = verdict(
        value=float(differ.value[place]),
        low=low,
        high=high,
        error=float(differ.error[place]),
        adjusted=adjusted,
        items=items,
    )
    apart = said.word != "not separable"
    return Number(measure.name.format(measure.ks[place]), before, after, low, high, apart, items, measure.items)
