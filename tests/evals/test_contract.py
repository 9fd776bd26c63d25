"""What every evaluation promises, for every file of the folder: one small world, numbers between 0 and 1."""

import inspect
import math

import numpy as np
import pytest
import torch
from PIL import Image

from distillkit.evaluation.numbers import numbers
from distillkit.recipe import Component
from distillkit.recipe.registry import kinds, resolve
from tests.evals.worlds import Store, Student, Teacher

torch.manual_seed(0)
IMAGES = Store(torch.randn(12, 4), [0, 1, 2] * 4, [0, 1, 2] * 4, ["a", "b", "c"] * 4)
PROMPTS = Store(None, [0, 1, 2], [0, 1, 2], ["a", "b", "c"])
STORES = {"images": IMAGES, "prompts": PROMPTS}
KNOBS = {
    "store": "images",
    "train": "images",
    "prompts": "prompts",
    "shots": 2,
    "k": 3,
    "steps": 5,
    "unit": 1.0,
    "side": 8,
}
KNOBS |= {"seen": "images", "seen_prompts": "prompts", "shifted": {"r": {"store": "images", "prompts": "prompts"}}}


def component_of(kind, tmp_path):
    """An evaluation of the small world, whose files lie at `tmp_path`."""
    known = inspect.signature(resolve("evals", kind)).parameters
    knobs = KNOBS | {"masks": str(tmp_path)} | ({"classes": 2} if known.keys() >= {"masks", "classes"} else {})
    if kind == "multi_label":
        knobs |= {"labels": str(tmp_path), "train": None}
        for column, one in enumerate("abc"):
            lines = (f"{n} {1 if n % 3 == column else -1}\n" for n in range(12))
            (tmp_path / f"{one}_test.txt").write_text("".join(lines))
    for number in range(12):  # a figure, or depths, one to a dozen metres
        numbers_ = np.arange(64, dtype=np.uint8).reshape(8, 8) % 2 + number * (kind == "linear_depth")
        Image.fromarray(numbers_).save(tmp_path / f"{number}.png")
    return Component(kind=kind, **{name: value for name, value in knobs.items() if name in known})


@pytest.mark.parametrize("kind", kinds("evals"))
@pytest.mark.parametrize("encode", [Teacher(), Student(torch.randn(12, 4))], ids=["teacher", "student"])
def test_gives_named_numbers_with_intervals_around_them(kind, encode, tmp_path):
    component = component_of(kind, tmp_path)
    component.check("evals", "evals[0]")
    measure = component.build("evals")
    assert measure.name == kind
    found = numbers(measure.run(encode, STORES.__getitem__))
    assert found and all(type(value) is float and math.isfinite(value) for value in found.values())
    assert any(name.endswith(".chance") for name in found) or kind == "linear_depth"  # which nobody guesses
    for name in found:
        if name.endswith(".low"):
            bare = name.removesuffix(".low")
            assert found[name] <= found[bare] <= found[f"{bare}.high"]
            if f"{bare}.chance" in found:
                assert found[name] >= 0 and found[f"{bare}.high"] <= 1
