"""Maps of embeddings in the plane: t-SNE (van der Maaten and Hinton 2008), as openTSNE computes it.

The first map begins from its two main directions, each other one where the first one ended: an item that both networks
see alike stands at about the same place in both. Places are the library's; only their nearness means something.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from distillkit.callable import Say
from distillkit.errors import MissingExtra
from distillkit.system.wording import count
from distillkit.system.workers import cores

_EARLY, _LATE = 250, 500  # steps with neighbours pulled together, and without
_EXAGGERATION = 12
_SEED = 0
_FEW = 4000

Map = Float[np.ndarray, "n 2"]


def maps(features: Sequence[Float[Tensor, "n d"]], say: Say = lambda line: None) -> list[Map]:
    """A map for each, of the same items. MissingExtra without openTSNE."""
    try:
        from openTSNE import TSNEEmbedding, affinity, initialization
    except ModuleNotFoundError as error:
        raise MissingExtra("openTSNE", "report") from error
    made: list[Map] = []
    for number, one in enumerate(features):
        say(f"drawing map {number + 1} of {len(features)}, of {count(len(one), 'item')}")
        x = one.numpy().astype(np.float64)
        near = affinity.PerplexityBasedNN(
            x, perplexity=min(30.0, (len(x) - 1) / 3), n_jobs=_threads(len(x)), random_state=_SEED
        )
        begun = initialization.rescale(made[0]) if made else _main_directions(x)
        map_ = TSNEEmbedding(begun, near, n_jobs=_threads(len(x)), random_state=_SEED)
        map_ = map_.optimize(_EARLY, exaggeration=_EXAGGERATION, momentum=0.5)
        made.append(np.asarray(map_.optimize(_LATE, momentum=0.8)))
    return made


def _main_directions(x: Float[np.ndarray, "n d"]) -> Map:
    """The two directions of most spread, small, as t-SNE wants its beginning; something small where there is none."""
    centred = x - x.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    vectors = vectors[:, np.argsort(-values, kind="stable")[:2]]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
    found = centred @ vectors
    found = np.pad(found, ((0, 0), (0, 2 - found.shape[1])))
    noise = np.random.default_rng(_SEED).normal(size=found.shape)  # of equal items, each has a place of its own
    return 1e-4 * found / max(float(found[:, 0].std()), 1e-12) + 1e-6 * noise


def _threads(items: int) -> int:
    """Of few items one thread has done its step before others have woken up."""
    if items < _FEW:
        return 1
    return cores()
