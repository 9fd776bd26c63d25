"""What every evaluation promises, for every file of the folder: one small world, numbers between 0 and 1."""

import inspect
import math
import sys
from contextlib import contextmanager
from pathlib import Path

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
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    knobs = KNOBS | {"masks": str(tmp_path)}
    knobs |= {"classes": 2 if known.keys() >= {"masks", "classes"} else str(tmp_path / "names.txt")}
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


_HEARD: list[list[Path]] = []


def _hear(event, arguments):
    if event == "open" and _HEARD and isinstance(arguments[0], str | bytes | Path):
        _HEARD[-1].append(Path(str(arguments[0])))


sys.addaudithook(_hear)  # which nothing takes away again


@contextmanager
def opened_below(folder):
    """The files there that are opened within."""
    found, heard = set(), []
    _HEARD.append(heard)
    try:
        yield found
    finally:
        _HEARD.pop()
        found |= {path for path in heard if path.is_relative_to(folder)}


@pytest.mark.parametrize("kind", kinds("evals"))
def test_tells_of_every_file_that_it_reads(kind, tmp_path):
    """Else its kept answers would outlive what they hang on."""
    component = component_of(kind, tmp_path)
    with opened_below(tmp_path) as read:
        measure = component.build("evals")
        measure.run(Teacher(), STORES.__getitem__)
    told = measure.files(STORES.__getitem__) if hasattr(measure, "files") else {}
    assert read == {path for files in told.values() for path in files}
    assert told.keys() <= component.knobs.keys() | {"train_masks"}  # which are the masks, where nothing else is said
