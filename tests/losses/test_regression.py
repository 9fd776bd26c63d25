"""Distances between features and between tokens, on numbers that one can do in one's head."""

import math

import pytest
import torch
from torch import tensor

from distillkit.errors import RecipeError
from distillkit.losses.feature_regression import FeatureRegression
from distillkit.losses.token_regression import TokenRegression
from distillkit.types import Features
from tests.losses.axes import AXES, WIDTHS, batch, value

# feature regression: unit vectors at a right angle are sqrt(2) apart.


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({}, 1.0),
        ({"over_width": "sum"}, 2.0),
        ({"distance": "cosine"}, 1.0),
        ({"distance": "smooth_l1"}, 0.5),
        ({"normalise": False}, (9 + 16) / 2),
        ({"normalise": False, "over_width": "sum", "log": True}, math.log(1 + 2.5)),
    ],
    ids=str,
)
def test_distances_at_a_right_angle(knobs, expected):
    loss = FeatureRegression(WIDTHS, **knobs)
    assert value(loss, batch(image=tensor([[3.0, 0.0]])), image=tensor([[0.0, 4.0]])) == pytest.approx(expected)


def test_feature_regression_adds_both_modalities():
    loss = FeatureRegression(WIDTHS, field="image and text")
    assert value(loss, batch(image=AXES, text=AXES), image=AXES.flip(0), text=AXES) == 1.0


def test_masked_feature_regression_looks_at_the_masked_forward():
    loss = FeatureRegression(WIDTHS, masked=True)
    assert value(loss, batch(image=AXES), image=AXES, masked_image=AXES.flip(0)) == 1.0


def test_masked_texts_are_refused():
    with pytest.raises(RecipeError, match="masked is about images"):
        FeatureRegression(WIDTHS, field="text", masked=True)


def test_other_patch_grids_are_refused_by_both_counts():
    teacher, student = batch(cls=AXES, patches=torch.ones(2, 9, 2)), Features(cls=AXES, patches=torch.ones(2, 4, 2))
    with pytest.raises(RecipeError, match=r"\[2, 4, 2\].*\[2, 9, 2\]"):
        FeatureRegression(WIDTHS, field="patches")(teacher, student)
    with pytest.raises(RecipeError, match="student has 4 patches, the teacher 9"):
        TokenRegression(WIDTHS, level="feature")(teacher, student)


# token regression: heads that say 0 for everything leave the teacher's own squares.


def silent(loss):
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.zero_()
    return loss


def test_token_levels_average_over_what_they_name():
    teacher = batch(cls=torch.full((2, 2), 3.0), patches=torch.ones(2, 3, 2), mask=tensor([[True, False, False]] * 2))
    teacher.teacher.patches[:, 0] = 2.0
    student = {"cls": AXES, "patches": torch.ones(2, 3, 2), "masked": torch.ones(2, 3, 2)}
    assert value(silent(TokenRegression(WIDTHS, level="token")), teacher, **student) == 9
    assert value(silent(TokenRegression(WIDTHS, level="feature")), teacher, **student) == (9 + 4 + 1 + 1) / 4
    assert value(silent(TokenRegression(WIDTHS, level="patch")), teacher, **student) == 4


def test_nothing_masked_is_zero_and_not_nan():
    teacher = batch(patches=torch.ones(2, 3, 2), mask=torch.zeros(2, 3, dtype=torch.bool))
    masked = torch.ones(2, 3, 2, requires_grad=True)
    found = TokenRegression(WIDTHS, level="patch")(teacher, Features(masked=masked))
    found.backward()
    assert found.item() == 0
