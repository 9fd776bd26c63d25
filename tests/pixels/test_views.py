"""Views: drawn from nothing but their names, kept as float32, and replayed bit for bit."""

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from distillkit.pixels import centre_view, randaugment, render, views
from distillkit.recipe import RandAugment, Views
from distillkit.types import View

PROTEUS = Views(count=5, scale=(0.08, 1.0), flip=0.5, randaugment=RandAugment())


def noise(width=50, height=40):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def drawn(spec=PROTEUS, key="a", width=50, height=40):
    return views.planned(spec, key, width, height, centre_view(width, height))


def test_views_are_a_function_of_seed_key_number_and_shape():
    assert drawn() == drawn()
    others = [drawn(key="b"), drawn(PROTEUS.model_copy(update={"seed": 1})), drawn(width=90)]
    assert all(other[1:] != drawn()[1:] for other in others)
    more = drawn(PROTEUS.model_copy(update={"count": 9}))
    assert more[:5] == drawn() and len(set(more)) == 9


def test_view_0_is_clean_or_drawn_like_the_others():
    clean, *rest = drawn()
    assert clean.box == pytest.approx(centre_view(50, 40).box) and not clean.flip and not clean.ops
    without = drawn(PROTEUS.model_copy(update={"clean_first": False}))
    assert without[1:] == tuple(rest) and without[0] != clean


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_stored_view_replays_bit_for_bit(number, interpolation):
    for key in map(str, range(40)):
        view = drawn(key=key)[number]
        row = views.packed((view,), PROTEUS)[0]
        assert row.dtype == np.float32 and len(row) == len(views.columns(PROTEUS)) == 9
        again = views.unpacked(np.frombuffer(row.tobytes(), np.float32))
        assert again == view
        np.testing.assert_array_equal(
            render(noise(), again, 32, interpolation), render(noise(), view, 32, interpolation)
        )


def test_columns_say_what_a_row_holds():
    view = View((0.125, 0.25, 0.5, 0.75), True, (("rotate", -12.5),))
    row = dict(zip(views.columns(PROTEUS), views.packed((view,), PROTEUS)[0].tolist(), strict=True))
    box = {"left": 0.125, "top": 0.25, "right": 0.5, "bottom": 0.75, "flip": 1.0}
    rotated = {"operation_1": randaugment.OPERATIONS.index("rotate"), "amount_1": -12.5}
    assert row == box | rotated | {"operation_2": -1.0, "amount_2": -1.0}
    told = views.facts(PROTEUS)
    assert told["columns"] == list(row) and told["operation_names"][3] == "rotate" and told["count"] == 5
    assert views.columns(Views(count=2)) == ["left", "top", "right", "bottom", "flip"]


def test_boxes_stay_within_the_image():
    for key in map(str, range(200)):
        for view in drawn(key=key, width=997, height=31):
            left, top, right, bottom = view.box
            assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
            assert render(noise(997, 31), view, 8).shape == (3, 8, 8)


@pytest.mark.parametrize(
    "wrong", [{"scale": (0.0, 1.0)}, {"scale": (0.5, 1.5)}, {"ratio": (2, 1)}, {"count": 0}, {"flip": 2}]
)
def test_impossible_views_are_refused(wrong):
    with pytest.raises(ValidationError):
        Views(**({"count": 2} | wrong))
