"""Linear probe by SGD: a classifier for each learning rate of a grid, all at once; held-out images choose among them.

    logits = scale (W x + b);  cross-entropy, momentum 0.9, the rate falls along half a cosine

DINOv2's grid (https://arxiv.org/abs/2304.07193, dinov2/eval/linear.py): 13 rates for batches of 256, ten epochs; there
also over how many blocks are read and averaged, and chosen on the very images that are asked, which is not done here.
`prompts`: ELEVATER's variant (https://arxiv.org/abs/2204.08790), where W begins as the classes' texts: what zero-shot
knows is not forgotten, only mended. Features are the clean view's, at length 1 beside texts.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._answers import Answers
from distillkit.evals._by_name import by_name
from distillkit.evals._class_order import as_prompted
from distillkit.evals._classes import Classes, class_embeddings, classes_of, prompt_names, prompted
from distillkit.evals._classified import classified
from distillkit.evals._encode import Encode, OpenStore, blank, learning_device
from distillkit.evals._held import but_asked, held_out, learned_from, with_examples
from distillkit.evals._labels import Labels, files_of_names, labels_of_images
from distillkit.evals._ranking import one_right, ranked_by
from distillkit.system.progress import hearer, paced

RATES = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1]  # dinov2/eval/linear.py
_RATES_ARE_FOR = 256  # images a batch


class SgdProbe:
    """`train`: a store of labelled images to learn from; images that are in the measured store, too, are left out.
    `store`: the store of labelled images that are measured. `validation`: the share of the images to learn from on
    which the learning rate is chosen, between 0 and 1. `validation_store`: a store of images to choose the learning
    rate on, in place of a share of the images to learn from. In the end the probe is trained on all of them.

    `prompts`: a store of class prompts; the classifier then starts as their embeddings, and features have length 1. Not
    given: it starts at 0. `scale`: with prompts, the factor of the logits. `rates`: the learning rates to choose from,
    for batches of 256; DINOv2's 13, if not given. `epochs`: passes over the images to learn from. `batch`: images in a
    step. `momentum`: of SGD. `weight_decay`: of SGD. `seed`: of the order of images, and of the images that choose the
    rate.
    """

    def __init__(
        self,
        *,
        train: str,
        store: str,
        prompts: str | None = None,
        validation_store: str | None = None,
        validation: float = 0.1,
        classes: str | None = None,
        first_class: int = 0,
        rates: list[float] | None = None,
        epochs: int = 10,
        batch: int = 1024,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        scale: float = 100.0,
        seed: int = 0,
        name: str | None = None,
    ):
        self.train, self.store, self.prompts, self.name = train, store, prompts, name or "sgd_probe"
        self.validation_store, self.validation, self.classes = validation_store, validation, classes
        self.first_class, self.rates, self.epochs, self.batch = first_class, rates or RATES, epochs, batch
        self.momentum, self.weight_decay, self.seed = momentum, weight_decay, seed
        self.scale = scale if prompts else 1.0
        if not 0 < validation < 1 or min(epochs, batch) < 1:
            raise RecipeError("evals.sgd_probe: validation must be between 0 and 1, epochs and batch above 0")

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """Top-1, top-5 and mean per-class accuracy, with 95 % intervals and chance; and the rate that was chosen."""
        (*known, labels), classes = self.check(open_store)
        names = [self.train, *([self.validation_store] if self.validation_store else [])]
        known = [learned_from(one, encode) for one in known]
        said = [self._seen(encode(open_store(name))[one.places]) for name, one in zip(names, known, strict=True)]
        x = torch.cat(said).to(learning_device(encode))
        label = torch.cat([classes.numbers(one) for one in known]).to(learning_device(encode))
        learning, choosing = held_out([len(one) for one in said], self.validation, self.seed)
        begun = torch.zeros(len(classes), x.shape[1])
        if self.prompts is not None:
            begun = class_embeddings(open_store(self.prompts), encode)
        begun = begun.to(learning_device(encode))
        heads = self._fit(x[learning], label[learning], begun, self.rates)
        hits = [(logits.argmax(1) == label[choosing]).sum().item() for logits in heads(x[choosing])]
        best = self.rates[hits.index(max(hits))]  # of equals the lowest
        chosen = self._fit(x, label, begun, [best])
        asked = self._seen(encode(open_store(self.store))[labels.places])
        number = classes.numbers(labels)
        found = ranked_by(
            lambda a, b: chosen(asked[a:b].to(learning_device(encode)))[0].cpu(),
            len(asked),
            len(classes),
            one_right(number, len(classes)),
            blank(encode),
        )
        words = None if self.prompts is None else prompt_names(open_store(self.prompts), classes)
        return classified(open_store(self.store), labels, number, classes, found, names=words, facts={"rate": best})

    def check(self, open_store: OpenStore) -> tuple[list[Labels], Classes]:
        """The images to learn from, those that choose and those that are asked; StoreError for labels of no use."""
        names = [self.train, *([self.validation_store] if self.validation_store else []), self.store]
        labels = [labels_of_images(open_store(name), self.classes, self.first_class) for name in names]
        labels = but_asked([open_store(name) for name in names], labels)
        if len(labels[0].places) < 2:
            raise StoreError(f"{labels[0].path}: one image is too few to learn from and to choose with")
        if self.prompts is None:
            *known, asked = labels = by_name(*labels)
            return [*known, with_examples(known, asked)], classes_of(labels[0], *labels[1:])
        prompts = open_store(self.prompts)
        classes, labels = prompted(prompts), [as_prompted(one, prompts) for one in labels]
        for one in labels:
            classes.numbers(one)
        return labels, classes

    def files(self, open_store: OpenStore) -> dict[str, list[Path]]:
        """The file of class names, where one is given."""
        return files_of_names(self.classes)

    def _seen(self, said: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        found = said.float().nan_to_num()
        return found if self.prompts is None else F.normalize(found, dim=1)

    def _fit(
        self, x: Float[Tensor, "n d"], label: Int[Tensor, "n"], begun: Float[Tensor, "c d"], rates: list[float]
    ) -> _Heads:
        """A head for each rate; they learn side by side, and none hears of another."""
        heads = _Heads(begun.repeat(len(rates), 1, 1), torch.zeros(len(rates), len(begun), device=x.device), self.scale)
        random = torch.Generator().manual_seed(self.seed)
        batch = min(self.batch, len(x))
        steps = self.epochs * (len(x) // batch)
        rate = torch.tensor(rates, device=x.device) * (batch / _RATES_ARE_FOR)
        speed = [torch.zeros_like(one) for one in heads.parameters]
        order = torch.empty(0, dtype=torch.int64)
        for step in paced(f"{self.name}: steps of SGD", steps, 1, hearer()):
            if len(order) < batch:
                order = torch.randperm(len(x), generator=random)
            places, order = order[:batch].to(x.device), order[batch:]
            cosine = (1 + math.cos(math.pi * step / steps)) / 2
            for one, before, gradient in zip(
                heads.parameters, speed, heads.gradients(x[places], label[places]), strict=True
            ):
                before.mul_(self.momentum).add_(gradient + self.weight_decay * one)
                one.sub_(before * (cosine * rate).reshape(-1, *[1] * (one.ndim - 1)))
        return heads


class _Heads:
    """Several classifiers: weights [g, c, d], biases [g, c]."""

    def __init__(self, weight: Float[Tensor, "g c d"], bias: Float[Tensor, "g c"], scale: float):
        self.weight, self.bias, self.scale = weight, bias, scale

    @property
    def parameters(self) -> tuple[Tensor, Tensor]:
        return self.weight, self.bias

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "g n c"]:
        return self.scale * (x @ self.weight.transpose(1, 2) + self.bias[:, None])

    def gradients(self, x: Float[Tensor, "n d"], label: Int[Tensor, "n"]) -> tuple[Tensor, Tensor]:
        """Of each head's mean cross-entropy."""
        along = self(x).softmax(2)
        along[:, torch.arange(len(x), device=x.device), label] -= 1
        along *= self.scale / len(x)
        return along.transpose(1, 2) @ x, along.sum(1)
