"""Stores and encoders so small that an evaluation's numbers can be done in the head."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import torch

from distillkit.evals._encode import Tokens
from distillkit.evaluation.numbers import numbers

AXES = torch.eye(4)


class Store:
    """Rows with unit-axis features: `image` and `text` are lists of axes, or tensors."""

    def __init__(self, image=None, text=None, label=None, names=None, keys=None, files=None):
        self.fields = {"image": image, "text": text}
        self.own_fields = [name for name, said in self.fields.items() if said is not None]
        n = len(next(x for x in (image, text, label) if x is not None))
        self.path, self.root, self.ok_rows = Path("toy"), Path("toy"), np.arange(n)
        columns = {
            "key": keys or [f"{i}.png" for i in range(n)],
            "label": pa.array(label, pa.int64()) if label is not None else pa.nulls(n, pa.int64()),
            "text": names or [""] * n,
            "image": pa.array(files or [None] * n, pa.string()),
        }
        self.index = pa.table(columns)

    def read(self, name, rows, view=None):
        found = axes(self.fields[name])[torch.as_tensor(rows)]
        return found if view is None else found[:, view]

    def field(self, name):
        return SimpleNamespace(per_view=axes(self.fields[name]).ndim == 3)


def axes(what):
    return what if isinstance(what, torch.Tensor) else AXES[what]


class Teacher:
    """Says what the stores hold, and of patches whatever comes, always the same."""

    device = torch.device("cpu")

    def __call__(self, store):
        return store.read("image", store.ok_rows)

    def texts(self, store, rows):
        return store.read("text", rows)

    def tokens(self, store, rows, *, cls):
        random = torch.Generator().manual_seed(0)
        said = torch.randn(len(store.ok_rows), 5, 3, generator=random)[torch.as_tensor(rows)]
        return Tokens(said[:, 1:], said[:, 0])


class Student(Teacher):
    """Says `image` of every store, and of texts what the teacher does, or `text`."""

    def __init__(self, image, text=None):
        self.image, self.text = axes(image), text

    def __call__(self, store):
        return self.image

    def texts(self, store, rows):
        return super().texts(store, rows) if self.text is None else axes(self.text)[torch.as_tensor(rows)]


def run(measure, encode, **stores):
    """What is found, as numbers."""
    return numbers(measure.run(encode, stores.__getitem__))
