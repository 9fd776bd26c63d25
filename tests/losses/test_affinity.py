"""Affinity on numbers that one can do in one's head: one image on the first axis sees two texts with scores (g, 0)."""

import math

import pytest
import torch
from torch import tensor

from distillkit.errors import RecipeError
from distillkit.losses.affinity import Affinity
from distillkit.types import Features
from tests.losses.axes import AXES, LN2, LN3, WIDTHS, batch, value


def test_affinity_rows_are_the_kl_of_two_choices():
    teacher = batch(image=AXES[:1], text=AXES)
    loss = Affinity(WIDTHS, logit_scale=LN3, directions="rows")  # the teacher says 3/4, 1/4; the student 1/2, 1/2
    assert value(loss, teacher, image=tensor([[1.0, 1.0]])) == 0.75 * math.log(1.5) + 0.25 * math.log(0.5)


def test_affinity_cross_entropy_is_the_kl_and_the_teachers_entropy():
    teacher = batch(image=AXES[:1], text=AXES)
    loss = Affinity(WIDTHS, logit_scale=LN3, directions="rows", divergence="cross_entropy")
    assert value(loss, teacher, image=tensor([[1.0, 1.0]])) == LN2


def test_affinity_directions_add_or_average():
    teacher = batch(image=AXES[:1], text=AXES)
    student = {"image": tensor([[1.0, 1.0]])}
    values = {
        way: Affinity(WIDTHS, logit_scale=LN3, directions=way)(teacher, Features(**student)).item()
        for way in ("rows", "columns", "sum", "mean")
    }
    assert values["columns"] == 0  # a text that has one image to pick picks it
    assert values["sum"] == values["rows"] == pytest.approx(2 * values["mean"])


def test_affinity_temperature_divides_the_scale():
    teacher = batch(image=AXES[:1], text=AXES)
    student = {"image": tensor([[0.2, 1.0]])}
    assert value(Affinity(WIDTHS, logit_scale=6, temperature=3), teacher, **student) == value(
        Affinity(WIDTHS, logit_scale=2), teacher, **student
    )


def test_affinity_with_own_scales_is_zero_when_scores_agree():
    same = {"image": AXES, "text": AXES}
    loss = Affinity(WIDTHS, between="image, text", logit_scale="own")
    assert value(loss, batch(**same, scale=tensor(5.0)), **same, scale=tensor(5.0)) == 0
    assert loss(batch(**same, scale=tensor(5.0)), Features(**same, scale=tensor(4.0))) > 0.001


def test_affinity_with_one_key_to_choose_from_is_zero():
    teacher = batch(image=AXES, text=AXES)
    loss = Affinity(WIDTHS, directions="rows", top_k=1)
    assert value(loss, teacher, image=AXES.flip(0)) == 0


def test_affinity_leaves_out_images_that_the_teacher_takes_for_another_class():
    teacher = batch(match=tensor([0, 0]), image=AXES, text=AXES)  # the second image is labelled 0, the teacher says 1
    loss = Affinity(WIDTHS, logit_scale=LN3, directions="rows", agreeing_only=True)
    image = tensor([[1.0, 1.0], [1.0, 0.0]]).requires_grad_()
    found = loss(teacher, Features(image=image))
    found.backward()
    assert found.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert image.grad[0].norm() > 0
    assert image.grad[1].norm() == 0


def test_affinity_is_zero_when_no_image_is_left():
    teacher = batch(match=tensor([1, 0]), image=AXES, text=AXES)
    image = torch.ones(2, 2, requires_grad=True)
    found = Affinity(WIDTHS, directions="rows", agreeing_only=True)(teacher, Features(image=image))
    found.backward()
    assert found.item() == 0
    assert (image.grad == 0).all()


def test_affinity_trains_learned_texts_through_the_students_side_only():
    text = torch.ones(2, 2, requires_grad=True)
    loss = Affinity(WIDTHS, between="image, student text", directions="rows")
    found = loss(batch(image=AXES), Features(image=AXES, text=text))
    found.backward()  # both sides score alike, so that nothing pulls; the teacher's side alone would
    assert found.item() == 0
    assert text.grad.norm() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("knobs", [{"top_k": 3}, {"agreeing_only": True, "directions": "mean"}], ids=str)
def test_affinity_refuses_a_choice_of_rows_without_rows(knobs):
    with pytest.raises(RecipeError, match='set directions = "rows"'):
        Affinity(WIDTHS, **knobs)
