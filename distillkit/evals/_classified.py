"""Images put into classes, as rows: which class came first, where the right one was, and by how much it led."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from distillkit.evals._answers import Answers, Measure
from distillkit.evals._classes import Classes
from distillkit.evals._labels import UNSHOWN, Labels
from distillkit.evals._ranking import Ranking


def classified(
    store: Any,
    labels: Labels,
    label: Int[Tensor, "n"],
    classes: Classes,
    found: Ranking,
    *,
    names: Sequence[str] | None = None,
    top_5: bool = True,
    facts: dict[str, float] | None = None,
) -> list[Answers]:
    """`label`: the number of each image's class. Images of one class are a group: they are not independent.

    `names` of the classes by number; without, the numbers that the store has for them. `top_5`: the order of all
    classes means something; of votes that most classes get none of, it does not.
    """
    count = len(classes)
    bare = np.isin(labels.places, labels.bare)
    sizes = np.unique(label.numpy(), return_counts=True)
    # Nobody says a class that has no example, however many are of it: so it is not the one that is said of all.
    said = np.isin(sizes[0], label.numpy()[~bare])
    often = np.sort(sizes[1][said])[::-1] / max(len(label), 1)  # shares of images
    shares = {k: float(min(often[:k].sum(), 1.0)) for k in (1, 5)}
    measures = [Measure("top-1", "rank", within=1, chance=1 / count, majority=shares[1])]
    if top_5:
        measures.append(Measure("top-5", "rank", within=5, chance=min(5 / count, 1.0), majority=shares[5]))
    # Classes without an image have no voice in it, so one of those that have is more than one of all.
    alone = float(said.any()) / max(len(said), 1)
    measures.append(Measure("mean per class", "rank", within=1, once=True, chance=1 / count, majority=alone))
    columns = {"rank": found.rank, "margin": found.margin}
    if bare.any():
        columns[UNSHOWN] = bare.astype(np.int8)
    if count == 2:  # how much more it is like the second class: what hateful memes and tumours are asked by
        columns["second"] = np.where(label.numpy() == 1, found.margin, -found.margin)
        columns["is second"] = label.numpy()
        measures.append(Measure("ROC-AUC", "second", how="auc", over="is second", chance=0.5))
    told = {"images": float(len(label)), "classes": float(count)} | (facts or {}) | labels.noted | classes.noted
    answers = Answers(
        key=store.index["key"].take(store.ok_rows[labels.places]).to_pylist(),
        columns=columns,
        measures=tuple(measures),
        target=label.numpy(),
        group=label.numpy(),
        best=found.best,
        names=list(names) if names is not None else [str(one) for one in classes.first_ids.tolist()],
        facts=told,
    )
    return [answers]
