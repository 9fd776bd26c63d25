"""Linear probe: logistic regression on frozen features; how strong its L2 is, a part of the training images decides.

    min over W, b of  mean CE(W x + b, label) + l2 ||W||^2 / 2

The protocol of CLIP (https://arxiv.org/abs/2103.00020, appendix A.3) and of Proteus' fine-grained sets, by L-BFGS.
CLIP's own numbers want `l2 = "clip"`, its search, `standardise = false` and `steps = 1000`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._answers import Answers
from distillkit.evals._by_name import by_name
from distillkit.evals._classes import Classes, classes_of
from distillkit.evals._classified import classified
from distillkit.evals._encode import Encode, OpenStore, blank, learning_device
from distillkit.evals._held import but_asked, held_out, learned_from, with_examples
from distillkit.evals._labels import Labels, files_of_names, labels_of_images
from distillkit.evals._ranking import one_right, ranked_by
from distillkit.system.progress import Progress, hearer
from distillkit.system.wording import count


class LinearProbe:
    """`train`: a store of labelled images to learn from; images that are in the measured store, too, are left out.
    `store`: the store of labelled images that are measured. `validation`: the share of the images to learn from on
    which the L2 penalty is chosen, between 0 and 1. `validation_store`: a store of images to choose the L2 penalty on,
    in place of a share of the images to learn from. In the end the probe is trained on all of them.

    `l2`: the penalties to choose from; 1e-5 to 1e-1 in factors of 10, if not given. "clip": CLIP's search, from 1e-6 to
    1e6 for the sum over images, 8 steps a decade around the best. `standardise`: true: every dimension of the features
    is scaled to mean 0 and deviation 1. `steps`: the most iterations of L-BFGS.
    """

    def __init__(
        self,
        *,
        train: str,
        store: str,
        validation_store: str | None = None,
        classes: str | None = None,
        l2: list[float] | Literal["clip"] | None = None,
        validation: float = 0.2,
        standardise: bool = True,
        steps: int = 500,
        name: str | None = None,
    ):
        self.train, self.store, self.classes, self.name = train, store, classes, name or "linear_probe"
        self.l2, self.validation, self.steps = l2 or [1e-5, 1e-4, 1e-3, 1e-2, 1e-1], validation, steps
        self.validation_store, self.standardise = validation_store, standardise
        if not 0 < validation < 1:
            raise RecipeError(f"evals.linear_probe: validation = {validation} must be between 0 and 1")

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """Top-1, top-5 and mean per-class accuracy, with 95 % intervals and chance; and the L2 that was chosen."""
        (*known, labels), classes = self.check(open_store)
        names = [self.train, *([self.validation_store] if self.validation_store else [])]
        known = [learned_from(one, encode) for one in known]
        said = [encode(open_store(name))[one.places] for name, one in zip(names, known, strict=True)]
        device = learning_device(encode)
        seen = torch.cat(said).float().nan_to_num().to(device)
        label = torch.cat([classes.numbers(one) for one in known]).to(device)
        centre, spread = seen.new_zeros(()), seen.new_ones(())
        if self.standardise:
            centre, spread = seen.mean(0), seen.std(0, correction=0).clamp(min=1e-6)
        x = (seen - centre) / spread
        asked = (encode(open_store(self.store))[labels.places].float().nan_to_num().to(device) - centre) / spread
        learning, choosing = held_out([len(one) for one in said], self.validation)

        def right(l2: float) -> float:
            found = self._fit(x[learning], label[learning], len(classes), l2)(x[choosing]).argmax(1)
            return float((found == label[choosing]).double().mean())

        if self.l2 == "clip":
            best = searched(lambda total: right(total / len(learning))) / len(x)
        else:
            best = max(self.l2, key=right)  # of equals the first: the weakest
        classifier, store = self._fit(x, label, len(classes), best), open_store(self.store)
        wanted = one_right(classes.numbers(labels), len(classes))
        found = ranked_by(lambda a, b: classifier(asked[a:b]).cpu(), len(asked), len(classes), wanted, blank(encode))
        return classified(store, labels, classes.numbers(labels), classes, found, facts={"l2": best})

    def check(self, open_store: OpenStore) -> tuple[list[Labels], Classes]:
        """The images to learn from, those that choose and those that are asked; StoreError for labels of no use."""
        names = [self.train, *([self.validation_store] if self.validation_store else []), self.store]
        labels = [labels_of_images(open_store(name), self.classes) for name in names]
        labels = by_name(*but_asked([open_store(name) for name in names], labels))
        if len(labels[0].places) < 2:
            raise StoreError(
                f"{labels[0].path}: {count(len(labels[0].places), 'image')} are too few to learn from and to choose "
                "with"
            )
        *known, asked = labels
        return [*known, with_examples(known, asked)], classes_of(labels[0], *labels[1:])

    def files(self, open_store: OpenStore) -> dict[str, list[Path]]:
        """The file of class names, where one is given."""
        return files_of_names(self.classes)

    def _fit(self, x: Float[Tensor, "n d"], label: Int[Tensor, "n"], classes: int, l2: float) -> _Classifier:
        weight = torch.zeros(classes, x.shape[1], device=x.device, requires_grad=True)
        bias = torch.zeros(classes, device=x.device, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=self.steps, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(x @ weight.T + bias, label) + l2 / 2 * weight.square().sum()
            value.backward()
            progress.advance(1)
            return value

        with Progress(f"{self.name}: L2 of {l2:.3g}, steps at most:", self.steps, hearer()) as progress:
            optimizer.step(loss)
        return _Classifier(weight.detach(), bias.detach())


def searched(score: Callable[[float], float]) -> float:
    """CLIP's search for the strength of an L2: 1e-6, 1e-4, ... 1e6, then halfway to the neighbours of the best, until
    there are 8 steps a decade. Of equals the weakest.
    """
    known = lru_cache(maxsize=None)(lambda exponent: score(10.0**exponent))
    tried, step = [-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0], 2.0
    best = max(tried, key=known)
    while step > 1 / 8:
        step /= 2
        best = max(sorted(one for one in (best - step, best, best + step) if -6 <= one <= 6), key=known)
    return float(10.0**best)


class _Classifier:
    def __init__(self, weight: Float[Tensor, "c d"], bias: Float[Tensor, "c"]):
        self.weight, self.bias = weight, bias

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        return x @ self.weight.T + self.bias
