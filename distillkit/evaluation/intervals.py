"""How sure one number is: a 95 % interval, by drawing the items again, whole clusters of them at a time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from distillkit.evaluation.clusters import clusters, ends, resamples

DRAWS = 2000
_LEVEL = 0.95


def mean_intervals(
    values: Float[np.ndarray, "n m"], group: Int[np.ndarray, "n"] | None = None, once: np.ndarray | None = None
) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]]:
    """Of the mean of each column. Not a number where there is but one cluster: one opinion has no spread.

    Where all clusters say the same of a share, 0 or 1, drawing them again finds no other: there the far end is the
    exact one of Clopper and Pearson, for as many answers as there are clusters.
    """
    found = clusters(values, group, once)
    means = [part @ found.totals / (part @ found.weights) for part in resamples(len(found), DRAWS)]
    low, high = ends(np.concatenate(means), found.mean, len(found))
    shares = ((values >= 0) & (values <= 1)).all(0)
    low, high = np.where(shares, np.clip(low, 0, 1), low), np.where(shares, np.clip(high, 0, 1), high)
    if len(found) > 1:
        edge = _edge(len(found))
        low = np.where((values == 1).all(0), edge, low)
        high = np.where((values == 0).all(0), 1 - edge, high)
    return low, high


def is_exact(value: float, low: float | None, high: float | None, groups: int) -> bool:
    """Whether the interval of a value is that of Clopper and Pearson, and not drawn: all answers are right, or none."""
    if groups < 2 or low is None or high is None:
        return False
    far = {1.0: low, 0.0: 1 - high}.get(value)
    return far is not None and bool(np.isclose(far, _edge(groups)))


def _edge(groups: int) -> float:
    """Below which a share is too low for so many answers to be right without exception."""
    return float(((1 - _LEVEL) / 2) ** (1 / groups))


def resampled_medians(
    values: Float[np.ndarray, "n"], group: Int[np.ndarray, "n"] | None = None
) -> Float[np.ndarray, "r"]:
    """The (lower) median each time that clusters were drawn again; the same draws for the same clusters."""
    place = np.arange(len(values)) if group is None else np.unique(group, return_inverse=True)[1]
    order = np.argsort(values, kind="stable")
    ordered, place = np.asarray(values, np.float64)[order], place[order]
    medians = []
    for part in resamples(int(place.max()) + 1, DRAWS):
        reached = np.cumsum(part[:, place], axis=1)
        medians.append(ordered[(reached < reached[:, -1:] / 2).sum(1)])
    return np.concatenate(medians)
