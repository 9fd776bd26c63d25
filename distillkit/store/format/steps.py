"""int8 fields: value = centre + scale * q, with a centre and a scale of each dimension (the last axis of a row).

They are fixed before the first row is written, from rows of the whole corpus, so every shard means the same by its
numbers. Of unit vectors with a few outlying dimensions, one scale for all dimensions loses ten times as much; faiss
calls this scheme SQ8 (https://github.com/facebookresearch/faiss/wiki/Faiss-indexes).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.store.format.field import ABSENT, Field
from distillkit.store.format.layout import steps_path

_SAMPLE_ROWS, _SAMPLE_BYTES = 16_384, 1 << 28  # to measure a corpus by, in float32
_LARGEST = 127
_ABSENT = int(ABSENT["int8"])  # -128
_MARGIN = 1.3  # what is not in the sample may lie this much farther from the centre
_LEAST = 2.0**-10  # a dimension that hardly moves in the sample gets this share of the largest scale


@dataclass(frozen=True)
class Steps:
    """What the numbers of an int8 field mean: float32 [d] each."""

    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, sample: Tensor) -> Steps:
        """For features like these: [rows, ..., d]. Rows with a value that is not finite do not count."""
        vectors = sample.float().flatten(0, -2)
        vectors = vectors[vectors.isfinite().all(dim=1)]
        if not len(vectors):
            raise StoreError("no row of the sample has features, so int8 has no scale; see the failures with float16")
        return cls._between(vectors.amin(0).numpy(), vectors.amax(0).numpy(), _MARGIN)

    @classmethod
    def covering(cls, several: Iterable[Steps]) -> Steps:
        """Steps for every value that any of these can hold. Where all are equal, the first, bit for bit."""
        every = list(several)
        if all(steps == every[0] for steps in every):
            return every[0]
        low = np.min([steps.centre - _LARGEST * steps.scale for steps in every], axis=0)
        return cls._between(low, np.max([steps.centre + _LARGEST * steps.scale for steps in every], axis=0), 1.0)

    @classmethod
    def _between(cls, low: np.ndarray, high: np.ndarray, margin: float) -> Steps:
        scale = margin * (high.astype("f8") - low) / 2 / _LARGEST
        scale = np.maximum(scale, scale.max() * _LEAST) if scale.max() > 0 else np.ones_like(scale)
        return cls(((high.astype("f8") + low) / 2).astype("<f4"), scale.astype("<f4"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Steps) and self.tobytes() == other.tobytes()

    __hash__ = None  # type: ignore[assignment]

    def encode(self, features: Tensor) -> tuple[Tensor, int]:
        """[..., d] as int8, and how many values had to be clipped. A NaN becomes absent."""
        exact = ((features.float() - torch.from_numpy(self.centre)) / torch.from_numpy(self.scale)).round_()
        clipped = int(((exact.abs() > _LARGEST) & exact.isfinite()).sum())
        return exact.clamp_(-_LARGEST, _LARGEST).nan_to_num_(nan=_ABSENT).to(torch.int8), clipped

    def decode(self, kept: Tensor, out: Tensor | None = None) -> Tensor:
        """int8 [..., d] as float32, into `out` if given; absent values are NaN."""
        values = torch.mul(kept, torch.from_numpy(self.scale), out=out).add_(torch.from_numpy(self.centre))
        absent = kept[..., :1] == _ABSENT
        return values.masked_fill_(absent, torch.nan) if absent.any() else values

    def tobytes(self) -> bytes:
        """As they lie on disk: the array [2, d] of centres and scales."""
        return np.stack([self.centre, self.scale]).astype("<f4").tobytes()

    @classmethod
    def read(cls, path: Path, width: int) -> Steps:
        """From its file. StoreError when that is not what it must be."""
        raw = path.read_bytes() if path.is_file() else b""
        values = np.frombuffer(raw, "<f4").reshape(2, -1) if len(raw) == 8 * width else np.zeros((2, 1), "f4")
        if not (np.isfinite(values).all() and (values[1] > 0).all()):
            raise damaged(path)
        return cls(*values.copy())


def damaged(path: Path) -> StoreError:
    """Of a file of steps that is not what it must be."""
    return StoreError(
        f"{path}: missing or damaged, and int8 rows mean nothing without it; restore it, or move the store "
        "away and make it again"
    )


def sample_of(rows: int, fields: Iterable[Field]) -> np.ndarray:
    """Rows spread over a whole corpus of so many, to measure the steps of these fields by: int64, ascending."""
    most = _SAMPLE_BYTES // (4 * sum(math.prod(field.shape) for field in fields))
    return np.unique(np.linspace(0, rows - 1, max(1, min(rows, _SAMPLE_ROWS, most))).astype(np.int64))


def steps_of(store: Path, fields: Mapping[str, Field]) -> dict[str, Steps]:
    """Those of every int8 field, as they were written when the store was begun."""
    quantised = {name: field for name, field in fields.items() if field.dtype == "int8"}
    return {name: Steps.read(store / steps_path(name), field.shape[-1]) for name, field in quantised.items()}
