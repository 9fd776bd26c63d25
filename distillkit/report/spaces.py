"""What teacher and students said of the same images, as far as it is kept: nobody is asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.evals._encode import taught
from distillkit.evals.agreement import shared_neighbours
from distillkit.evaluation.arms import TEACHER
from distillkit.evaluation.features import Features
from distillkit.evaluation.measured import Measured
from distillkit.report.heard import Heard
from distillkit.store.reading.lookup import find
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.evenly import evenly
from distillkit.system.paths import expand
from distillkit.system.wording import as_word, count

LEAST = 5  # items of which a map says something
NEIGHBOURS = 10


@dataclass(frozen=True)
class Spaces:
    """Features of some items of an evaluation, `places` among them, by network, the teacher first; unit vectors."""

    heard: Heard
    places: np.ndarray
    features: dict[str, Float[Tensor, "n d"]]

    def agreement(self, who: str) -> Float[np.ndarray, "n"]:
        """Of each item, the share of its nearest others that it has with the teacher, too."""
        near = min(NEIGHBOURS, len(self.places) - 1)
        shared = shared_neighbours(self.features[who], self.features[TEACHER], near)
        return np.asarray(shared.numpy())


def spaces(evals: Sequence[Heard], runs: Mapping[str, Measured], most: int) -> Spaces | str:
    """Of the first evaluation for which all of them are kept, `most` items at even distances; or why there are none."""
    why = (
        "no evaluation has answers that are right or wrong (retrieval, zero_shot, knn have); add one"
        if not evals
        else ""
    )
    for heard in evals:
        found = _of(heard, runs, most)
        if not isinstance(found, str):
            return found
        why = why or found
    return why


def _of(heard: Heard, runs: Mapping[str, Measured], most: int) -> Spaces | str:
    try:
        opened = {who: FeatureStore(expand(heard.store), run.recipe.data.teacher) for who, run in runs.items()}
        store = next(iter(opened.values()))
        rows = find(pa.array(heard.keys, pa.string()), store.index["key"])
        said = {TEACHER: taught(store)}
    except StoreError as error:
        return f"{heard.eval}: {str(error).partition(';')[0]}"
    for who, run in runs.items():
        kept = Features(run.folder / "features", run.network).of(opened[who])
        if kept is None:
            where = run.folder.parent
            return (
                f"{heard.eval}: what {who} said of {heard.store} is not kept; run: distillkit evaluate {as_word(where)}"
            )
        said[who] = kept
    known = np.flatnonzero(np.isin(rows, store.ok_rows))
    if len(known) < LEAST:
        return f"{heard.eval}: too few for a map: {count(len(known), 'item')}"
    places = evenly(known, most)
    among = torch.from_numpy(np.searchsorted(store.ok_rows, rows[places]))
    chosen = {who: torch.nn.functional.normalize(one[among].float(), dim=-1) for who, one in said.items()}
    for who, one in chosen.items():
        if not torch.isfinite(one).all():
            return f"{heard.eval}: {who} says NaN or infinity of some of its images"
    return Spaces(heard, places, chosen)
