"""Which classes are in an image, where there may be several: average precision of each class, by texts or by a probe.

By `prompts` an image's score for a class is its cosine, as ELEVATER asks VOC 2007 (https://arxiv.org/abs/2204.08790).
By `train` it is a logistic regression's for each class, as Proteus' fine-grained sets ask it
(https://arxiv.org/abs/2407.10366).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._answers import Answers, Measure
from distillkit.evals._called import places_of
from distillkit.evals._classes import class_embeddings, prompted
from distillkit.evals._encode import Encode, OpenStore, blank, learning_device
from distillkit.evals._held import held_out, left_out, without_example
from distillkit.evals._labels import MATCHED, UNSHOWN
from distillkit.evals._marks import Marks, class_of, lists_of, marks_of
from distillkit.system.progress import Progress, hearer
from distillkit.system.wording import count

_FEW = 64  # images that are learned from of a network that says nothing
_MEASURES = (
    Measure("mAP 11-point", "score", how="ap", over="hit"),
    Measure("ROC-AUC", "score", how="auc", over="hit", chance=0.5),
)


class MultiLabel:
    """`store`: the store of images that are measured. `labels`: the folder of the lists that tell the classes of each
    image, CLASS_PART.txt (_marks.py). `part`: which lists are those of the measured images.

    Either prompts or images to learn from are given. `prompts`: a store of class prompts, which find their lists by
    name, or by order. `train`: a store of images to learn from; a logistic regression is trained for each class.
    `train_part`: which lists are those of the images to learn from. `l2`: the L2 penalties to choose from; 1e-5 to 1e-1
    in factors of 10, if not given. `validation`: the share of the images to learn from on which the L2 penalty is
    chosen. `steps`: the most iterations of L-BFGS.
    """

    def __init__(
        self,
        *,
        store: str,
        labels: str,
        part: str = "test",
        prompts: str | None = None,
        train: str | None = None,
        train_part: str = "trainval",
        l2: list[float] | None = None,
        validation: float = 0.2,
        steps: int = 500,
        name: str | None = None,
    ):
        self.store, self.labels, self.part, self.name = store, labels, part, name or "multi_label"
        self.prompts, self.train, self.train_part = prompts, train, train_part
        self.l2, self.validation, self.steps = l2 or [1e-5, 1e-4, 1e-3, 1e-2, 1e-1], validation, steps
        if (prompts is None) == (train is None):
            raise RecipeError(
                "evals.multi_label: set either `prompts`, a store of class prompts, or `train`, a store of images "
                "to learn from"
            )

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """The mean over classes of 11-point average precision, and of the area under the ROC curve."""
        known, asked = self.check(open_store)
        store = open_store(self.store)
        seen = encode(store)[asked.places].float().nan_to_num()
        facts: dict[str, float] = {}
        bare = 0
        if known is None:
            prompts = open_store(self.prompts or "")
            places, facts = self._places(asked.classes, prompts)
            score = F.normalize(seen, dim=1) @ class_embeddings(prompts, encode)[places].T
        else:
            score, facts = self._learned(encode, open_store, known, seen)
            bare = without_example(asked.hit > 0, np.asarray((known.hit > 0).any(0))).images
        facts |= {UNSHOWN: float(bare)} if bare else {}
        return [
            Answers(
                key=store.index["key"].take(store.ok_rows[asked.places]).to_pylist(),
                columns={"score": score.numpy(), "hit": asked.hit.astype(np.int8)},
                measures=_MEASURES,
                facts={"images": float(len(seen)), "classes": float(len(asked.classes))} | facts,
            )
        ]

    def check(self, open_store: OpenStore) -> tuple[Marks | None, Marks]:
        """What is in the images to learn from, if there are any, and in those that are asked; StoreError where the
        lists, or the classes, are others.
        """
        asked = marks_of(open_store(self.store), self.labels, self.part)
        if self.prompts is not None:
            prompts = prompted(open_store(self.prompts))
            if len(prompts) != len(asked.classes):
                raise StoreError(
                    f"{prompts.path}: has {count(len(prompts), 'class', 'classes')}, "
                    f"the lists have {len(asked.classes)}; extract prompts of the lists' classes"
                )
            places_of(asked.classes, open_store(self.prompts))
            return None, asked
        known = self._known(open_store, asked)
        if known.classes != asked.classes:
            raise StoreError(
                f"{self.labels}: {count(len(known.classes), 'class', 'classes')} in the lists of "
                f"{self.train_part}, {len(asked.classes)} in those of {self.part}; fetch the lists again"
            )
        return known, asked

    def files(self, open_store: OpenStore) -> dict[str, list[Path]]:
        """The lists of what is in the images."""
        parts = [self.part, *([] if self.train is None else [self.train_part])]
        return {"labels": [file for part in parts for file in lists_of(self.labels, part)]}

    def orders(self, open_store: OpenStore) -> Iterator[tuple[str, bool]]:
        """What is to be told of which prompts are a list's, and whether an older version took others, which went by the
        order of the files. Stores and lists that are not there tell nothing.
        """
        files = lists_of(self.labels, self.part)
        listed = [class_of(file, self.part) for file in files]
        try:
            prompts = None if self.prompts is None else open_store(self.prompts)
            if prompts is None or len(prompted(prompts)) != len(listed):
                return
        except StoreError:
            return
        try:
            found = places_of(listed, prompts)
        except StoreError as error:
            yield str(error), False
            return
        places = range(len(listed)) if found is None else found.tolist()
        before = [files.index(file) for file in sorted(files)]
        yield _told(listed, prompts, found), [places[place] for place in before] != list(range(len(listed)))

    @staticmethod
    def _places(listed: list[str], prompts: Any) -> tuple[Int64[np.ndarray, "c"], dict[str, float]]:
        """Which of the prompted classes each list is of; how many are another than their order says, if some are."""
        order = np.arange(len(listed))
        places = places_of(listed, prompts)
        moved = 0 if places is None else int((places != order).sum())
        return order if places is None else places, {MATCHED: float(moved)} if moved else {}

    def _known(self, open_store: OpenStore, asked: Marks) -> Marks:
        """What is in the images to learn from: not those that are asked."""
        train, store = open_store(self.train or ""), open_store(self.store)
        found = marks_of(train, self.labels, self.train_part)
        lost = left_out(train, train.ok_rows[found.places], store, store.ok_rows[asked.places])
        return Marks(train.path, np.delete(found.places, lost), np.delete(found.hit, lost, axis=0), found.classes)

    def _learned(
        self, encode: Encode, open_store: OpenStore, marks: Marks, asked: Float[Tensor, "m d"]
    ) -> tuple[Float[Tensor, "m c"], dict[str, float]]:
        """Scores of a classifier for each class, and how strong its L2 is."""
        train = open_store(self.train or "")
        some = slice(_FEW if blank(encode) else None)
        asked = asked.to(learning_device(encode))
        seen = encode(train)[marks.places[some]].float().nan_to_num().to(asked.device)
        hit = torch.from_numpy(marks.hit[some]).to(asked.device)
        centre, spread = seen.mean(0), seen.std(0, correction=0).clamp(min=1e-6)
        x = (seen - centre) / spread
        learning, choosing = held_out([len(x)], self.validation)

        def wrong(l2: float) -> float:
            weight, bias = self._fit(x[learning], hit[learning], l2)
            return float(_loss(x[choosing] @ weight.T + bias, hit[choosing]))

        best = min(self.l2, key=wrong)
        weight, bias = self._fit(x, hit, best)
        return ((asked - centre) / spread @ weight.T + bias).cpu(), {"l2": best}

    def _fit(self, x: Float[Tensor, "n d"], hit: Int[Tensor, "n c"], l2: float) -> tuple[Tensor, Tensor]:
        weight = torch.zeros(hit.shape[1], x.shape[1], device=x.device, requires_grad=True)
        bias = torch.zeros(hit.shape[1], device=x.device, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=self.steps, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = _loss(x @ weight.T + bias, hit) + l2 / 2 * weight.square().sum()
            value.backward()
            progress.advance(1)
            return value

        with Progress(f"{self.name}: L2 of {l2:.3g}, steps at most:", self.steps, hearer()) as progress:
            optimizer.step(loss)
        return weight.detach(), bias.detach()


def _told(listed: list[str], prompts: Any, places: Int64[np.ndarray, "c"] | None) -> str:
    """Which prompts are taken for which lists, where not all is plain."""
    if places is None:
        return (
            f"{prompts.path}: nothing says what its classes are called, so they are taken for the lists' in the order "
            f"of the names of these, first {listed[0]!r} and last {listed[-1]!r}; prompts that the source "
            "class_prompts makes of the lists' names are found by them"
        )
    moved = np.flatnonzero(places != np.arange(len(listed)))
    if not len(moved):
        return ""
    first = moved[0]
    told = f"{count(len(moved), 'class', 'classes')} of {len(listed):,}, as {listed[first]!r}"
    return (
        f"{prompts.path}: its prompts are in another order than the lists: {told}, which is {first} there and "
        f"{places[first]} here; they are matched by their names"
    )


def _loss(logits: Float[Tensor, "n c"], hit: Int[Tensor, "n c"]) -> Tensor:
    """Binary cross-entropy over what is known."""
    known = (hit >= 0).float()
    each = F.binary_cross_entropy_with_logits(logits, hit.clamp(min=0).float(), weight=known, reduction="sum")
    return each / known.sum().clamp(min=1) * hit.shape[1]
