"""The entropy of targets, where it is known by hand."""

import math

import pytest
import torch

from distillkit.losses._sharpness import cosines, remark, scale_for, share
from distillkit.losses.affinity import Affinity
from distillkit.types import Batch, Features, Widths


def known(scale, choices):
    """Of orthogonal vectors against themselves: one cosine is 1 and the others are 0."""
    p = math.exp(scale) / (math.exp(scale) + choices - 1)
    q = (1 - p) / (choices - 1)
    return -(p * math.log(p) + (choices - 1) * q * math.log(q)) / math.log(choices)


@pytest.mark.parametrize("choices", [2, 16, 64])
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 10.0])
def test_the_share_of_orthogonal_vectors_is_known(choices, scale):
    assert share(scale * torch.eye(choices)) == pytest.approx(known(scale, choices), rel=1e-4)


def test_the_ends_are_one_hot_and_flat():
    assert share(1000 * torch.eye(8)) == pytest.approx(0.0, abs=1e-6) and share(torch.zeros(8, 8)) == pytest.approx(1.0)
    assert share(torch.zeros(4, 1)) == 1.0


@pytest.mark.parametrize("choices", [4, 64, 2048])
def test_the_scale_that_gives_half_is_found(choices):
    found = scale_for(torch.eye(choices)[:8])
    assert known(found, choices) == pytest.approx(0.5, abs=1e-3)


def test_equal_cosines_stay_flat_at_any_scale():
    assert scale_for(torch.full((4, 8), 0.3)) == pytest.approx(1e4, rel=1e-3)


def test_cosines_are_of_directions():
    x = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    assert torch.allclose(cosines(x, x), torch.tensor([[1.0, 0.5**0.5], [0.5**0.5, 1.0]]))


@pytest.mark.parametrize(
    ("scale", "told"), [(100.0, "nearly one-hot: they teach little more"), (5.0, None), (0.1, "nearly uniform")]
)
def test_a_term_remarks_on_targets_that_say_nothing(scale, told):
    widths = Widths({"image": 64}, {"image": 64, "text": 64})
    term = Affinity(widths, between="image, teacher text", logit_scale=scale)
    teacher = Features(image=torch.eye(64)[:16], text=torch.eye(64))
    said = term.remark(Batch(teacher=teacher, keys=(), step=0))
    assert said is None if told is None else told in said and "over 64 choices" in said
    assert remark(scale * torch.eye(64)[:16]) == said


def test_targets_that_are_not_the_teachers_alone_get_no_remark():
    widths = Widths({"image": 8, "text": 8}, {"image": 8})
    term = Affinity(widths, between="image, student text", logit_scale=100.0)
    assert term.remark(Batch(teacher=Features(image=torch.eye(8)), keys=(), step=0)) is None
