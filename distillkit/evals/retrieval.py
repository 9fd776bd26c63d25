"""Image-to-text retrieval: is an image's own caption among the k nearest of all captions? (recall@k)

Images that share a caption are each a query for it; the gallery holds every caption once. A student with a text tower
embeds the captions itself; one without keeps the teacher's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.evals._encode import Encode, OpenStore
from distillkit.evals._labels import as_names, codes_of
from distillkit.evals._ranks import interval, ranks_of


class Retrieval:
    """`store`: a feature store whose rows have an image and a caption. `ks`: where recall is read off."""

    def __init__(self, *, store: str, name: str | None = None, ks: list[int] | None = None):
        self.store, self.name, self.ks = store, name or "retrieval", ks or [1, 5, 10]

    def run(self, encode: Encode, open_store: OpenStore) -> dict[str, float]:
        """Recall at each k with its 95 % interval (`R@10.low`, `R@10.high`), median rank (from 1), and chance.

        `per text` lets every caption count once, however many images share it.
        """
        store = open_store(self.store)
        _, texts, label, places = gallery(store, encode)
        ranks = ranks_of(encode(store)[places], texts, label).numpy()
        result = {"images": float(len(ranks)), "texts": float(len(texts)), "median rank": float(np.median(ranks) + 1)}
        for k in self.ks:
            hit = (ranks < k).astype(float)
            low, high = interval(hit, label.numpy())
            result |= {f"R@{k}": float(hit.mean()), f"R@{k}.low": low, f"R@{k}.high": high}
            result[f"R@{k} per text"] = float((np.bincount(label, weights=hit) / np.bincount(label)).mean())
            result |= {f"R@{k}.chance": min(k / len(texts), 1.0), f"R@{k} per text.chance": min(k / len(texts), 1.0)}
        return result

    def nearest(self, encode: Encode, open_store: OpenStore, k: int) -> tuple[Int[Tensor, "n k"], list[str]]:
        """The k nearest captions of every image, best first, as positions in the list of captions."""
        store = open_store(self.store)
        names, texts, _, _ = gallery(store, encode)
        scores = F.normalize(encode(store).float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T
        return scores.topk(min(k, len(names)), dim=-1).indices, names


def gallery(
    store: Any, encode: Encode
) -> tuple[list[str], Float[Tensor, "m d"], Int[Tensor, "n"], Int64[np.ndarray, "n"]]:
    """Every caption once, in order, with its text features; for each usable row that has one its position; which rows
    these are, among the usable ones. Captions that differ by their Unicode form only are one. StoreError without any.
    """
    text = store.index["text"].take(store.ok_rows)
    code = codes_of(as_names(text))
    places = np.flatnonzero(code >= 0)
    if not len(places):
        raise StoreError(f"{store.path}: none of its rows has a caption; retrieval needs images with their captions")
    _, first, number = np.unique(code[places], return_index=True, return_inverse=True)
    names = text.take(places[first])
    order = pc.sort_indices(names).to_numpy()
    label = np.argsort(order)[number]
    texts = encode.texts(store, store.ok_rows[places[first[order]]])
    return names.take(order).to_pylist(), texts, torch.from_numpy(label), places
