"""What classes there are, numbered from 0 without holes, and as vectors where they have prompts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.evals._encode import Encode
from distillkit.evals._labels import Labels, as_names, codes_of, labels_of
from distillkit.system.wording import count as counted

_SHOWN = 3


@dataclass(frozen=True)
class Classes:
    """`ids`: the numbers that stores call classes by, rising; `number[i]`: which class the i-th is, from 0 on.

    Several ids are one class where their names are equal: `doubles` has them, by the number of the class. `path` is
    where they are from, and what a message names.
    """

    path: Path
    ids: Int64[np.ndarray, "i"]
    number: Int64[np.ndarray, "i"]

    def __len__(self) -> int:
        return int(self.number.max()) + 1

    @property
    def first_ids(self) -> Int64[np.ndarray, "c"]:
        """For each class the lowest number that stores call it by."""
        return self.ids[np.unique(self.number, return_index=True)[1]]

    @property
    def noted(self) -> dict[str, float]:
        """For the numbers of a measure: how many ids share the name of another, where some do."""
        doubled = len(self.ids) - len(self)
        return {"equal names": float(doubled)} if doubled else {}

    @property
    def note(self) -> str:
        """Which ids are one class, in words; empty where each is its own."""
        doubled = np.flatnonzero(np.bincount(self.number) > 1)
        if not len(doubled):
            return ""
        groups = [" and ".join(map(str, self.ids[self.number == one].tolist())) for one in doubled[:_SHOWN]]
        more = f" and {len(doubled) - _SHOWN} more" if len(doubled) > _SHOWN else ""
        return f"{self.path}: classes of equal names are one: {', '.join(groups)}{more}"

    def numbers(self, labels: Labels) -> Int[Tensor, "m"]:
        """Which class each image is of; StoreError where some are of none of these."""
        place = np.searchsorted(self.ids, labels.ids).clip(max=len(self.ids) - 1)
        lost = self.ids[place] != labels.ids
        if lost.any():
            strange = np.unique(labels.ids[lost])
            raise StoreError(
                f"{labels.path}: {int(lost.sum()):,} of {counted(len(lost), 'image')} are of "
                f"{counted(len(strange), 'class', 'classes')} that {self.path} does not know, as "
                f"{labels.called(strange.tolist())} (it has {len(self.ids):,}, {self.ids[0]} to {self.ids[-1]}); "
                f"{self._other_start(labels)}add their prompts, or take the other images alone: distillkit store view "
                "--labels"
            )
        return torch.from_numpy(self.number[place])

    def _other_start(self, labels: Labels) -> str:
        """The knob that helps where labels count from another number than prompts do; empty where they do not."""
        away = int(self.ids[0]) - int(labels.ids.min())
        fits = away and np.isin(np.unique(labels.ids) + away, self.ids).all()
        return f"set first_class = {labels.first + away} if they count from another number, " if fits else ""


def classes_of(known: Labels, *others: Labels) -> Classes:
    """Every class that some image is of; StoreError where those that are asked share none with those that are known."""
    asked = others[-1]
    if not np.isin(asked.ids, known.ids).any():
        raise StoreError(
            f"{asked.path}: none of its classes ({asked.ids.min()} to {asked.ids.max()}) is one of {known.path} "
            f"({known.ids.min()} to {known.ids.max()}); give both stores the same labels"
        )
    ids = np.unique(np.concatenate([known.ids, *(one.ids for one in others)]))
    return Classes(known.path, ids, np.arange(len(ids)))


def prompted(prompts: Any) -> Classes:
    """The classes of a store of class prompts; those whose prompts are equal, whatever their Unicode form, are one."""
    labels = _labelled(prompts)
    ids, of_row = np.unique(labels.ids, return_inverse=True)
    text, key = (prompts.index[name].take(prompts.ok_rows[labels.places]) for name in ("text", "key"))
    said = pc.coalesce(as_names(text), key)  # what has no text is equal to no other
    code = codes_of(said)
    spoken = np.unique(of_row * (int(code.max()) + 1) + code)
    owner, code = np.divmod(spoken, int(code.max()) + 1)
    starts = np.searchsorted(owner, np.arange(len(ids) + 1))
    first: dict[bytes, int] = {}
    number = [first.setdefault(code[a:b].tobytes(), len(first)) for a, b in pairwise(starts)]
    return Classes(prompts.path, ids, np.array(number, np.int64))


def class_embeddings(prompts: Any, encode: Encode | None = None) -> Float[Tensor, "c d"]:
    """For each class: the mean of its prompts' unit vectors, at length 1 again. Without `encode`: the teacher's."""
    classes, labels = prompted(prompts), _labelled(prompts)
    rows = prompts.ok_rows[labels.places]
    said = prompts.read("text", rows) if encode is None else encode.texts(prompts, rows)
    vectors = F.normalize(said.float(), dim=-1)
    sums = torch.zeros(len(classes), vectors.shape[1]).index_add_(0, classes.numbers(labels), vectors)
    return F.normalize(sums, dim=-1)


def prompt_names(prompts: Any, classes: Classes) -> list[str]:
    """What to call each class: the first of its prompts."""
    labels = _labelled(prompts)
    first = np.unique(classes.numbers(labels).numpy(), return_index=True)[1]
    text, key = (prompts.index[name].take(prompts.ok_rows[labels.places[first]]) for name in ("text", "key"))
    return pc.coalesce(text, key).to_pylist()


def _labelled(prompts: Any) -> Labels:
    """The class of each prompt."""
    try:
        return labels_of(prompts)
    except StoreError as error:
        raise StoreError(
            f"{prompts.path}: none of its texts has a class; class prompts come from the sources class_prompts, "
            "label2text and synsets, or from any with labels"
        ) from error
