"""Zero-shot classification: the nearest class embedding, averaged over prompt templates and re-normalised.

Radford et al. 2021, section 3.1.4, https://arxiv.org/abs/2103.00020.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.evals._ranks import interval, ranks_of
from distillkit.paths import expand

Encode = Callable[[Any], Float[Tensor, "n d"]]


class ZeroShot:
    """`store`: images with class labels, or with class names as captions. `prompts`: a store of class prompts.

    `classes`: the file of class names behind the prompts; needed where images carry names instead of labels.
    """

    def __init__(self, *, store: str, prompts: str, classes: str | None = None, name: str | None = None):
        self.store, self.prompts, self.classes, self.name = store, prompts, classes, name or "zero_shot"

    def run(self, encode: Encode, open_store: Callable[[str], Any]) -> dict[str, float]:
        """Top-1 (with its 95 % interval), top-5 and mean per-class accuracy, and chance."""
        store, prompts = open_store(self.store), open_store(self.prompts)
        classes = class_embeddings(prompts)
        label = labels_of(store, self.classes)
        ranks = ranks_of(encode(store), classes, label)
        hit = (ranks < 1).double()
        low, high = interval(hit.numpy(), label.numpy())
        counts = torch.bincount(label, minlength=len(classes))
        per_class = torch.bincount(label, weights=hit, minlength=len(classes))[counts > 0] / counts[counts > 0]
        return {
            "images": float(len(label)),
            "classes": float(len(classes)),
            "top-1": float(hit.mean()),
            "top-1.low": low,
            "top-1.high": high,
            "top-1.chance": 1 / len(classes),
            "top-5": float((ranks < 5).double().mean()),
            "top-5.chance": min(5 / len(classes), 1.0),
            "mean per class": float(per_class.mean()),
            "mean per class.chance": 1 / len(classes),
        }


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


def class_embeddings(prompts: Any) -> Float[Tensor, "c d"]:
    """For each label: the mean of its prompts' unit vectors, scaled to length 1 again."""
    rows = prompts.ok_rows
    vectors = F.normalize(prompts.read("text", rows).float(), dim=-1)
    label = torch.from_numpy(prompts.index["label"].take(rows).to_numpy().copy())
    sums = torch.zeros(int(label.max()) + 1, vectors.shape[1]).index_add_(0, label, vectors)
    return F.normalize(sums, dim=-1)
