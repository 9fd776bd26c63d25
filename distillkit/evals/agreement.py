"""How much a student is like its teacher, right or wrong: what is near what, which class, which direction.

    cosine           mean cos(s_i, t_i)
    finds            is t_i the nearest of all t to s_i?
    neighbours@k     share of the teacher's k nearest images that are the student's, too
    same class       argmax_c cos(s_i, w_c) == argmax_c cos(t_i, w_c)

Cosines with the teacher need the teacher's width; neighbours do not. OOD distillation speaks of consistency,
https://arxiv.org/abs/2307.03135, but its code measures none: these are ours.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillkit.evals._classes import class_embeddings
from distillkit.evals._encode import Encode, OpenStore
from distillkit.evals._ranks import interval, ranks_of


class Agreement:
    """`store`: images with the teacher's features. `prompts`: a store of class prompts, for `same class`."""

    def __init__(self, *, store: str, prompts: str | None = None, k: int = 10, name: str | None = None):
        self.store, self.k, self.name = store, k, name or "agreement"
        if prompts is not None:
            self.prompts = prompts

    def run(self, encode: Encode, open_store: OpenStore) -> dict[str, float]:
        """Each with its 95 % interval and chance; the teacher agrees with itself."""
        store = open_store(self.store)
        teacher = F.normalize(store.read("image", store.ok_rows).float(), dim=-1)
        student = F.normalize(encode(store).float(), dim=-1)
        n, k = len(teacher), min(self.k, len(teacher) - 1)
        result: dict[str, float] = {"images": float(n)}
        if student.shape == teacher.shape:
            result["cosine"] = float((student * teacher).sum(-1).mean())
            found = ranks_of(student, teacher, torch.arange(n)) < 1
            result |= _share("finds", found.double(), 1 / n)
        shared = neighbours(student, k)[:, :, None] == neighbours(teacher, k)[:, None]
        result |= _share(f"neighbours@{k}", shared.any(2).double().mean(1), k / (n - 1))
        return result | self._same_class(encode, open_store, student, teacher)

    def _same_class(self, encode: Encode, open_store: OpenStore, student: Tensor, teacher: Tensor) -> dict[str, float]:
        if not hasattr(self, "prompts"):
            return {}
        prompts: Any = open_store(self.prompts)
        ours, theirs = class_embeddings(prompts, encode), class_embeddings(prompts)
        same: Bool[Tensor, "n"] = (student @ ours.T).argmax(1) == (teacher @ theirs.T).argmax(1)
        return {"classes": float(len(theirs))} | _share("same class", same.double(), 1 / len(theirs))


def neighbours(x: Float[Tensor, "n d"], k: int) -> Int[Tensor, "n k"]:
    """The k nearest others of every unit vector."""
    return (x @ x.T).fill_diagonal_(-torch.inf).topk(k, dim=1).indices


def _share(name: str, each: Float[Tensor, "n"], chance: float) -> dict[str, float]:
    low, high = interval(each.numpy(), torch.arange(len(each)).numpy())
    return {name: float(each.mean()), f"{name}.low": low, f"{name}.high": high, f"{name}.chance": chance}
