"""TinyViT's saved logits of one epoch: the best k classes of each image, under the augmentation of a stored seed.

`rank0-keys.txt` names a row a line; `rank0-values.bin` has of each, little-endian: the seed as int32, k classes as 16
bits each, k probabilities as float16, falling. https://github.com/microsoft/Cream/tree/main/TinyViT
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.errors import SourceError
from distillkit.importers._record import imported
from distillkit.store.format.field import Field
from distillkit.system.wording import count as counted
from distillkit.types import Sample

# What float16 rounded to zero was at most half of its smallest number; the logarithm of zero would be no number.
_LEAST = np.float32(2.0**-25)
_MOST = 1.01  # a sum of chances: float16 rounds each by a two-thousandth at most


class Tinyvit:
    """`root`: a folder such as `logits_top100_epoch0`, whose name tells k. `classes`: how many classes the teacher
    knows.

    Gives `logits` (log-probabilities), `classes`, and `seed`, from which TinyViT's own code makes the view again.
    """

    def __init__(
        self,
        root: Path,
        *,
        classes: int,
        name: str = "imported",
        model: str | None = None,
        sha256: str | None = None,
        images: str | None = None,
    ):
        told = re.fullmatch(r"logits_top(\d+)_epoch(\d+)", root.name)
        if told is None:
            raise SourceError(f"{root}: not called logits_topK_epochN, as TinyViT calls what it saves")
        self.name, self.classes, self.top_k, epoch = name, classes, int(told[1]), int(told[2])
        self.teachers = {name: imported("tinyvit", model=model, sha256=sha256, logit_scale=None, classes=classes)}
        self.views: dict[str, Any] = {
            "count": 1,
            "kind": f"TinyViT's augmentation in epoch {epoch}, by the field `seed`",
        }
        self.source: dict[str, Any] = {"kind": "folder", "knobs": {}, "root": images}
        self.row = np.dtype([("seed", "<i4"), ("classes", "<u2", self.top_k), ("chances", "<f2", self.top_k)])
        keys = [path for path in root.glob("rank*-keys.txt") if re.fullmatch(r"rank\d+-keys\.txt", path.name)]
        self.keys = sorted(keys, key=lambda path: int(re.findall(r"\d+", path.name)[0]))
        if not self.keys:
            raise SourceError(f"{root}: no rank*-keys.txt")
        self.values = [self._mapped(path) for path in self.keys]
        self.places = [*self.keys, *map(_values_of, self.keys)]
        self.starts = np.cumsum([0, *map(len, self.values)])

    def _mapped(self, keys: Path) -> np.ndarray:
        path = _values_of(keys)
        with keys.open("rb") as lines:
            count = sum(1 for _ in lines)
        size = path.stat().st_size if path.is_file() else -1
        if size != count * self.row.itemsize:
            raise SourceError(f"{path}: {size} bytes, {counted(count, 'row')} of {self.row.itemsize} bytes are wanted")
        return np.memmap(path, self.row, "r") if size else np.empty(0, self.row)

    @property
    def fields(self) -> dict[str, Field]:
        """Logarithms of float16 chances lose nothing in float32."""
        return {
            f"{self.name}/logits": Field(teacher=self.name, shape=[self.top_k], dtype="float32"),
            f"{self.name}/classes": Field(teacher=self.name, shape=[self.top_k], dtype="int32"),
            f"{self.name}/seed": Field(teacher=self.name, shape=[1], dtype="int32"),
        }

    def __iter__(self) -> Iterator[Sample]:
        for path in self.keys:
            with path.open("rb") as lines:
                for line in lines:
                    try:
                        key = line.decode("utf-8").rstrip("\r\n")
                    except UnicodeDecodeError as error:
                        raise SourceError(f"{path}: {line!r:.60} is no UTF-8; fetch it again") from error
                    yield Sample(key, key)

    def read(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], dict[int, str]]:
        """What is stored of these rows; a row that no softmax gives is refused: other classes, or one of them twice, or
        chances that are none."""
        found = np.empty(len(rows), self.row)
        whose = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(whose):
            found[whose == number] = self.values[number][rows[whose == number] - self.starts[number]]
        chances = found["chances"].astype(np.float32)
        with np.errstate(invalid="ignore"):
            wrong = (found["classes"] >= self.classes).any(1) | ~((chances >= 0) & (chances <= 1)).all(1)
            wrong |= ~(chances.sum(1) <= _MOST) | (np.diff(np.sort(found["classes"], axis=1)) == 0).any(1)
        arrays = {
            f"{self.name}/logits": np.log(np.maximum(chances, _LEAST)),
            f"{self.name}/classes": found["classes"].astype(np.int32),
            f"{self.name}/seed": found["seed"][:, None],
        }
        told = f"classes beyond {self.classes} or twice, or chances outside 0 to 1 or that sum to more"
        return arrays, {int(row): told for row in np.flatnonzero(wrong)}


def _values_of(keys: Path) -> Path:
    return keys.with_name(keys.name.replace("-keys.txt", "-values.bin"))
