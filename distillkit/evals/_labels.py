"""What class an image is of, what classes there are as vectors, and how many images were put right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.evals._encode import Encode
from distillkit.evals._ranks import interval
from distillkit.system.paths import expand


def labels_of(store: Any, names: str | None) -> Int[Tensor, "n"]:
    """The class of every usable row: its label, or the place of its caption in the file `names`."""
    index = store.index.take(store.ok_rows)
    if names is None:
        if index["label"].null_count:
            raise StoreError(f"{store.path}: rows without labels; name the file of class names that are its captions")
        return torch.from_numpy(index["label"].to_numpy().copy())
    # Only line feeds end a name, as in the source class_prompts: labels are line numbers.
    listed = Path(expand(names)).read_text("utf-8-sig").removesuffix("\n").split("\n")
    number = {name.strip(): place for place, name in enumerate(listed)}
    unknown = next((text for text in index["text"].to_pylist() if text not in number), None)
    if unknown is not None:
        raise StoreError(f"{store.path}: caption {unknown!r} is no class of {names}")
    return torch.tensor([number[text] for text in index["text"].to_pylist()])


def class_embeddings(prompts: Any, encode: Encode | None = None) -> Float[Tensor, "c d"]:
    """For each label: the mean of its prompts' unit vectors, at length 1 again. Without `encode`: the teacher's."""
    rows = prompts.ok_rows
    said = prompts.read("text", rows) if encode is None else encode.texts(prompts, rows)
    vectors = F.normalize(said.float(), dim=-1)
    label = torch.from_numpy(prompts.index["label"].take(rows).to_numpy().copy())
    sums = torch.zeros(int(label.max()) + 1, vectors.shape[1]).index_add_(0, label, vectors)
    return F.normalize(sums, dim=-1)


def accuracies(hit: Bool[Tensor, "n"], label: Int[Tensor, "n"], classes: int) -> dict[str, float]:
    """Top-1 (with its 95 % interval, over whole classes), mean per-class accuracy, and chance."""
    right = hit.double()
    low, high = interval(right.numpy(), label.numpy())
    counts = torch.bincount(label, minlength=classes)
    per_class = torch.bincount(label, weights=right, minlength=classes)[counts > 0] / counts[counts > 0]
    return {
        "images": float(len(label)),
        "classes": float(classes),
        "top-1": float(right.mean()),
        "top-1.low": low,
        "top-1.high": high,
        "top-1.chance": 1 / classes,
        "mean per class": float(per_class.mean()),
        "mean per class.chance": 1 / classes,
    }
