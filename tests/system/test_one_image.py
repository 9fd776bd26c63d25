"""Rows of one image: every caption of it is a row where a source keeps them all."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from distillkit.system.one_image import first_of_each, has_doubles, images_of, places_among, rows_of_images


class Store:
    def __init__(self, images):
        self.index = pa.table({"image": pa.chunked_array([pa.array(part, pa.string()) for part in images])})


@pytest.mark.parametrize(
    ("images", "numbers", "first"),
    [
        ([["b", "a"], ["b", "c", "a"]], [0, 1, 0, 2, 1], [0, 1, 3]),
        ([[None, "a", None], ["a"]], [0, 1, 2, 1], [0, 1, 2]),
        ([["a"]], [0], [0]),
        ([[]], [], []),
    ],
)
def test_rows_of_one_place_are_one_image(images, numbers, first):
    store = Store(images)
    rows = np.arange(len(numbers))
    assert images_of(store, rows).tolist() == numbers
    assert first_of_each(store, rows).tolist() == first


@pytest.mark.parametrize(
    ("roots", "sources", "found"),
    [
        (("/a", "/a"), "ff", [1, -1, 1]),
        (("/a/d", "/a"), "ff", [0, -1, 0]),  # d/x is there, by its own name
        (("/a", "/other"), "ff", [-1, -1, -1]),
        ((None, None), "tt", [1, -1, 1]),  # of tars only one and the same source has the same images
        ((None, None), "tu", [-1, -1, -1]),
    ],
)
def test_an_image_is_found_in_another_store_by_where_it_lies(roots, sources, found):
    stores = [Store([["x", None, "x"]]), Store([["d/x", "x", None, "x"]])]
    for store, root, source in zip(stores, roots, sources, strict=True):
        store.root = None if root is None else Path(root)
        store.manifest = SimpleNamespace(source={"kind": source, "knobs": {}})
    one, other = stores
    assert places_among(one, np.arange(3), other, np.arange(4)).tolist() == found
    assert places_among(one, np.arange(3), one, np.array([2, 1])).tolist() == [0, -1, 0]


def test_a_folder_within_the_others_has_what_lies_there():
    whole, part = Store([["d/x", "x", None, "dx", "d/e/x"]]), Store([["x", "e/x"]])
    for store, root in ((whole, "/a"), (part, "/a/d")):
        store.root, store.manifest = Path(root), SimpleNamespace(source={"kind": "f", "knobs": {}})
    assert places_among(whole, np.arange(5), part, np.arange(2)).tolist() == [0, -1, -1, -1, 1]
    assert places_among(part, np.arange(2), whole, np.arange(5)).tolist() == [0, 4]


def test_of_some_rows_those_alone_count():
    store = Store([["a", "b", "a", "b", "c"]])
    assert images_of(store, np.array([3, 2, 1, 4])).tolist() == [0, 1, 0, 2]
    assert first_of_each(store, np.array([3, 2, 1, 4])).tolist() == [0, 1, 3]


@pytest.mark.parametrize(("ok", "doubles"), [([0, 1, 2], True), ([0, 1], False), ([], False)])
def test_only_usable_rows_are_doubles(ok, doubles):
    store = Store([["a", "b", "a"]])
    store.ok_rows = np.array(ok, np.int64)
    assert has_doubles(store) is doubles
    assert rows_of_images(store).tolist() == ok[:2]
