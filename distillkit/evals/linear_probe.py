"""Linear probe: logistic regression on frozen features; how strong its L2 is, a part of the training images decides.

    min over W, b of  mean CE(W x + b, label) + l2 ||W||^2 / 2,   x standardised per dimension

The protocol of CLIP (https://arxiv.org/abs/2103.00020, appendix A.3) and of Proteus' fine-grained sets, by L-BFGS.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._answers import Answers
from distillkit.evals._classes import Classes, classes_of
from distillkit.evals._classified import classified
from distillkit.evals._encode import Encode, OpenStore
from distillkit.evals._labels import Labels, labels_of
from distillkit.evals._ranking import one_right, ranked_by


class LinearProbe:
    """`train`: labelled images to learn from; `validation` is the share of them that chooses among the `l2`.

    `store`: those that are asked. `classes`: see zero_shot. `steps`: iterations of L-BFGS at most.
    """

    def __init__(
        self,
        *,
        train: str,
        store: str,
        classes: str | None = None,
        l2: list[float] | None = None,
        validation: float = 0.2,
        steps: int = 500,
        name: str | None = None,
    ):
        self.train, self.store, self.classes, self.name = train, store, classes, name or "linear_probe"
        self.l2, self.validation, self.steps = l2 or [1e-5, 1e-4, 1e-3, 1e-2, 1e-1], validation, steps
        if not 0 < validation < 1:
            raise RecipeError(f"evals.linear_probe: validation = {validation} must be between 0 and 1")

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """Top-1, top-5 and mean per-class accuracy, with 95 % intervals and chance; and the L2 that was chosen."""
        learned, labels, classes = self.check(open_store)
        known, label = classes.numbers(learned), classes.numbers(labels)
        seen = encode(open_store(self.train))[learned.places].float().nan_to_num()
        centre, spread = seen.mean(0), seen.std(0, correction=0).clamp(min=1e-6)
        x = (seen - centre) / spread
        asked = (encode(open_store(self.store))[labels.places].float().nan_to_num() - centre) / spread
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        held = max(int(len(x) * self.validation), 1)
        choosing, learning = order[:held], order[held:]

        def right(l2: float) -> float:
            said = self._fit(x[learning], known[learning], len(classes), l2)(x[choosing]).argmax(1)
            return float((said == known[choosing]).double().mean())

        best = max(self.l2, key=right)  # of equals the first: the weakest
        classifier, store = self._fit(x, known, len(classes), best), open_store(self.store)
        found = ranked_by(lambda a, b: classifier(asked[a:b]), len(asked), len(classes), one_right(label, len(classes)))
        return classified(store, labels, label, classes, found, facts={"l2": best})

    def check(self, open_store: OpenStore) -> tuple[Labels, Labels, Classes]:
        """The images to learn from, those that are asked, and the classes; StoreError for labels of no use."""
        learned, labels = (labels_of(open_store(name), self.classes) for name in (self.train, self.store))
        if len(learned.places) < 2:
            raise StoreError(
                f"{learned.path}: {len(learned.places)} images are too few to learn from and to choose with"
            )
        return learned, labels, classes_of(learned, labels)

    def _fit(self, x: Float[Tensor, "n d"], label: Int[Tensor, "n"], classes: int, l2: float) -> _Classifier:
        weight = torch.zeros(classes, x.shape[1], requires_grad=True)
        bias = torch.zeros(classes, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=self.steps, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(x @ weight.T + bias, label) + l2 / 2 * weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        return _Classifier(weight.detach(), bias.detach())


class _Classifier:
    def __init__(self, weight: Float[Tensor, "c d"], bias: Float[Tensor, "c"]):
        self.weight, self.bias = weight, bias

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        return x @ self.weight.T + self.bias
