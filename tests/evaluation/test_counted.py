"""Answers that an older version counted otherwise are not taken: rows of one image once counted each."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ExifTags, Image

from distillkit.evaluation.asked import asked_of
from distillkit.evaluation.compared import _other_questions
from distillkit.evaluation.encode import Teacher as OfStores
from distillkit.evaluation.measured import Asking
from distillkit.evaluation.result import changed_since
from distillkit.pixels.pillow import Header
from distillkit.recipe import Component
from tests.evals.few_bits import write_grey
from tests.evals.worlds import Store, Teacher


class Said(Store):
    """One that also says who made it, and what it is."""

    digest = "0"
    manifest = SimpleNamespace(source={"kind": "textlines"})  # no images on disk

    def teacher(self, field):
        return {}


def test_only_of_stores_with_rows_of_one_image_are_kept_answers_others_now():
    component = Component(kind="knn", store="s", train="t")
    found = []
    for files in (["a", "b"], ["a", "a"]):
        stores = {"s": Said([0, 1], label=[0, 0], files=files), "t": Said([0, 1], label=[0, 0])}
        (one,) = asked_of([component], stores.__getitem__, {}, "x")
        found.append(Asking(one.measure.run(Teacher(), stores.__getitem__)[0], one.made_of))
    before, now = found
    assert set(before.made_of) == {"eval", "stores", "distillkit"}  # as ever: nobody is asked again
    assert now.made_of == before.made_of | {"counted": {"images": "each once"}}
    told = _other_questions({"older": [before], "newer": [now]})
    assert "older and newer were not asked the same (counted: images: 'absent' -> 'each once')" in told


def test_it_is_said_why_they_are_measured_anew(tmp_path):
    store = Said([0, 1, 1], label=[0, 0, 0], files=["a", "a", "b"])
    (now,) = asked_of([Component(kind="knn", store="s", train="s")], lambda name: store, {}, "x")
    before = {key: value for key, value in now.made_of.items() if key != "counted"}
    (tmp_path / "evaluation.json").write_text(json.dumps({"networks": {}, "evals": {now.name: before}}))
    (told,) = changed_since(tmp_path, [now], {})
    assert told == f"{now.name}: measured anew, as its images or classes are counted otherwise now"
    (tmp_path / "evaluation.json").write_text(json.dumps({"networks": {}, "evals": ["damaged"]}))
    assert changed_since(tmp_path, [now], {}) == []


def test_only_where_classes_are_matched_by_name_are_kept_answers_others_now():
    stores = {name: Said([0, 1], label=[0, 1]) for name in "st"}
    stores["s"].class_numbers = {"cat": 0, "dog": 1}
    for numbers, counted in (([0, 1], {}), ([1, 0], {"classes": "by name"})):
        stores["t"].class_numbers = dict(zip(["cat", "dog"], numbers, strict=True))
        (one,) = asked_of([Component(kind="knn", store="s", train="t")], stores.__getitem__, {}, "x")
        assert one.counted == counted


def test_only_where_an_asked_image_was_an_example_are_kept_answers_others_now():
    stores = {name: Said([0, 1], label=[0, 0], files=["a", "b"]) for name in "st"}
    stores["u"] = Said([0, 1], label=[0, 0], files=["c", "d"])
    for train, counted in (("t", {"itself": "no example"}), ("s", {"itself": "no example"}), ("u", {})):
        (one,) = asked_of([Component(kind="knn", store="s", train=train)], stores.__getitem__, {}, "x")
        assert one.counted == counted


def test_only_where_a_class_has_no_example_are_kept_answers_others_now():
    stores = {"s": Said([0, 1], label=[0, 1]), "t": Said([0, 1], label=[0, 1]), "u": Said([0, 1], label=[0, 0])}
    for train, counted in (("t", {}), ("u", {"classes without an example": "told"})):
        (one,) = asked_of([Component(kind="knn", store="s", train=train)], stores.__getitem__, {}, "x")
        assert one.counted == counted and len(one.remarks) == len(counted)


@pytest.mark.parametrize(("bits", "counted"), [(1, {}), (2, {"grey of 2 or 4 bits": "its numbers"}), (8, {})])
def test_only_of_grey_masks_that_were_stretched_are_kept_answers_others_now(tmp_path, monkeypatch, bits, counted):
    """Answers to pictures of 2 bits were kept from when their numbers were 0, 85, 170 and 255."""
    monkeypatch.setattr(OfStores, "looked", lambda *what: None)
    for number in range(2):
        write_grey(tmp_path / f"{number}.png", np.arange(16).reshape(4, 4) % 2, bits)
    stores = {name: Said([0, 1], files=[f"{name}0", f"{name}1"]) for name in "st"}
    knobs = {"train": "t", "store": "s", "masks": str(tmp_path), "classes": 2}
    for component in (Component(kind=kind, **knobs) for kind in ("linear_segmentation", "patch_knn")):
        (one,) = asked_of([component], stores.__getitem__, {}, "x")
        assert one.counted == counted


def test_only_of_masks_that_are_turned_are_kept_answers_others_now(tmp_path, monkeypatch):
    """By their own file, or by their image's: older versions took each as it lay."""
    monkeypatch.setattr(OfStores, "looked", lambda *what: None)
    stores = {name: Said([0, 1], files=[f"{name}0", f"{name}1"]) for name in "st"}
    component = Component(kind="patch_knn", train="t", store="s", masks=str(tmp_path), classes=2)

    def counted(held_mask, held_image):
        camera = Image.Exif()
        camera[ExifTags.Base.Orientation] = held_mask
        for number in range(2):
            Image.new("L", (8, 4)).save(tmp_path / f"{number}.png", exif=camera)
        monkeypatch.setattr(OfStores, "headers", lambda self, store, rows: [Header(8, 4, held_image)] * len(rows))
        return asked_of([component], stores.__getitem__, {}, "x")[0].counted

    assert counted(1, 1) == counted(1, 3) == {}
    assert counted(3, 1) == counted(6, 6) == counted(1, 6) == {"masks as images lie": "turned"}


