"""Whether answers know anything of the items that they were given to: a test against answers without looking.

It is of these items and of these classes or texts, so every item has a say of its own. The intervals of a number ask
another thing, what other classes or texts would change, and draw whole groups of items again (clusters.py).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int
from scipy.special import bdtrc

from distillkit.evals._answers import Answers, Measure

LEVEL = 0.025  # one-sided: where an interval of 95 % by items would begin above chance
_DRAWS = 1000


def p_by_chance(answers: Answers, measure: Measure) -> float | None:
    """How often answers that are given without looking reach as much; None of what is no share of right answers.

    The answers are dealt out to the items anew: who says one thing of everything, be it the most frequent class,
    reaches the same every time. Where the answers were kept less far than the measure counts, those that were kept are
    dealt out: who knows nothing of the items knows nothing there. Where they do not say what was hit, nothing that says
    k things without looking is right for more than the k most frequent ones, nor has a longer tail than independent
    draws of that share (Hoeffding 1956, https://doi.org/10.1214/aoms/1177728178).
    """
    k = measure.within
    if k is None or measure.chance is None or measure.once or measure.how != "mean":
        return None
    ranks = answers.columns[measure.column]
    kept = k if answers.best is None else min(k, answers.best.shape[1])
    said = _told_by(answers, ranks <= kept, kept)
    if said is not None and answers.target is not None:
        return _dealt(said, answers.target, int((ranks <= kept).sum()))
    hits = ranks <= k
    share, found = max(measure.chance, _frequent(answers, k)), int(hits.sum())
    return 1.0 if not found or share >= 1 else float(bdtrc(found - 1, len(hits), share))


def _told_by(answers: Answers, hits: Bool[np.ndarray, "n"], k: int) -> Int[np.ndarray, "n k"] | None:
    """The k best answers, where these and the targets are all that the hits come from: not of images whose several
    captions are all right.
    """
    if answers.best is None or answers.target is None or answers.best.shape[1] < k:
        return None
    said = answers.best[:, :k]
    return said if np.array_equal((said == answers.target[:, None]).any(1), hits) else None


def _dealt(said: Int[np.ndarray, "n k"], target: Int[np.ndarray, "n"], found: int) -> float:
    random = np.random.default_rng(0)
    reached = sum(int((said == random.permutation(target)[:, None]).any(1).sum()) >= found for _ in range(_DRAWS))
    return (1 + reached) / (1 + _DRAWS)


def _frequent(answers: Answers, k: int) -> float:
    """The share of the items that the k most frequent right answers are right for; each its own where nobody knows."""
    owner = answers.target if answers.target is not None else answers.group
    if owner is None:
        return k / max(len(answers.key), 1)
    counts = np.sort(np.unique(owner, return_counts=True)[1])[::-1]
    return float(counts[:k].sum() / counts.sum())
