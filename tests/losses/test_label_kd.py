"""Label distillation of four classes: all of them, the best of them, and what a store keeps of them."""

import math

import pytest
import torch
from torch import tensor

from distillkit.errors import RecipeError
from distillkit.losses.label_kd import LabelKD
from distillkit.types import Widths
from tests.losses.axes import batch, value


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
