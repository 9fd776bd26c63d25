"""Rows of one image are one image to every measure: its own double neither votes for it nor is its rival."""

import numpy as np
import pytest
import torch

from distillkit.evals._encode import Tokens
from distillkit.evals._labels import labels_of
from distillkit.evals._shots import shots_of
from distillkit.evals.agreement import Agreement
from distillkit.evals.asymmetric_retrieval import AsymmetricRetrieval
from distillkit.evals.few_shot import FewShot
from distillkit.evals.knn import Knn
from distillkit.evals.zero_shot import ZeroShot
from distillkit.evaluation.numbers import numbers
from distillkit.recipe.registry import kinds
from tests.evals.test_contract import PROMPTS, component_of
from tests.evals.worlds import Store, Teacher, run

IMAGES = 12
FEATURES = torch.randn(IMAGES, 4, generator=torch.Generator().manual_seed(0))


def images(times=1, label=None, keys=None, below=""):
    """Every image so many times, each time another row: "0.png", "0.png/1"."""
    row = np.repeat(np.arange(IMAGES), times)
    nth = np.tile(np.arange(times), IMAGES)
    return Store(
        FEATURES[row],
        np.array([0, 1, 2] * 4)[row].tolist(),
        np.array(label or [0, 1, 2] * 4)[row].tolist(),
        np.array(["a", "b", "c"] * 4)[row].tolist(),
        keys or [f"{one}.png{f'-{n}.png' if n else ''}" for one, n in zip(row, nth, strict=True)],
        [f"{below}{one}.png" for one in row],
    )


class Dense(Teacher):
    """What it says of patches is of the image alone, whatever row that is."""

    def tokens(self, store, rows, *, cls):
        said = super().__call__(store)[torch.as_tensor(rows)]
        return Tokens(torch.stack([said.roll(n, 1) for n in range(4)], 1), said)


@pytest.mark.parametrize("kind", sorted(set(kinds("evals")) - {"few_shot"}))
def test_a_second_caption_changes_no_number_of_any_measure(kind, tmp_path):
    component = component_of(kind, tmp_path)
    knobs = {name: knob for name, knob in component.knobs.items() if name != "shots"}
    knobs |= {"train": "others"} if knobs.get("train") else {}
    measure = type(component)(kind=kind, **knobs).build("evals")
    once, twice = (
        numbers(measure.run(Dense(), stores.__getitem__))
        for times in (1, 2)
        for stores in [{"images": images(times), "others": images(times, below="others/"), "prompts": PROMPTS}]
    )
    assert once == twice


def test_nobodys_double_is_its_neighbour_or_its_rival():
    found = run(Agreement(store="s", k=1), Teacher(), s=images(2))
    assert (found["images"], found["finds"], found["neighbours@1.chance"]) == (12.0, 1.0, 1 / 11)
    alone = images(2, label=list(range(IMAGES)))  # each image a class: only its double could vote for it
    assert run(Knn(train="s", store="s", k=1), Teacher(), s=alone)["images"] == 12.0


def test_an_image_that_asks_by_its_key_finds_it_under_whatever_row():
    asks = images(2)
    found = run(AsymmetricRetrieval(store="s", gallery="g", right="key", ks=[1]), Teacher(), s=asks, g=images(3))
    assert (found["images"], found["gallery"], found["R@1"]) == (12.0, 12.0, 1.0)


def test_an_image_that_any_row_of_was_a_shot_is_not_asked():
    """Training chooses shots among rows, by their keys, and learns from the image of each."""
    store = images(2)
    seen = {int(row) // 2 for row in shots_of(store, labels_of(store), 2)}
    for measure in (ZeroShot(store="s", prompts="p", shots=2), FewShot(store="s", prompts="p", shots=2)):
        asked = measure.check({"s": store, "p": PROMPTS}.__getitem__)[-2]
        assert asked.places.tolist() == [2 * one for one in range(IMAGES) if 2 * one in asked.places]
        assert not seen & {place // 2 for place in asked.places.tolist()} and len(asked.places)


def test_an_image_counts_by_its_first_row_that_has_a_class():
    store = images(2)
    labels = store.index["label"].to_pylist()
    labels[0], labels[2], labels[3] = -1, -1, -1
    store.index = store.index.set_column(store.index.schema.get_field_index("label"), "label", [labels])
    found = run(Knn(train="s", store="s", k=1), Teacher(), s=store)
    assert (found["images"], found["unlabelled"]) == (11.0, 1.0)
