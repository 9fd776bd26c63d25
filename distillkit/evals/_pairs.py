"""Images and their captions, each once, and which belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from jaxtyping import Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from distillkit.errors import StoreError
from distillkit.evals._labels import as_names, codes_of

_ROUNDING = 1e-4  # of a cosine: what batches, half precision and 8-bit numbers make of the same tokens


@dataclass(frozen=True)
class Items:
    """Who is asked. `right`: how many right answers each has; `shared`: each has one, and some have the same."""

    key: list[str]
    target: Int64[np.ndarray, "n"]
    group: Int64[np.ndarray, "n"]
    right: Int64[np.ndarray, "n"]
    names: list[str]
    shared: bool = False


@dataclass(frozen=True)
class Pairs:
    """Images and captions, each once, and which belong together: `image` and `text` [p] of each pair, by image.

    `image_places`, `text_places`: where each first is among the usable rows. Images that share captions, and captions
    that share images, are of one group.
    """

    keys: list[str]
    text_keys: list[str]
    texts: list[str]
    image: Int64[np.ndarray, "p"]
    text: Int64[np.ndarray, "p"]
    image_places: Int64[np.ndarray, "i"]
    text_places: Int64[np.ndarray, "t"]

    def _groups(self) -> tuple[np.ndarray, np.ndarray]:
        images, nodes = len(self.keys), len(self.keys) + len(self.texts)
        edges = coo_array((np.ones(len(self.image), bool), (self.image, images + self.text)), shape=(nodes, nodes))
        group = connected_components(edges, directed=False)[1].astype(np.int64)
        return group[:images], group[images:]

    def by_image(self) -> Items:
        """Each image, with its captions."""
        first = np.unique(self.image, return_index=True)[1]
        right = np.bincount(self.image)
        shared = bool((right == 1).all() and (np.bincount(self.text) > 1).any())
        return Items(self.keys, self.text[first], self._groups()[0], right, self.texts, shared)

    def by_text(self) -> Items:
        """Each caption, with its images."""
        first = np.unique(self.text, return_index=True)[1]
        return Items(self.text_keys, self.image[first], self._groups()[1], np.bincount(self.text), self.keys)

    def by_row(self) -> Items:
        """Each pair by itself."""
        keys = [f"{self.keys[i]} {self.text_keys[t]}" for i, t in zip(self.image, self.text, strict=True)]
        one = np.ones(len(keys), np.int64)
        return Items(keys, self.text, self._groups()[0][self.image], one, self.texts)


def pairs_of(store: Any) -> Pairs:
    """Of the usable rows with a caption; StoreError where there are none.

    Rows of one image file are one image; which captions are one caption: `captions_of`.
    """
    index = store.index.take(store.ok_rows)
    texts = index["text"].to_pylist()
    code = captions_of(store, store.ok_rows)
    places = np.flatnonzero(code >= 0)
    if not len(places):
        raise StoreError(f"{store.path}: none of its rows has a caption; retrieval needs images with their captions")
    key = index["key"].to_pylist()
    where = index["image"].to_pylist()
    image, image_first = _numbered([where[n] or key[n] for n in places])
    text_first, text = np.unique(code[places], return_index=True, return_inverse=True)[1:]
    pair = np.unique(np.stack([image, text], 1), axis=0)
    return Pairs(
        keys=[key[n] for n in places[image_first]],
        text_keys=[key[n] for n in places[text_first]],
        texts=[texts[n] for n in places[text_first]],
        image=pair[:, 0].copy(),
        text=pair[:, 1].copy(),
        image_places=places[image_first],
        text_places=places[text_first],
    )


def captions_of(store: Any, rows: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    """A number for the caption of each row, equal for equal ones; -1 for none.

    Captions that differ by their Unicode form only are one. So are those that differ by case or blanks only, if the
    teacher says the same of them: its tokenizer then takes both for one text, no network that reads by it can tell
    them apart, and which of them is found first would be chance. A tokenizer that keeps case keeps them two.
    """
    texts = as_names(store.index["text"].take(rows))
    code = codes_of(texts)
    _, first = np.unique(code, return_index=True)
    first = first[code[first] >= 0]
    said = [" ".join(text.casefold().split()) for text in texts.take(first).to_pylist()]
    place: dict[str, int] = {}
    alike = np.array([place.setdefault(text, n) for n, text in enumerate(said)], np.int64)
    doubles = np.flatnonzero(alike != np.arange(len(first)))  # whose like stands before
    if len(doubles):
        one, other = (
            F.normalize(store.read("text", rows[first[places]]).float(), dim=1) for places in (doubles, alike[doubles])
        )
        same = ((one * other).sum(1) > 1 - _ROUNDING).numpy()
        into = np.arange(int(code.max()) + 1)
        into[code[first[doubles[same]]]] = code[first[alike[doubles[same]]]]
        code = np.where(code < 0, code, into[code])
    return code


def _numbered(values: list[str]) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "m"]]:
    """A number for each value, in order of appearance, equal for equal ones; and where each first is."""
    seen: dict[str, int] = {}
    number = np.array([seen.setdefault(value, len(seen)) for value in values], np.int64)
    return number, np.unique(number, return_index=True)[1]
