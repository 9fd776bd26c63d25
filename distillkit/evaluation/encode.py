"""How an evaluation asks: a store in, one vector for each usable row out. The teacher is read, a student computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.originals import Originals
from distillkit.pixels import centre_view, render
from distillkit.store.reading.reader import FeatureStore

_BATCH = 128


class Teacher:
    """What the teacher said of the clean views, read from the stores."""

    def __call__(self, store: FeatureStore) -> Float[Tensor, "n d"]:
        clean = 0 if store.field("image").per_view else None
        return store.read("image", store.ok_rows, view=clean).float()

    def texts(self, store: FeatureStore, rows: np.ndarray) -> Float[Tensor, "n d"]:
        return store.read("text", rows).float()


class Student(Teacher):
    """A student, applied to the clean centre view of every usable row, and to texts if it has a tower for them.

    `load` gives it when it is first asked; `roots` says where images lie that were moved (originals.py). What it cannot
    embed is the teacher's: texts of an image student, images of a text student.
    """

    def __init__(self, load: Callable[[], Any], roots: Mapping[Path, str]):
        self._load, self._roots = load, roots
        self._seen: dict[Path, Tensor] = {}

    @cached_property
    def _student(self) -> Any:
        return self._load()

    @cached_property
    def _device(self) -> torch.device:
        return next(self._student.parameters()).device

    @property
    def has_texts(self) -> bool:
        """Whether it embeds texts itself."""
        return hasattr(self._student, "embed_text")

    def __call__(self, store: FeatureStore) -> Float[Tensor, "n d"]:
        if "image" not in self._student.widths:
            return super().__call__(store)
        if store.path not in self._seen:
            files = Originals(store, self._roots.get(store.path.resolve()))
            parts = np.array_split(store.ok_rows, max(len(store.ok_rows) // _BATCH, 1))
            self._seen[store.path] = torch.cat([self._embed(files, rows) for rows in parts])
        return self._seen[store.path]

    @torch.inference_mode()
    def _embed(self, files: Originals, rows: np.ndarray) -> Float[Tensor, "n d"]:
        views = []
        for row in rows:
            image, width, height = files.open(int(row))
            views.append(render(image, centre_view(width, height), self._student.image_size))
        pixels = torch.from_numpy(np.stack(views)).to(self._device)
        return self._student.embed(pixels).float().cpu()

    @torch.inference_mode()
    def texts(self, store: FeatureStore, rows: np.ndarray) -> Float[Tensor, "n d"]:
        if not self.has_texts:
            return super().texts(store, rows)
        said = store.index["text"].take(rows).to_pylist()
        batches = (said[start : start + _BATCH] for start in range(0, len(said), _BATCH))
        tokens = (self._student.tokenize(texts).to(self._device) for texts in batches)
        return torch.cat([self._student.embed_text(one).float().cpu() for one in tokens])


class Blank(Student):
    """A student that says nothing of anything, in no time: what an evaluation would refuse, it refuses of this one."""

    def __call__(self, store: FeatureStore) -> Float[Tensor, "n d"]:
        if "image" not in self._student.widths:
            return super().__call__(store)
        _ = Originals(store, self._roots.get(store.path.resolve())).source
        return torch.zeros(len(store.ok_rows), self._student.widths["image"])

    def texts(self, store: FeatureStore, rows: np.ndarray) -> Float[Tensor, "n d"]:
        said = super(Student, self).texts(store, rows)
        return torch.zeros(len(rows), self._student.widths["text"]) if self.has_texts else said
