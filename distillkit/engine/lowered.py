"""What a teacher would lose in another precision, on rows of the user's own: asked again, and compared with the store.

    distillkit store precision stores/demo/images --against fp8

Two numbers tell: how far each vector turns (1 - cosine), and how many of its nearest neighbours stay (overlap@10).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from distillkit.callable import Say, silent
from distillkit.engine.reforward import said_now, teacher_of
from distillkit.errors import StoreError
from distillkit.originals import Originals
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.precision import NEIGHBOURS, OVERLAP, neighbours_kept
from distillkit.system.evenly import evenly
from distillkit.system.progress import heard_by, paced
from distillkit.system.wording import count as counted

_BATCH, _VECTORS = 32, 8192


@dataclass(frozen=True)
class Lost:
    """Of one field: 1 - cosine of what was said then and now, mean and worst, and the share of neighbours that stay."""

    field: str
    precision: str
    vectors: int
    error: float
    worst: float
    overlap: float

    def line(self) -> str:
        told = "it may pass for the same" if self.overlap >= OVERLAP else "it is another teacher"
        return (
            f"{self.field} in {self.precision}: {counted(self.vectors, 'vector')}, 1 - cosine {self.error:.1e}, worst "
            f"{self.worst:.1e}, overlap@{NEIGHBOURS} {self.overlap:.4f}; {told}"
        )


def lowered(
    store: FeatureStore, precision: str, count: int, fields: Collection[str] | None = None, say: Say = silent
) -> Iterator[Lost]:
    """Every field of vectors, or those asked for. StoreError, or RecipeError, where nothing can be asked again so."""
    wanted = {store.field_name(name) for name in fields} if fields else set(store.feature_names)
    wanted = {name for name in wanted if name in store.feature_names and name.rpartition("/")[2] != "logits"}
    if not wanted:
        raise StoreError(f"{store.path}: --field names none that holds vectors")
    store = store.relying_on(wanted)
    usable = reduce(np.intersect1d, (store.rows_with(name) for name in wanted))
    rows = evenly(usable, count)
    rows = np.random.default_rng(0).permutation(rows)
    if len(rows) < 2:
        raise StoreError(f"{store.path}: too few to measure: {counted(len(rows), 'row')} with features")
    asked = False
    for alias, record in store.teachers.items():
        own = {full: full.partition("/")[2] for full in wanted if full.startswith(f"{alias}/")}
        component = teacher_of(store, alias, record, None) if own else None
        if component is not None:
            asked, component = True, component.model_copy(update={"precision": precision})
            component.check("teachers", f"--against {precision}")
            with heard_by(say):
                network = component.build("teachers")
            yield from _compared(store, rows, network, own, precision, say)
    if not asked:
        raise StoreError(f"{store.path}: none of its teachers can be run again")


def _compared(
    store: FeatureStore, rows: np.ndarray, network: Any, own: dict[str, str], precision: str, say: Say
) -> Iterator[Lost]:
    files = Originals(store, None) if set(own.values()) - {"text"} else None
    views = np.zeros(len(rows), np.int64)
    now: dict[str, list[Tensor]] = {full: [] for full in own}
    # Of tokens, some rows are enough; all would fill the memory.
    enough = {full: -(-_VECTORS // math.prod(store.fields[full].view_shape[:-1])) for full in own}
    for first in paced(f"{store.path}: rows asked in {precision}", len(rows), _BATCH, say):
        part = slice(first, first + _BATCH)
        said = said_now(network, set(own.values()), store, files, rows[part], views[part])
        for full, name in own.items():
            if first < enough[full]:
                now[full].append(said[name])
    for full in own:
        told = torch.cat(now[full])
        some = slice(len(told))
        then = store.read(full, rows[some], view=views[some] if store.fields[full].per_view else None)
        one, other = (normalize(_vectors(said), dim=1) for said in (then, told))
        errors = (one - other).square().sum(1) / 2  # 1 - cosine, without the difference of two numbers that are near
        yield Lost(full, precision, len(one), float(errors.mean()), float(errors.max()), neighbours_kept(one, other))


def _vectors(said: Tensor) -> Float[Tensor, "n d"]:
    return said.flatten(0, -2).double()
