"""A network that says nothing: asked before a training, it is refused what others are, and costs next to nothing."""

import inspect

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from distillkit.errors import StoreError
from distillkit.evals._encode import Tokens
from distillkit.evaluation.numbers import numbers
from distillkit.recipe import Component
from distillkit.recipe.registry import kinds, resolve
from tests.evals.test_contract import KNOBS, PROMPTS
from tests.evals.worlds import Store, Student

ROWS = 1500
LABELS = [row % 3 for row in range(ROWS)]
STORES = {
    "images": Store(torch.randn(ROWS, 4), LABELS, LABELS, [f"caption {row}" for row in range(ROWS)]),
    "prompts": PROMPTS,
}
DENSE = ("linear_depth", "linear_segmentation", "patch_knn")


class Blank(Student):
    """Says nothing, as whoever tries a validation out."""

    blank = True

    def __init__(self):
        super().__init__(torch.zeros(ROWS, 4))

    def tokens(self, store, rows, *, cls):
        return Tokens(torch.zeros(len(rows), 4, 3), torch.zeros(len(rows), 3) if cls else None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Masks of every image, and lists of several labels."""
    place = tmp_path_factory.mktemp("masks")
    for column, one in enumerate("abc"):
        lines = (f"{n} {1 if n % 3 == column else -1}\n" for n in range(ROWS))
        (place / f"{one}_test.txt").write_text("".join(lines))
        (place / f"{one}_trainval.txt").write_text("".join(f"{n} {n % 2 * 2 - 1}\n" for n in range(ROWS)))
    for number in range(ROWS):
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) % 2).save(place / f"{number}.png")
    return place


def measure_of(kind, folder, **more):
    known = inspect.signature(resolve("evals", kind)).parameters
    knobs = KNOBS | {"masks": str(folder), "steps": 40, "labels": str(folder)} | more
    knobs |= {"classes": 2} if "masks" in known and "classes" in known else {}
    if kind == "multi_label":
        knobs["prompts"] = None
    return Component(kind=kind, **{name: value for name, value in knobs.items() if name in known}).build("evals")


@pytest.mark.parametrize("kind", kinds("evals"))
def test_its_numbers_have_their_names_at_a_fraction_of_the_work(kind, folder):
    measure, work, names = measure_of(kind, folder), [], []
    for encode in (Student(torch.randn(ROWS, 4)), Blank()):
        with FlopCounterMode(display=False) as counter:
            names.append(list(numbers(measure.run(encode, STORES.__getitem__))))
        work.append(counter.get_total_flops())
    assert names[0] == names[1]
    assert 0 < 4 * work[1] < work[0], work


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("where", ["store", "train"])
def test_the_last_mask_of_all_is_refused_all_the_same(kind, where, folder, tmp_path):
    """Whether it is to be learned from or asked about."""
    for number in range(200):
        (tmp_path / f"{number}.png").symlink_to(folder / f"{number}.png")
    images = Store(torch.randn(200, 4))
    good = tmp_path / "good"
    good.mkdir()
    for number in range(200):
        (good / f"{number}.png").symlink_to(folder / f"{number}.png")
    (tmp_path / "199.png").unlink()
    Image.new("RGB", (8, 8)).save(tmp_path / "199.png")
    places = {"masks": str(good), "train_masks": str(good)} | {
        "masks" if where == "store" else "train_masks": str(tmp_path)
    }
    measure = measure_of(kind, folder, **places)
    with pytest.raises(StoreError, match=r"199\.png: is RGB, but a mask has one number for each pixel"):
        measure.run(Blank(), {"images": images}.__getitem__)
