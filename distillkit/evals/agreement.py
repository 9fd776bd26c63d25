"""How much a student is like its teacher, right or wrong: what is near what, which class, which direction.

    cosine             mean cos(s_i, t_i), and the worst of them
    finds              is t_i the nearest of all t to s_i?
    neighbours@k       share of the teacher's k nearest images that are the student's, too
    linear CKA         ||S^T T||^2 / (||S^T S|| ||T^T T||) of centred features (Kornblith et al. 2019,
                       https://arxiv.org/abs/1905.00414): 1 for the same up to a rotation and a scale
    same class         argmax_c cos(s_i, w_c) == argmax_c cos(t_i, w_c)
    KL over classes    mean KL(p_t || p_s), p = softmax_c(scale cos(., w_c)), in nats
    class ranks        mean over images of Spearman's correlation, over classes, of cos(s_i, w_c) and cos(t_i, w_c)

Cosines with the teacher need the teacher's width; neighbours and CKA do not. The last three need class prompts. OOD
distillation speaks of consistency, https://arxiv.org/abs/2307.03135, but its code measures none: these are ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.evals._answers import Answers, Measure
from distillkit.evals._classes import class_embeddings
from distillkit.evals._encode import Encode, OpenStore, blank, learning_device, taught
from distillkit.evals._ranking import one_right, ranked
from distillkit.system.one_image import first_of_each

_CELLS = 1 << 25  # scores in memory at once
_FEW = 64  # images of a network that says nothing


class Agreement:
    """`store`: a store of images with the teacher's features. `prompts`: a store of class prompts; without it, nothing
    is measured about classes.

    `k`: how many nearest neighbours are compared. `scale`: the factor of cosines before the softmax of KL.
    """

    def __init__(
        self, *, store: str, prompts: str | None = None, k: int = 10, scale: float = 100.0, name: str | None = None
    ):
        self.store, self.k, self.scale, self.name = store, k, scale, name or "agreement"
        if prompts is not None:
            self.prompts = prompts

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """Each with its 95 % interval, and chance where that is known; the teacher agrees with itself."""
        store = open_store(self.store)
        places = first_of_each(store, store.ok_rows)  # another caption of an image is no rival of it
        n = len(places)
        if n < 2:
            raise StoreError(f"{store.path}: one image alone has no neighbours to agree on; measure on more images")
        said, k = encode(store)[places].float(), min(self.k, n - 1)
        theirs = taught(store)[places]
        if blank(encode):
            n = min(n, max(_FEW, k + 1))
            said, theirs = said[:n], theirs[:n]
        student, teacher = F.normalize(said, dim=-1), F.normalize(theirs, dim=-1)
        columns: dict[str, np.ndarray] = {}
        measures: list[Measure] = []
        if student.shape == teacher.shape:
            columns["cosine"] = (student * teacher).sum(-1).numpy()
            columns["rank"] = ranked(student, teacher, one_right(torch.arange(n), n)).rank
            measures += [Measure("cosine", "cosine"), Measure("worst cosine", "cosine", how="least")]
            measures += [Measure("finds", "rank", within=1, chance=1 / n)]
        there = learning_device(encode)
        columns["neighbours"] = shared_neighbours(student.to(there), teacher.to(there), k).cpu().numpy()
        measures += [Measure(f"neighbours@{k}", "neighbours", chance=k / (n - 1))]
        facts = {"images": float(n), "linear CKA": linear_cka(said, theirs)}
        if hasattr(self, "prompts"):
            facts |= self._about_classes(encode, open_store(self.prompts), student, teacher, columns, measures)
        keys = store.index["key"].take(store.ok_rows[places[:n]]).to_pylist()
        return [Answers(key=keys, columns=columns, measures=tuple(measures), facts=facts)]

    def _about_classes(
        self,
        encode: Encode,
        prompts: Any,
        student: Float[Tensor, "n d"],
        teacher: Float[Tensor, "n e"],
        columns: dict[str, np.ndarray],
        measures: list[Measure],
    ) -> dict[str, float]:
        """Adds columns and measures; returns how many classes there are."""
        ours, theirs = class_embeddings(prompts, encode), class_embeddings(prompts)
        count, parts = len(theirs), []
        often = torch.zeros(count)  # how often the teacher says each class
        step = max(_CELLS // count, 1)
        for one, other in zip(student.split(step), teacher.split(step), strict=True):
            s, t = one @ ours.T, other @ theirs.T
            log_s, log_t = (self.scale * s).log_softmax(1), (self.scale * t).log_softmax(1)
            kl = (log_t.exp() * (log_t - log_s)).sum(1)
            often += t.argmax(1).cpu().bincount(minlength=count)
            parts.append(torch.stack([(s.argmax(1) == t.argmax(1)).float(), kl, spearman(s, t)], 1))
        names = ("same", "kl", "class_ranks")
        columns |= dict(zip(names, torch.cat(parts).double().numpy().T, strict=True))
        most = float(often.max() / often.sum())
        measures += [Measure("same class", "same", chance=1 / count, majority=most)]
        measures += [Measure("KL over classes", "kl", more=False)]
        measures += [Measure("class ranks", "class_ranks")] if count > 1 else []
        return {"classes": float(count)}


def neighbours(x: Float[Tensor, "n d"], k: int) -> Int[Tensor, "n k"]:
    """The k nearest others of every unit vector."""
    step, found = max(_CELLS // len(x), 1), []
    for first in range(0, len(x), step):
        scores = x[first : first + step] @ x.T
        scores.diagonal(first).fill_(-torch.inf)  # itself
        found.append(scores.topk(k, dim=1).indices)
    return torch.cat(found)


def shared_neighbours(one: Float[Tensor, "n d"], other: Float[Tensor, "n e"], k: int) -> Float[Tensor, "n"]:
    """Of each item, the share of its k nearest others that are the same in both."""
    same = neighbours(one, k)[:, :, None] == neighbours(other, k)[:, None]
    return same.any(2).double().mean(1)


def linear_cka(one: Float[Tensor, "n d"], other: Float[Tensor, "n e"]) -> float:
    """Of features as they are; 0 where either says the same of everything."""
    x, y = (each.double() - each.double().mean(0) for each in (one, other))
    whole = float((x.T @ x).norm() * (y.T @ y).norm())
    return float((x.T @ y).norm() ** 2) / whole if whole else 0.0


def spearman(one: Float[Tensor, "n c"], other: Float[Tensor, "n c"]) -> Float[Tensor, "n"]:
    """Of each row: the correlation of ranks; equal values are ranked in order of their places."""
    a, b = (each.argsort(dim=1, stable=True).argsort(dim=1).double() for each in (one, other))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-12)).float()
