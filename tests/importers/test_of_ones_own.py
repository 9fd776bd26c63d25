"""An importer of one's own that gives other arrays than it says: one line, and never rows that are others."""

import numpy as np
import pytest

from distillkit.engine.importing import import_features
from distillkit.errors import DistillkitError
from distillkit.importers._record import imported
from distillkit.recipe import Component
from distillkit.store.format.field import Field
from distillkit.store.reading.reader import FeatureStore
from distillkit.types import Sample

ROWS, WIDTH = 6, 4
WHOLE = np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH)
GIVES = {
    "whole": lambda rows: ({"mine/image": WHOLE[rows]}, {}),
    "listed": lambda rows: [{"mine/image": WHOLE[rows]}, {}],
    "turned": lambda rows: ({"mine/image": WHOLE[rows].T}, {}),
    "fewer": lambda rows: ({"mine/image": WHOLE[rows][:-1]}, {}),
    "wider": lambda rows: ({"mine/image": np.zeros((len(rows), WIDTH + 1))}, {}),
    "other": lambda rows: ({"image": WHOLE[rows]}, {}),
    "words": lambda rows: ({"mine/image": np.array([["a"] * WIDTH] * len(rows))}, {}),
    "array": lambda rows: WHOLE[rows],
    "none": lambda rows: None,
    "beyond": lambda rows: ({"mine/image": WHOLE[rows]}, {ROWS: "is gone"}),
}


class Mine:
    def __init__(self, root, *, how: str = "whole", repeat: bool = False):
        self.views, self.source = {"count": 1}, {"kind": "folder", "knobs": {}, "root": None}
        self.teachers = {"mine": imported("mine", model="m", sha256=None, logit_scale=None)}
        self.fields = {"mine/image": Field(teacher="mine", shape=[WIDTH], dtype="float32")}
        self.how, self.repeat, self.passes = how, repeat, 0

    def __iter__(self):
        self.passes += 1
        if self.how == "once" and self.passes > 1:
            return
        for number in range(ROWS):
            yield Sample("same" if self.repeat and number < 2 else f"k{number}")

    def read(self, rows):
        return GIVES.get(self.how, GIVES["whole"])(rows)


def brought(tmp_path, **knobs):
    component = Component(kind="tests.importers.test_of_ones_own:Mine", **knobs)
    import_features(component, tmp_path, tmp_path / "out", {}, lambda line: None)
    return FeatureStore(tmp_path / "out")


@pytest.mark.parametrize("how", ["whole", "listed"])
def test_what_it_gives_is_stored(tmp_path, how):
    assert np.array_equal(brought(tmp_path, how=how).read("image", np.arange(ROWS)).numpy(), WHOLE)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("turned", r"Mine.read gives 'mine/image' as \[4, 6\]; let it be \[6, 4\]"),
        ("fewer", r"as \[5, 4\]; let it be \[6, 4\]"),
        ("wider", r"as \[6, 5\]; let it be \[6, 4\]"),
        ("other", "gives no array of numbers for 'mine/image'"),
        ("words", "gives no array of numbers for 'mine/image'"),
        ("array", "let it return"),
        ("none", "Mine.read gives None; let it return"),
        ("beyond", "refuses row 6 of 6"),
    ],
)
def test_what_is_no_row_of_each_field_for_each_row_is_one_line(tmp_path, how, told):
    with pytest.raises(DistillkitError, match=told) as refused:
        brought(tmp_path, how=how)
    assert "\n" not in str(refused.value)


def test_keys_that_are_others_the_second_time_are_no_rows(tmp_path):
    assert (
        brought(tmp_path, repeat=True).read("image", np.arange(ROWS - 1)).numpy().tolist()
        == WHOLE[[0, *range(2, ROWS)]].tolist()
    )
    with pytest.raises(DistillkitError, match="gives other keys each time"):
        brought(tmp_path / "again", repeat=True, how="once")
