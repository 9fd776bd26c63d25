"""Lists of several classes an image find their prompts by name, in whatever order; where nobody knows it is told."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from distillkit.errors import StoreError
from distillkit.evals._class_order import any_matched, orders_of
from distillkit.evals._marks import lists_of, marks_of
from distillkit.evals.multi_label import MultiLabel
from tests.evals.worlds import Store, Teacher, run

# By name; their files sort otherwise: bike_rack_test.txt stands before bike_test.txt.
NAMES = ["bike", "bike_rack", "dining table", "dog"]
MATCHED = "classes matched by name"


class Prompts(Store):
    """Prompts of classes on these axes of NAMES; `how`: what says what they are called."""

    def __init__(self, axes, called, how, templates=("a photo of a {}.", "my {}")):
        many = len(templates)
        super().__init__(
            None,
            [axis for axis in axes for _ in templates],
            [label for label in range(len(axes)) for _ in templates],
            [template.format(name) for name in called for template in templates],
            [f"{label}/{number}" for label in range(len(axes)) for number in range(many)],
        )
        self.path = "prompts"
        knobs = {"file": "gone.txt", "templates": list(templates), "templates_file": None}
        self.manifest = SimpleNamespace(source={"kind": "class_prompts" if how == "made" else "csv", "knobs": knobs})
        self.class_numbers = {name: label for label, name in enumerate(called)} if how == "numbered" else {}


@pytest.fixture
def world(tmp_path):
    """Of image n, n % 4 is in it, and n % 3; images lie on the axes of their classes."""
    hit = np.array([[n % 4 == c or n % 3 == c for c in range(4)] for n in range(24)])
    for column, name in enumerate(["bike", "bike_rack", "diningtable", "dog"]):
        marks = "".join(f"{n} {1 if hit[n, column] else -1}\n" for n in range(24))
        for part in ("test", "alpha"):
            (tmp_path / f"{name}_{part}.txt").write_text(marks)
    return str(tmp_path), Store(torch.from_numpy(hit).float() + 0.01, keys=[f"{n}.png" for n in range(24)])


def measured(world, prompts):
    measure, stores = MultiLabel(store="s", labels=world[0], prompts="p"), {"s": world[1], "p": prompts}
    measure.check(stores.__getitem__)
    opened = stores.__getitem__
    return run(measure, Teacher(), **stores), list(orders_of(measure, opened)), any_matched(measure, opened)


@pytest.mark.parametrize("how", ["made", "numbered"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [1, 0, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1]])
def test_prompts_in_any_order_are_found_by_their_names(world, how, order):
    prompts = Prompts(order, [NAMES[place] for place in order], how)
    found, lines, another = measured(world, prompts)
    assert found["ROC-AUC"] == 1.0 and found["mAP 11-point"] == 1.0
    moved = sum(place != one for place, one in enumerate(order))
    assert found.get(MATCHED, 0) == moved and len(lines) == (moved > 0)
    assert all("its prompts are in another order than the lists" in line for line in lines)
    # An older version went by the order of the files.
    assert another == (order != [1, 0, 2, 3])


def test_of_prompts_that_nobody_knows_the_names_of_the_order_counts_and_is_told(world):
    found, (line,), another = measured(world, Prompts([0, 1, 2, 3], NAMES, "neither"))
    assert found["ROC-AUC"] == 1.0 and MATCHED not in found and another
    assert "nothing says what its classes are called" in line and "first 'bike' and last 'dog'" in line
    assert measured(world, Prompts([3, 2, 1, 0], NAMES[::-1], "neither"))[0]["ROC-AUC"] < 0.7
    other = Prompts([0, 1, 2, 3], NAMES, "made")
    other.manifest.source["knobs"]["templates"] = ["another {}", "my {}"]  # not what these were made with
    assert "nothing says" in measured(world, other)[1][0]
    other.manifest.source["knobs"] |= {"templates_file": "gone.txt"}
    assert "nothing says" in measured(world, other)[1][0]


@pytest.mark.parametrize("how", ["made", "numbered"])
def test_prompts_of_other_classes_are_refused(world, how):
    prompts = Prompts([0, 1, 2, 3], ["bike", "bike rack", "cat", "dog"], how)
    with pytest.raises(StoreError, match="none called 'diningtable', and the lists have none called 'cat'; name the"):
        measured(world, prompts)
    measure = MultiLabel(store="s", labels=world[0], prompts="p")
    (line,) = orders_of(measure, {"s": world[1], "p": prompts}.__getitem__)
    assert "its classes are not those of the lists" in line


def test_what_is_not_there_yet_tells_nothing(world):
    def missing(name):
        raise StoreError(f"{name}: not there")

    assert list(orders_of(MultiLabel(store="s", labels=world[0], prompts="p"), missing)) == []
    assert list(orders_of(MultiLabel(store="s", labels=world[0], train="p"), missing)) == []
    few = {"p": Prompts([0, 1], NAMES[:2], "made")}
    assert list(orders_of(MultiLabel(store="s", labels=world[0], prompts="p"), few.__getitem__)) == []


def test_lists_are_in_the_order_of_their_names_whatever_the_part_is_called(world):
    """bike_alpha.txt comes before bike_rack_alpha.txt, and bike_test.txt does not: both are the same classes."""
    folder, store = world
    assert [file.name for file in lists_of(folder, "test")][:2] == ["bike_test.txt", "bike_rack_test.txt"]
    assert marks_of(store, folder, "test").classes == marks_of(store, folder, "alpha").classes
