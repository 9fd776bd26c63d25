"""Each loss on numbers that one can do in one's head, and what each does at its edges."""

import math

import pytest
import torch
from torch import tensor

from distillkit.errors import RecipeError
from distillkit.losses.affinity import Affinity
from distillkit.losses.caption_contrast import CaptionContrast
from distillkit.losses.contrastive import Contrastive
from distillkit.losses.feature_regression import FeatureRegression
from distillkit.losses.fusion import Fusion
from distillkit.losses.gradient import Gradient
from distillkit.losses.interactive import Interactive
from distillkit.losses.label_kd import LabelKD
from distillkit.losses.sigmoid import Sigmoid
from distillkit.losses.sparsity import Sparsity
from distillkit.losses.token_regression import TokenRegression
from distillkit.types import Batch, Features, Widths

LN2, LN3 = math.log(2), math.log(3)
AXES = torch.eye(2)
PAIR = torch.arange(2)
WIDTHS = Widths(
    dict.fromkeys(("image", "text", "masked", "masked_image", "cls", "patches"), 2),
    dict.fromkeys(("image", "text", "caption", "cls", "patches"), 2),
)


def batch(match=PAIR, mask=None, **teacher):
    return Batch(match=match, mask=mask, teacher=Features(**teacher))


def value(loss, batch, **student):
    return pytest.approx(loss(batch, Features(**student)).item(), rel=1e-6, abs=1e-7)


# affinity: one image on the first axis sees the texts on both axes with scores (g, 0).


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


# labels


def test_label_kd_keeps_the_teachers_best_classes():
    four = Widths({"logits": 4}, {"logits": 4})
    teacher = batch(logits=tensor([[3.0, 1.0, 0.5, 0.5]]).log())  # 0.6, 0.2, 0.1, 0.1
    even = {"logits": torch.zeros(1, 4)}

    def kl(*target):
        return sum(p * math.log(p * 4) for p in target if p)

    assert value(LabelKD(four), teacher, **even) == pytest.approx(kl(0.6, 0.2, 0.1, 0.1))
    assert value(LabelKD(four, top_k=2), teacher, **even) == pytest.approx(kl(0.75, 0.25))
    assert value(LabelKD(four, top_k=1, rest="spread"), teacher, **even) == pytest.approx(kl(0.6, *[0.4 / 3] * 3))
    assert value(LabelKD(four, top_k=9, rest="spread"), teacher, **even) == pytest.approx(kl(0.6, 0.2, 0.1, 0.1))


def test_label_kd_squares_the_temperature():
    four = Widths({"logits": 4}, {"logits": 4})
    teacher = batch(logits=tensor([[9.0, 1.0, 0.25, 0.25]]).log())  # at T = 2: 3, 1, 1/2, 1/2
    found = value(LabelKD(four, temperature=2), teacher, logits=torch.zeros(1, 4))
    assert found == pytest.approx(4 * sum(p * math.log(p * 4) for p in (0.6, 0.2, 0.1, 0.1)))


def test_label_kd_reads_the_best_classes_of_a_store_as_if_it_had_them_all():
    many = Widths({"logits": 50}, {"logits": 50})
    torch.manual_seed(0)
    ours, theirs = torch.randn(2, 4, 50)
    best, classes = theirs.log_softmax(1).topk(8)
    dense, few = batch(logits=theirs), batch(logits=best, classes=classes.int())
    for knobs in ({"rest": "spread"}, {}, {"temperature": 3.0}):
        whole = value(LabelKD(many, top_k=8, **knobs), dense, logits=ours)
        assert value(LabelKD(many, **knobs), few, logits=ours) == whole
        fewer = value(LabelKD(many, top_k=3, **knobs), dense, logits=ours)
        assert value(LabelKD(many, top_k=3, **knobs), few, logits=ours) == fewer


def test_label_kd_refuses_what_the_best_classes_cannot_tell():
    four = Widths({"logits": 4}, {"logits": 4})
    few = batch(logits=tensor([[0.6, 0.2]]).log(), classes=torch.tensor([[2, 0]]))
    for knobs, told in (
        ({"top_k": 3}, "top_k = 3, the store keeps the 2 best"),
        ({"temperature": 2}, "needs temperat"),
    ):
        with pytest.raises(RecipeError, match=told):
            value(LabelKD(four, rest="spread", **knobs), few, logits=torch.zeros(1, 4))


def test_label_kd_refuses_other_classes():
    with pytest.raises(RecipeError, match="the student has 3 classes, the teacher 4"):
        LabelKD(Widths({"logits": 3}, {"logits": 4}))


def test_too_few_zeros_cost_and_too_many_do_not():
    def price(sparsity, step=1000, **knobs):
        loss = Sparsity(WIDTHS, target=0.5, multiplier=10.0, **knobs)
        return value(loss, Batch(step=step), sparsity=tensor(sparsity))

    assert price(0.3) == 10 * 0.2 + 10 * 0.04
    assert price(0.3, step=800) == 10 * 0.1 + 10 * 0.01
    assert price(0.3, step=9000) == price(0.3)
    assert price(0.6) == 0
    assert price(0.6, two_sided=True) == -10 * 0.1 + 10 * 0.01


def test_the_sparsity_target_rises_and_stays():
    loss = Sparsity(WIDTHS, target=0.75, start=0.25, warmup_steps=100)
    assert [loss.target_at(step) for step in (0, 50, 100, 900)] == [0.25, 0.5, 0.75, 0.75]


def test_a_descent_on_the_sparsity_price_ascends_the_multipliers():
    loss, sparsity = Sparsity(WIDTHS, target=0.5), tensor(0.3, requires_grad=True)
    loss(Batch(step=1000), Features(sparsity=sparsity)).backward()
    assert sparsity.grad.item() == pytest.approx(-10 - 2 * 10 * 0.2)
    assert loss.linear.grad.item() == pytest.approx(-0.2)
    assert loss.quadratic.grad.item() == pytest.approx(-0.04)
