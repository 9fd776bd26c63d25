"""Seen and unseen classes apart, and their harmonic mean: what OOD distillation is judged by.

    harmonic mean = 2 s u / (s + u),   s, u: mean per class over new images of seen, and of unseen classes

The split of OOD distillation (https://arxiv.org/abs/2307.03135): classes are train or unseen; images of train classes
are learned from or kept ("val on train"). Its code calls the numbers val_on_train and val.
`distillkit data split` makes such a split. Each side is asked among its own classes, as there.
"""

from __future__ import annotations

import numpy as np

from distillkit.evals._answers import Answers, Measure
from distillkit.evals._encode import Encode, OpenStore
from distillkit.evals.zero_shot import ZeroShot

_SIDES = ("seen", "unseen")


class SeenUnseen:
    """`seen`: a store of images of the classes that were trained on; the images themselves were not. `seen_prompts`: a
    store of the seen classes' prompts. `store`: a store of images of unseen classes. `prompts`: a store of the unseen
    classes' prompts.
    """

    def __init__(self, *, seen: str, seen_prompts: str, store: str, prompts: str, name: str | None = None):
        self.store, self.prompts, self.name = store, prompts, name or "seen_unseen"
        self.further = [seen, seen_prompts]
        self.sides = (ZeroShot(store=seen, prompts=seen_prompts), ZeroShot(store=store, prompts=prompts))

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """The harmonic mean over the images of both; then top-1, top-5 and mean per class of each."""
        found = [side.run(encode, open_store)[0] for side in self.sides]
        return [_both(found), *(one.called(name) for one, name in zip(found, _SIDES, strict=True))]

    def check(self, open_store: OpenStore) -> None:
        """StoreError for labels of no use."""
        for side in self.sides:
            side.check(open_store)


def _both(found: list[Answers]) -> Answers:
    """One row for each image: what it gives to the mean per class of its side, and what it weighs there."""
    hits, weights, groups, first = [], [], [], 0
    for place, one in enumerate(found):
        assert one.group is not None  # the class
        _, group, count = np.unique(one.group, return_inverse=True, return_counts=True)
        weight = np.zeros((len(group), 2))
        weight[:, place] = 1 / count[group]
        weights.append(weight)
        hits.append(weight * (one.columns["rank"] <= 1)[:, None])
        groups.append(group + first)
        first += len(count)
    return Answers(
        key=[f"{name} {key}" for name, one in zip(_SIDES, found, strict=True) for key in one.key],
        columns={"hit": np.concatenate(hits), "weight": np.concatenate(weights)},
        measures=(Measure("harmonic mean", "hit", how="harmonic", over="weight"),),
        group=np.concatenate(groups).astype(np.int64),
        facts={"images": float(sum(len(one.key) for one in found))},
    )
