"""Asymmetric retrieval: the student asks, the gallery answers with what the teacher said of it long ago.

A small network on a phone queries an index that a large one made once (Budnik and Avrithis 2021,
https://arxiv.org/abs/2006.13108). The index is a feature store, so nothing is computed but the queries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
import torch
from jaxtyping import Int64

from distillkit.errors import StoreError
from distillkit.evals._answers import Answers, Measure
from distillkit.evals._by_name import by_name
from distillkit.evals._encode import Encode, OpenStore, blank, taught
from distillkit.evals._labels import Labels, files_of_names, labels_of_images
from distillkit.evals._ranking import chance, ranked
from distillkit.system.one_image import first_of_each, images_of, places_among
from distillkit.system.wording import count


class AsymmetricRetrieval:
    """`store`: the store of the query images, which the student embeds. `gallery`: the store of the images that are
    searched, by their stored features; the query store, if not given.

    `right`: which gallery images are right answers: those of the same "class" (an image is no answer to itself), or the
    same image, by its "key". `ks`: the numbers k of recall@k; 1, 5 and 10, if not given.
    """

    def __init__(
        self,
        *,
        store: str,
        gallery: str | None = None,
        right: Literal["class", "key"] = "class",
        classes: str | None = None,
        ks: list[int] | None = None,
        name: str | None = None,
    ):
        self.store, self.gallery, self.right, self.classes = store, gallery or store, right, classes
        self.name, self.ks = name or "asymmetric_retrieval", ks or [1, 5, 10]

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """Recall at each k, and the median rank (from 1) of the first right image, with 95 % intervals and chance."""
        asked, answers = self.check(open_store)
        store, gallery = open_store(self.store), open_store(self.gallery)
        said, index = encode(store)[asked.places].float(), taught(gallery)[answers.places]
        if said.shape[1] != index.shape[1]:
            raise StoreError(
                f"{gallery.path}: its features are {index.shape[1]} wide, the student's {said.shape[1]}; train the "
                f"student with student.embed_dim = {index.shape[1]}"
            )
        itself = torch.from_numpy(self._itself(open_store, asked, answers))
        one, other = torch.from_numpy(asked.ids), torch.from_numpy(answers.ids)

        def same(first: int, stop: int) -> torch.Tensor:
            found, place = one[first:stop, None] == other, itself[first:stop]
            mine = (place >= 0).nonzero().squeeze(1)
            found[mine, place[mine]] = False
            return found

        found = ranked(said, index, same, itself, few=blank(encode))
        ids, counts = np.unique(answers.ids, return_counts=True)
        there = (itself >= 0).numpy()
        right, others = counts[np.searchsorted(ids, asked.ids)] - there, len(index) - there
        measures = [Measure(f"R@{k}", "rank", within=k, chance=chance(right, others, k)) for k in self.ks]
        return [
            Answers(
                key=store.index["key"].take(store.ok_rows[asked.places]).to_pylist(),
                columns={"rank": found.rank, "margin": found.margin},
                measures=(*measures, Measure("median rank", "rank", how="median", more=False)),
                group=asked.ids if self.right == "class" else None,
                best=found.best,
                names=gallery.index["key"].take(gallery.ok_rows[answers.places]).to_pylist(),
                facts={"images": float(len(said)), "gallery": float(len(index))} | asked.noted,
            )
        ]

    def check(self, open_store: OpenStore) -> tuple[Labels, Labels]:
        """Who asks and who answers, by class or key; StoreError where some that ask can find nothing."""
        store, gallery = open_store(self.store), open_store(self.gallery)
        if self.right == "key":
            place, image = _places(store, gallery), images_of(gallery, gallery.ok_rows)
            asks, first = first_of_each(store, store.ok_rows), np.unique(image, return_index=True)[1]
            return Labels(store.path, asks, image[place[asks]], len(asks)), Labels(
                gallery.path, first, image[first], len(first)
            )
        answers, asked = by_name(*(labels_of_images(one, self.classes) for one in (gallery, store)))
        ids = np.sort(answers.ids)
        right = np.searchsorted(ids, asked.ids, "right") - np.searchsorted(ids, asked.ids)
        lonely = right <= (self._itself(open_store, asked, answers) >= 0)
        if lonely.any():
            such = asked.called(asked.ids[lonely][:1].tolist())
            raise StoreError(
                f"{store.path}: {int(lonely.sum()):,} of {count(len(lonely), 'image')} are of classes without "
                f"another image in {gallery.path}, such as {such}; take the others alone (distillkit store view), or "
                "name another gallery"
            )
        return asked, answers

    def files(self, open_store: OpenStore) -> dict[str, list[Path]]:
        """The file of class names, where one is given."""
        return files_of_names(self.classes if self.right == "class" else None)

    def _itself(self, open_store: OpenStore, asked: Labels, answers: Labels) -> Int64[np.ndarray, "n"]:
        """For each image that asks its place among the answers, where it is no answer; -1 where it is none of them."""
        if self.right == "key":
            return np.full(len(asked.places), -1)
        if self.gallery == self.store:
            return np.arange(len(asked.places))
        store, gallery = open_store(self.store), open_store(self.gallery)
        return places_among(store, store.ok_rows[asked.places], gallery, gallery.ok_rows[answers.places])


def _places(store: Any, gallery: Any) -> Int64[np.ndarray, "n"]:
    """For each image that asks, the place of its key among the usable rows of the gallery."""
    keys = store.index["key"].take(store.ok_rows)
    found = pc.index_in(keys, value_set=gallery.index["key"].take(gallery.ok_rows))
    if found.null_count:
        lost = keys.filter(pc.is_null(found))[0].as_py()
        raise StoreError(
            f'{gallery.path}: has no image {lost!r} of {store.path}; with right = "key" '
            "a gallery must hold all query images"
        )
    return found.to_numpy().astype(np.int64)