def test_masks_whose_images_are_gone_lie_as_was_found_out(tmp_path, monkeypatch):
    """Answers of masks that were turned were thrown away, and made anew of masks as they lie."""
    monkeypatch.setattr(OfStores, "looked", lambda *what: None)
    stores = {name: Said([0, 1], files=[f"{name}0", f"{name}1"]) for name in "st"}
    component = Component(kind="patch_knn", train="t", store="s", masks=str(tmp_path), classes=2)

    def asked(held, known=None):
        say = [held and Header(8, 4, held)] * 2
        monkeypatch.setattr(OfStores, "headers", lambda self, store, rows: say if held != 9 else pytest.fail("looked"))
        (one,) = asked_of([component], stores.__getitem__, {}, "x", known=known)
        return one, one.counted, one.turned

    for number in range(2):
        Image.new("L", (8, 4)).save(tmp_path / f"{number}.png")
    mark = {"masks as images lie": "turned"}
    assert asked(None)[1:] == ({}, None) and asked(1)[1:] == ({}, False)
    turned, *told = asked(6)
    assert told == [mark, True]
    known = {"patch_knn": turned.made_of | {"turned": True}}
    assert asked(None, known)[1:] == asked(9, known)[1:] == (mark, True)  # nor is any looked at again
    assert asked(1, {"patch_knn": turned.made_of | {"turned": True, "stores": {}}})[1:] == ({}, False)
    assert asked(6, {"patch_knn": turned.made_of})[1:] == (mark, True)  # of an older version
    Image.new("L", (8, 4), 1).save(tmp_path / "0.png")
    assert asked(1, known)[1:] == ({}, False)


class Own:
    """Somebody's own, whose masks are other ones."""

    def __init__(self, *, store: str, masks: str):
        self.store, self.masks, self.name = store, masks, "own"

    def run(self, encode, open_store):
        return {"found": 1.0}


def test_an_eval_of_ones_own_may_have_a_knob_called_masks():
    """It was a traceback: no such attribute, side."""
    component = Component(kind=f"{__name__}:Own", store="s", masks="none/here")
    (one,) = asked_of([component], {"s": Said([0, 1])}.__getitem__, {}, "x")
    assert one.counted == {} and one.turned is None


def test_only_where_a_class_has_several_ids_are_kept_answers_to_few_shots_others_now():
    images = Said([0, 1, 0] * 4, label=[0, 1, 2] * 4)
    images.class_numbers = {}
    for second, counted in (("a crane", {"shots": "of each name"}), ("a swan", {})):
        stores = {"s": images, "p": Said(None, [0, 1, 0], [0, 1, 2], ["a crane", "a ship", second])}
        component = Component(kind="few_shot", store="s", prompts="p", shots=2)
        (one,) = asked_of([component], stores.__getitem__, {}, "x")
        assert one.counted == counted
