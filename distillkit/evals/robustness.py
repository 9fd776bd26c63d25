"""Robustness: zero-shot on a set, and on others that are shifted from it, in one table.

effective robustness   of a shifted set:  accuracy there  -  what the baseline's accuracies make one expect,
                       sigma( logit(accuracy on the set) + logit(baseline there) - logit(baseline on the set) )

Taori et al. 2020 (https://arxiv.org/abs/2007.00644) fit a line through many networks; here is one baseline, so the
line goes through it with slope 1. Above 0: more robust than a network that is merely better. Where a shifted set has
some of the classes alone (ImageNet-R, -A, ObjectNet), the accuracy on the set is that among those, if all of them are
found in its prompts by their first prompt's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log
from typing import Any

import numpy as np
import torch

from distillkit.errors import RecipeError
from distillkit.evals._answers import Answers
from distillkit.evals._class_order import as_prompted
from distillkit.evals._classes import Classes, class_embeddings, prompt_names, prompted
from distillkit.evals._classified import classified
from distillkit.evals._encode import Encode, OpenStore, blank
from distillkit.evals._labels import labels_of_images
from distillkit.evals._ranking import one_right, ranked


class Robustness:
    """`store`: labelled images of the set that shifted sets are compared with. `prompts`: a store of class prompts of
    the set that shifted sets are compared with. `shifted`: the shifted sets, by name, each with its two stores: { NAME
    = { store = "...", prompts = "..." } }.
    """

    def __init__(self, *, store: str, prompts: str, shifted: dict[str, dict[str, str]], name: str | None = None):
        self.store, self.prompts, self.shifted, self.name = store, prompts, shifted, name or "robustness"
        for which, one in shifted.items():
            if one.keys() != {"store", "prompts"}:
                raise RecipeError(f'evals.robustness: shifted.{which} wants {{ store = "...", prompts = "..." }}')
        self.further = [place for one in shifted.values() for place in (one["store"], one["prompts"])]

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """The set as zero_shot measures it, then a table for each shifted set, and one for its classes in the set."""
        (answers,) = self._answered(encode, open_store, self.store, self.prompts, None)
        found = [answers]
        for name, one in self.shifted.items():
            (there,) = self._answered(encode, open_store, one["store"], one["prompts"], None)
            found.append(there.called(name))
            inside = self._inside(open_store, one["prompts"])
            if inside is not None:
                (here,) = self._answered(encode, open_store, self.store, self.prompts, inside)
                found.append(here.called(f"{name} classes"))
        return found

    def check(self, open_store: OpenStore) -> None:
        """StoreError for labels of no use in any of the stores."""
        for one in ({"store": self.store, "prompts": self.prompts}, *self.shifted.values()):
            prompts = open_store(one["prompts"])
            prompted(prompts).numbers(as_prompted(labels_of_images(open_store(one["store"])), prompts))

    def together(self, found: dict[str, Sequence[Answers]]) -> dict[str, list[Answers]]:
        """The same answers, with effective robustness against the baseline among the facts, where there is one."""
        baseline = {one.table: one for one in found.get("baseline", ())}
        return {
            who: [_with_robustness(one, {other.table: other for other in listed}, baseline) for one in listed]
            if baseline and who != "baseline"
            else list(listed)
            for who, listed in found.items()
        }

    def _inside(self, open_store: OpenStore, prompts: str) -> np.ndarray | None:
        """Which classes of the set a shifted one has, where it has some of them alone and all are found."""
        whole, part = open_store(self.prompts), open_store(prompts)
        known = {name: number for number, name in enumerate(prompt_names(whole, prompted(whole)))}
        names = prompt_names(part, prompted(part))
        if len(names) == len(known) or not all(name in known for name in names):
            return None
        return np.array(sorted(known[name] for name in names))

    def _answered(
        self, encode: Encode, open_store: OpenStore, store: str, prompts: str, inside: np.ndarray | None
    ) -> list[Answers]:
        images, texts = open_store(store), open_store(prompts)
        classes, labels = prompted(texts), as_prompted(labels_of_images(images), texts)
        vectors, names = class_embeddings(texts, encode), prompt_names(texts, classes)
        if inside is not None:
            chosen = np.flatnonzero(np.isin(classes.numbers(labels).numpy(), inside))
            labels = replace(labels, places=labels.places[chosen], ids=labels.ids[chosen])
            there = np.isin(classes.number, inside)
            classes = Classes(classes.path, classes.ids[there], np.searchsorted(inside, classes.number[there]))
            vectors, names = vectors[torch.from_numpy(inside)], [names[number] for number in inside.tolist()]
        label = classes.numbers(labels)
        right = one_right(label, len(classes))
        ranks = ranked(encode(images)[labels.places], vectors, right, few=blank(encode))
        return classified(images, labels, label, classes, ranks, names=names)


def _with_robustness(one: Answers, own: dict[str, Answers], baseline: dict[str, Answers]) -> Answers:
    if not one.table or one.table.endswith(" classes"):
        return one
    here = f"{one.table} classes" if f"{one.table} classes" in own else ""
    expected = _logit(own[here]) + _logit(baseline[one.table]) - _logit(baseline[here])
    value = _share(one) - 1 / (1 + exp(-expected))
    return replace(one, facts=one.facts | {f"{one.table} effective robustness": value})


def _share(answers: Answers) -> float:
    return float((answers.columns["rank"] <= 1).mean())


def _logit(answers: Any) -> float:
    """Of all or nothing: as if half an image more were wrong or right."""
    least = 0.5 / len(answers.key)
    share = min(max(_share(answers), least), 1 - least)
    return log(share / (1 - share))
