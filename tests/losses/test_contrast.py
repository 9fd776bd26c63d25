"""Losses that ask which text belongs to which image, on numbers that one can do in one's head, and at their edges."""

import math

import pytest
import torch
from torch import tensor

from distillkit.errors import RecipeError
from distillkit.losses.caption_contrast import CaptionContrast
from distillkit.losses.contrastive import Contrastive
from distillkit.losses.fusion import Fusion
from distillkit.losses.gradient import Gradient
from distillkit.losses.interactive import Interactive
from distillkit.losses.sigmoid import Sigmoid
from distillkit.types import Features, Widths
from tests.losses.axes import AXES, LN2, LN3, PAIR, WIDTHS, batch, value

# contrastive: orthogonal pairs at scale ln 3 pick right with probability 3/4.


def test_contrastive_of_orthogonal_pairs():
    loss = Contrastive(WIDTHS, logit_scale=3.0)
    assert value(loss, batch(), image=AXES, text=AXES) == math.log(1 + math.exp(-3))


def test_contrastive_takes_the_students_scale():
    loss = Contrastive(WIDTHS, logit_scale="student")
    assert value(loss, batch(), image=AXES, text=AXES, scale=tensor(LN3)) == math.log(4 / 3)
    assert not list(loss.parameters())


def test_contrastive_against_classes_is_their_cross_entropy():
    labels = batch(match=tensor([1, 1, 0]), text=AXES)
    loss = Contrastive(WIDTHS, text="teacher", directions="rows", logit_scale=LN3, learned_scale=False)
    wrong, right = math.log(4), math.log(4 / 3)
    assert value(loss, labels, image=AXES[[0, 1, 0]]) == (wrong + right + right) / 3


def test_contrastive_against_the_teachers_images_needs_no_matching():
    teacher = batch(match=None, image=AXES)
    loss = Contrastive(WIDTHS, against="teacher image", logit_scale=LN3)
    assert value(loss, teacher, image=AXES) == math.log(4 / 3)


def test_images_that_share_a_text_are_each_its_positive():
    shared = batch(match=tensor([0, 0]), text=AXES[:1])
    loss = Contrastive(WIDTHS, text="teacher")
    assert value(loss, shared, image=AXES[[0, 0]]) == LN2 / 2  # no choice of texts; the text has two equal images


def test_the_learned_scale_is_at_most_100_and_comes_back_from_there():
    loss = Contrastive(WIDTHS)
    with torch.no_grad():
        loss.scale.value.fill_(9.0)
    loss(batch(), Features(image=AXES, text=AXES.flip(0))).backward()
    assert loss.scale.value.exp().item() == pytest.approx(100)
    assert loss.scale.value.grad > 0


def test_a_scale_that_is_not_learned_stays_where_it_starts():
    loss = Contrastive(WIDTHS, logit_scale=150.0, learned_scale=False)
    assert loss.scale().item() == pytest.approx(150)


@pytest.mark.parametrize("kind", [Contrastive, Interactive, Fusion, Sigmoid], ids=lambda kind: kind.__name__)
def test_unpaired_texts_are_refused(kind):
    with pytest.raises(RecipeError, match="which text describes each image"):
        kind(WIDTHS)(batch(match=None, image=AXES, text=AXES), Features(image=AXES, text=AXES))


# interactive


def test_icl_scores_students_against_the_teachers_other_modality():
    loss = Interactive(WIDTHS, logit_scale=3.0)
    same = {"image": AXES, "text": AXES}
    right, wrong = math.log(1 + math.exp(-3)), math.log(1 + math.exp(3))
    assert value(loss, batch(**same), **same) == right
    assert value(loss, batch(**same), image=AXES, text=AXES.flip(0)) == (right + wrong) / 2


def test_the_raw_scale_leaves_out_the_exp():
    same = {"image": AXES, "text": AXES}
    loss = Interactive(WIDTHS, logit_scale=3.0, scale="raw")
    assert value(loss, batch(**same), **same) == math.log(1 + 1 / 3)  # multiplies by log(3)


def test_xkd_is_zero_when_both_score_alike():
    same = {"image": AXES, "text": AXES}
    loss = Interactive(WIDTHS, target="teacher", logit_scale=3.0, teacher_scale=3.0)
    assert value(loss, batch(**same), **same) == 0
    assert loss(batch(**same), Features(image=AXES.flip(0), text=AXES)) > 1


def test_projections_exist_where_widths_differ():
    wider = Widths({"image": 2, "text": 2}, {"image": 3, "text": 3})
    shapes = {name: tuple(p.shape) for name, p in Interactive(wider).named_parameters() if p.ndim == 2}
    assert shapes == {"image_projection.weight": (3, 2), "text_projection.weight": (3, 2)}
    assert [name for name, _ in Interactive(WIDTHS).named_parameters()] == ["cross_scale.value"]


# fusion


def test_fusion_of_equal_halves():
    loss = Fusion(WIDTHS, logit_scale=3.0)
    with torch.no_grad():
        for layer in (loss.image_fusion, loss.text_fusion):
            layer.weight.copy_(torch.cat([AXES, AXES], dim=1))  # adds both halves
            layer.bias.zero_()
    same = {"image": AXES, "text": AXES}
    assert value(loss, batch(**same), **same) == math.log(1 + math.exp(-3))


# gradient: pairs on two axes at v = ln 3 have E = [[-1/4, 1/4], [1/4, -1/4]].


def test_gradient_against_a_teacher_that_pulls_nowhere():
    # The teacher's embeddings are all alike, so E k = 0. Each G has entries of v/2 * 1/4.
    alike = torch.ones(2, 2)
    loss = Gradient(WIDTHS, logit_scale=LN3)
    assert value(loss, batch(image=alike, text=alike), image=AXES, text=AXES) == 4 * (LN3 / 8) ** 2


def test_gradient_as_released_divides_by_the_scale():
    alike = torch.ones(2, 2)
    same = {"image": AXES, "text": AXES}
    loss = Gradient(WIDTHS, logit_scale=1 / LN3, mode="code")
    assert value(loss, batch(image=alike, text=alike), **same) == 4 * (LN3 / 8) ** 2


def test_gradient_pairs_each_image_with_the_text_that_describes_it():
    loss = Gradient(WIDTHS, logit_scale=2.0)
    image, text = torch.randn(2, 2), torch.randn(2, 2)
    teacher = {"image": torch.randn(2, 2), "text": torch.randn(2, 2)}
    swapped = batch(match=PAIR.flip(0), image=teacher["image"], text=teacher["text"].flip(0))
    assert value(loss, batch(**teacher), image=image, text=text) == value(loss, swapped, image=image, text=text.flip(0))


# sigmoid


def test_sigmoid_asks_every_pair():
    loss = Sigmoid(WIDTHS, logit_scale=2.0, bias=-1.0)  # right pairs score 1, wrong ones -1: all answers equally sure
    assert value(loss, batch(), image=AXES, text=AXES) == 4 * math.log(1 + math.exp(-1)) / 2


def test_sigmoid_starts_where_siglip_does():
    loss = Sigmoid(WIDTHS)
    assert loss.scale().item() == pytest.approx(10)
    assert loss.bias.item() == -10


# captions


def test_captions_of_the_same_class_are_no_wrong_answers():
    loss = CaptionContrast(WIDTHS, temperature=1 / LN3)
    assert value(loss, batch(match=tensor([4, 7]), caption=AXES), image=AXES) == math.log(4 / 3)
    assert value(loss, batch(match=tensor([4, 4]), caption=AXES), image=AXES) == 0
