"""Views of stores in which rows share images, as every caption of one is a row: an image is on one side."""

import json

import numpy as np
import pytest

from distillkit.store.reading.reader import FeatureStore
from distillkit.stores import view as make_view
from distillkit.system.one_image import images_of


@pytest.fixture
def captioned(make_toy, tmp_path):
    """300 rows, three of each image."""
    return captions(make_toy, tmp_path / "captioned")


def captions(make_toy, path, rows=300, each=3):
    toy = make_toy(rows=rows, path=path, failed=())
    toy.captions = each
    return toy.write().path


def images(path):
    store = FeatureStore(path)
    return set(store.values("image", store.ok_rows))


def test_a_share_and_the_rest_have_no_image_in_common(captioned, tmp_path):
    held = make_view(captioned, tmp_path / "held", share=0.2)
    rest = make_view(captioned, tmp_path / "rest", other_than=tmp_path / "held")
    assert not images(held.path) & images(rest.path)
    assert held.count == 3 * len(images(held.path)) and held.count + rest.count == 300
    assert 8 < len(images(held.path)) < 32
    # A share of what is left parts whole images, too.
    make_view(rest.path, tmp_path / "validation", share=0.5)
    make_view(rest.path, tmp_path / "fit", other_than=tmp_path / "validation")
    assert not images(tmp_path / "validation") & images(tmp_path / "fit")


def test_an_image_stays_on_its_side_when_the_store_grows(captioned, make_toy, tmp_path):
    make_view(captioned, tmp_path / "held", share=0.2)
    before = images(tmp_path / "held")
    grown = captions(make_toy, tmp_path / "grown", rows=600)
    make_view(grown, tmp_path / "held-of-grown", share=0.2)
    assert before == images(tmp_path / "held-of-grown") & images(captioned)


def test_the_rest_of_one_caption_of_an_image_has_none_of_the_others(captioned, tmp_path):
    make_view(captioned, tmp_path / "one", rows="0:1")
    rest = make_view(captioned, tmp_path / "rest", other_than=tmp_path / "one")
    assert rest.rows.tolist() == list(range(3, 300))


@pytest.mark.parametrize(("root", "left"), [("/photos", 0), ("/others", 3), (None, 3)])
def test_of_another_store_equal_places_are_one_image_below_one_root(captioned, make_toy, tmp_path, root, left):
    other = captions(make_toy, tmp_path / "other")
    for path, below in ((captioned, "/photos"), (other, root)):
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["source"]["root"] = below
        (path / "manifest.json").write_text(json.dumps(manifest))
    make_view(other, tmp_path / "of-other", rows="0:1")
    rest = make_view(captioned, tmp_path / "rest", rows="0:6", other_than=tmp_path / "of-other")
    assert rest.count == 3 + max(left - 1, 0), "the row with an equal key is left out in any case"


@pytest.mark.parametrize(
    "asked", [("--rows", "0:4"), ("--keys", "{keys}"), ("--rows", "0:30", "--as-many-as", "{few}")]
)
def test_what_parts_the_rows_of_an_image_is_told(captioned, tmp_path, run_cli, asked):
    store = FeatureStore(captioned)
    (tmp_path / "keys.txt").write_text("\n".join(store.values("key", np.array([0, 1, 2, 3]))) + "\n")
    make_view(captioned, tmp_path / "few", rows="0:4")
    asked = [word.format(keys=tmp_path / "keys.txt", few=tmp_path / "few") for word in asked]
    code, _, err = run_cli("store", "view", captioned, tmp_path / "view", *asked)
    view = FeatureStore(tmp_path / "view")
    parted = [rows for rows in np.split(np.arange(300), 100) if 0 < len(np.intersect1d(rows, view.ok_rows)) < 3]
    assert code == 0 and parted and len(np.unique(images_of(view, view.ok_rows))) >= len(parted)
    number = "1 image" if len(parted) == 1 else f"{len(parted)} images"
    told = (
        f"{tmp_path}/view: has some rows of {number}, and leaves out others of the same; to part whole images, choose"
    )
    assert told in err


def test_what_parts_no_image_is_not_told(captioned, toy, tmp_path, run_cli):
    whole = ("store", "view", captioned, tmp_path / "whole", "--rows", "0:6")
    for asked in (whole, ("store", "view", toy.path, tmp_path / "single", "--rows", "0:4")):
        code, _, err = run_cli(*asked)
        assert code == 0 and "leaves out others" not in err
    code, _, err = run_cli("store", "view", captioned, tmp_path / "held", "--share", "0.3")
    assert code == 0 and "leaves out others" not in err
