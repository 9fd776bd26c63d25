"""Stores without a teacher: what their fields are, their plan, and what is said of each row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from hypothesis import strategies as st

from distillkit.store.format.field import ABSENT, DTYPES, Field
from distillkit.store.format.plan import SCHEMA
from distillkit.store.format.steps import Steps

PER_SHARD = 64
# 64 such rows are whole pages.
_KINDS = [
    ("float16", [32]),
    ("float16", [2, 16]),
    ("float32", [32]),
    ("bfloat16", [64]),
    ("int8", [64]),
    ("int32", [16]),
    ("uint8", [64]),
]


def fields() -> st.SearchStrategy[dict[str, Field]]:
    """Fields of one teacher, whose shards of 64 rows are whole pages."""
    one = st.sampled_from(_KINDS).map(lambda kind: Field(teacher="toy", shape=kind[1], dtype=kind[0]))  # type: ignore[arg-type]
    return st.dictionaries(st.sampled_from(["toy/image", "toy/text", "toy/patches"]), one, min_size=1)


def plan_of(rows: int, first: int = 0) -> pa.Table:
    """A plan of so many rows, numbered from `first`, each with an image, a text and a label of its own."""
    keys = [f"k{row:05d}" for row in range(first, first + rows)]
    columns = [keys, [f"{key}.png" for key in keys], [f"text {key}" for key in keys], [*range(first, first + rows)]]
    return pa.table(columns, SCHEMA)


def identity_of(weights: str = "0") -> dict[str, Any]:
    """What such a store was made by; other weights are another teacher."""
    return {
        "source": {"kind": "toy", "knobs": {}, "root": None, "duplicates": 0},
        "teachers": {"toy": {"model": "toy", "weights_sha256": weights * 64}},
        "views": {"count": 1},
    }


def steps_of_fields(fields: dict[str, Field]) -> dict[str, Steps]:
    """What the numbers of int8 fields mean."""
    chance = torch.Generator().manual_seed(0)
    return {
        name: Steps.of(torch.randn(8, *field.shape, generator=chance))
        for name, field in fields.items()
        if field.dtype == "int8"
    }


def rows_of(fields: dict[str, Field], first: int, stop: int, take: int) -> dict[str, np.ndarray]:
    """What a teacher says of rows, as it lies on disk; another `take` says something else of them."""
    random = np.random.default_rng([first, take])
    return {
        name: _as_stored(100 * random.standard_normal((stop - first, *field.shape)), field.dtype)
        for name, field in fields.items()
    }


def _as_stored(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        return (values.astype("<f4").view("<u4") >> 16).astype(DTYPES[dtype])
    if dtype == "int8":
        values = values.clip(-127, 127)
    if dtype in ("int32", "uint8"):
        values = abs(values) % 255
    return values.astype(DTYPES[dtype])


def without_features(values: np.ndarray, rows: list[int], field: Field) -> np.ndarray:
    """The same rows; these of them are "absent"."""
    changed = values.copy()
    changed[rows] = ABSENT[field.dtype]
    return changed
