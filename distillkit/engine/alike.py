"""A teacher that says the same of everything has nothing to teach, and no error tells: its vectors do."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F

from distillkit.store.reading.reader import FeatureStore
from distillkit.system.wording import count

_LOOKED_AT = 256  # rows, at even distances
_FEW = 8
_VECTORS = ("image", "cls", "text")  # neighbours' scores, for one, may be alike
_ALIKE = 0.99  # mean cosine of two rows; of a trained teacher it is far below, though its vectors share a direction


def told_of_alike(store: FeatureStore) -> Iterator[str]:
    """A line for each field of vectors in which two rows hardly differ."""
    for name in store.feature_names:
        field = store.fields[name]
        if name.rpartition("/")[2] not in _VECTORS or len(field.view_shape) != 1:
            continue
        rows = store.rows_with(name)
        rows = rows[:: max(len(rows) // _LOOKED_AT, 1)]
        if len(rows) < _FEW:
            continue
        units = F.normalize(store.read(name, rows, view=0 if field.per_view else None).double(), dim=1)
        mean = float((units.sum(0).square().sum() - len(rows)) / (len(rows) * (len(rows) - 1)))
        if not mean <= _ALIKE:  # NaN is no trained teacher's either
            yield (
                f"{store.path}: {name}: {count(len(rows), 'row')} that were looked at are nearly one vector (mean "
                f"cosine {mean:.4f}): the weights may be untrained, the preprocessing another teacher's, or the "
                "samples all alike"
            )
