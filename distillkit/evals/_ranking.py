"""For each item, in what order the answers come, where the right one is among them, and by how much it leads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillkit.evals._answers import BEST
from distillkit.system.progress import hearer, paced

_CELLS = 1 << 25  # scores in memory at once, whatever the number of items and answers
_MOST = 4096  # items at once
_FEW = 64  # items that are ranked where the others need not be


@dataclass(frozen=True)
class Ranking:
    """`rank`: from 1, of the best of an item's right answers; beyond all of them where it has none. `margin`: the score
    of that one minus that of the best wrong one. `best`: the answers that come first, then -1 where no more has a vote.

    Ties are taken as arg-max takes them, the first answer first, as open_clip and clip_benchmark do: a network that
    says the same of everything is right by chance.
    """

    rank: Int[np.ndarray, "n"]
    margin: Float[np.ndarray, "n"]
    best: Int[np.ndarray, "n k"]


# Which answers are right for the items `first` to `stop`: bool, an item a row.
Right = Callable[[int, int], Bool[Tensor, "b m"]]


def ranked(
    asked: Float[Tensor, "n d"],
    answers: Float[Tensor, "m d"],
    right: Right,
    itself: Int[Tensor, "n"] | None = None,
    few: bool = False,
) -> Ranking:
    """By cosine. `itself`: an answer of each item that is none, since it is the item, or -1. `few`: see `ranked_by`."""
    answers = F.normalize(answers.float(), dim=-1)

    def scores(first: int, stop: int) -> Float[Tensor, "b m"]:
        found = F.normalize(asked[first:stop].float(), dim=-1) @ answers.T
        if itself is not None:
            place = itself[first:stop]
            mine = (place >= 0).nonzero().squeeze(1)
            found[mine, place[mine]] = -torch.inf
        return found

    return ranked_by(scores, len(asked), len(answers), right, few)


def ranked_by(
    scores: Callable[[int, int], Float[Tensor, "b m"]],
    items: int,
    answers: int,
    right: Right,
    few: bool = False,
    votes: bool = False,
) -> Ranking:
    """By any scores, some items at a time. `few`: the first items alone, and the others are taken to be like them,
    which is enough for a network that says nothing. `votes`: scores are votes, and what got none is not near.
    """
    step = min(max(_CELLS // max(answers, 1), 1), _FEW if few else _MOST)
    starts = paced("items ranked:", min(step, items) if few else items, step, hearer())
    spans = ((first, min(first + step, items)) for first in starts)
    parts = [ranking(scores(*span), right(*span), votes) for span in spans]
    found = [np.concatenate([getattr(one, name) for one in parts]) for name in ("rank", "margin", "best")]
    return Ranking(*(np.resize(one, (items, *one.shape[1:])) if few else one for one in found))


def one_right(number: Int[Tensor, "n"], answers: int) -> Right:
    """One right answer for each item."""
    return lambda first, stop: number[first:stop, None] == torch.arange(answers)


def own(item: Int[Tensor, "p"], answer: Int[Tensor, "p"], answers: int) -> Right:
    """Pairs of an item and a right answer of it, by item."""
    item = item.contiguous()

    def right(first: int, stop: int) -> Bool[Tensor, "b m"]:
        low, high = torch.searchsorted(item, torch.tensor([first, stop])).tolist()
        found = torch.zeros(stop - first, answers, dtype=torch.bool)
        found[item[low:high] - first, answer[low:high]] = True
        return found

    return right


def ranking(scores: Float[Tensor, "b m"], right: Bool[Tensor, "b m"], votes: bool = False) -> Ranking:
    """Of scores that are there. What is no number is nearest to nothing. `votes`: see `ranked_by`."""
    scores = scores.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    top = scores.masked_fill(~right, -torch.inf).amax(1)
    first = ((scores == top[:, None]) & right).int().argmax(1)
    earlier = torch.arange(scores.shape[1]) < first[:, None]
    rank = 1 + ((scores > top[:, None]) | ((scores == top[:, None]) & earlier)).sum(1)
    rank = torch.where(right.any(1), rank, scores.shape[1] + 1)
    wrong = scores.masked_fill(right, -torch.inf).amax(1)
    best = _best(scores, min(BEST, scores.shape[1]))
    if votes:  # the first is an answer all the same
        best[:, 1:] = best[:, 1:].masked_fill(scores.gather(1, best[:, 1:]) <= 0, -1)
    return Ranking(rank.numpy(), (top - wrong).nan_to_num(nan=0.0).numpy(), best.int().numpy())


def _best(scores: Float[Tensor, "b m"], k: int) -> Int[Tensor, "b k"]:
    """The k best in order, of equals the first one; topk alone is free to take any of them."""
    values, places = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    best = places[:, :k].clone()
    for row in (values[:, 1:] == values[:, :-1]).any(1).nonzero().ravel().tolist():
        best[row] = scores[row].sort(descending=True, stable=True).indices[:k]
    return best


def chance(right: Int[np.ndarray, "n"], answers: int | Int[np.ndarray, "n"], k: int) -> float:
    """How often k answers drawn at random hold one of an item's `right` ones."""
    missed = np.ones(len(right))
    for drawn in range(min(k, int(np.min(answers)))):
        missed *= np.maximum(answers - right - drawn, 0) / (answers - drawn)
    return float(1 - missed.mean())
