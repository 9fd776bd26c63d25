"""What a field of a store is: whose numbers, how many in a row, and of what kind."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer
from pydantic import Field as Rule

PARAMETERS = "views/parameters"  # the store's own field: how each view was cut; its group is no teacher

# How the numbers of a dtype lie on disk. numpy and zarr know no bfloat16: its bit patterns are stored as uint16.
DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype("<f2"),
    "float32": np.dtype("<f4"),
    "bfloat16": np.dtype("<u2"),
    "int8": np.dtype("i1"),
    "int32": np.dtype("<i4"),
    "uint8": np.dtype("u1"),
}
# What every number of a row without features is, so that it never looks like an answer. 0x7FC0 is bfloat16's NaN.
ABSENT: dict[str, float] = {
    "float16": np.nan,
    "float32": np.nan,
    "bfloat16": 0x7FC0,
    "int8": -128,
    "int32": -1,
    "uint8": 255,
}


class Strict(BaseModel):
    """Checked to the letter. Optional keys that say nothing are left out, so what older versions wrote stays equal."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_serializer(mode="wrap")
    def _without_silence(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        known = type(self).model_fields
        return {name: value for name, value in handler(self).items() if value or known[name].is_required()}


class Field(Strict):
    """One array of the store: rows of `shape` made by the teacher of that name; if `per_view`, first axis the views."""

    teacher: str
    shape: list[int] = Rule(min_length=1)
    dtype: Literal["float16", "float32", "bfloat16", "int8", "int32", "uint8"]
    per_view: bool = False
    compression: Literal["zstd"] | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    @property
    def views(self) -> int:
        """How many views a row has values for."""
        return self.shape[0] if self.per_view else 1

    @property
    def view_shape(self) -> list[int]:
        """What `read` gives of one view, without the rows."""
        return self.shape[1:] if self.per_view else self.shape

    @property
    def holds_tokens(self) -> bool:
        """Whether a view has many vectors, such as those of patches, and not one."""
        return len(self.view_shape) > 1

    @property
    def in_version_1(self) -> bool:
        return self.dtype in ("float16", "float32") and not self.per_view and not self.compression


def blank(field: Field, rows: int) -> np.ndarray:
    """Rows of a field that hold no features yet, as they lie on disk: [rows, *shape]."""
    return np.full((rows, *field.shape), ABSENT[field.dtype], DTYPES[field.dtype])
