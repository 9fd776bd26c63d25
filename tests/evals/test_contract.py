"""What every evaluation promises, for every file of the folder: one small world, numbers between 0 and 1."""

import inspect
import math

import pytest
import torch

from distillkit.evaluation.numbers import numbers
from distillkit.recipe import Component
from distillkit.recipe.registry import kinds, resolve
from tests.evals.worlds import Store, Student, Teacher

torch.manual_seed(0)
IMAGES = Store(torch.randn(12, 4), [0, 1, 2] * 4, [0, 1, 2] * 4, ["a", "b", "c"] * 4)
PROMPTS = Store(None, [0, 1, 2], [0, 1, 2], ["a", "b", "c"])
STORES = {"images": IMAGES, "prompts": PROMPTS}
KNOBS = {"store": "images", "train": "images", "prompts": "prompts", "shots": 2, "k": 3}


@pytest.mark.parametrize("kind", kinds("evals"))
@pytest.mark.parametrize("encode", [Teacher(), Student(torch.randn(12, 4))], ids=["teacher", "student"])
def test_gives_named_numbers_with_intervals_around_them(kind, encode):
    known = inspect.signature(resolve("evals", kind)).parameters
    component = Component(kind=kind, **{name: value for name, value in KNOBS.items() if name in known})
    component.check("evals", "evals[0]")
    measure = component.build("evals")
    assert measure.name == kind
    found = numbers(measure.run(encode, STORES.__getitem__))
    assert found and all(type(value) is float and math.isfinite(value) for value in found.values())
    assert any(name.endswith(".chance") for name in found)
    for name in found:
        if name.endswith(".low"):
            bare = name.removesuffix(".low")
            assert found[name] <= found[bare] <= found[f"{bare}.high"]
            if f"{bare}.chance" in found:
                assert found[name] >= 0 and found[f"{bare}.high"] <= 1
