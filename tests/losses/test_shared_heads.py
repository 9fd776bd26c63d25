"""Terms of one recipe train one projection together: once in the optimiser, once in the checkpoint."""

import pytest
import torch

from distillkit.errors import RecipeError
from distillkit.recipe import Term
from distillkit.training.objective import Objective
from distillkit.types import Batch, Features, Widths

CLIP_KD = [
    Term(kind="feature_regression", field="image and text"),
    Term(kind="interactive"),
    Term(kind="interactive", name="xkd", target="teacher", teacher_scale=20.0),
    Term(kind="interactive", name="raw", scale="raw"),
    Term(kind="fusion"),
]
WIDTHS = Widths({"image": 3, "text": 3}, {"image": 5, "text": 5})


def test_projections_and_scales_are_one_for_all_terms():
    terms = Objective(CLIP_KD, WIDTHS).terms
    owner = terms["feature_regression"]
    for name in ("interactive", "xkd", "raw", "fusion"):
        assert terms[name].image_projection is owner.image_projection
        assert terms[name].text_projection is owner.text_projection
    assert terms["xkd"].cross_scale is terms["interactive"].cross_scale
    assert terms["raw"].cross_scale is not terms["interactive"].cross_scale


def test_a_checkpoint_holds_each_head_once_and_brings_it_back():
    torch.manual_seed(0)
    objective, other = Objective(CLIP_KD, WIDTHS), Objective(CLIP_KD, WIDTHS)
    state = objective.state_dict()
    assert len({value.data_ptr() for value in state.values()}) == len(state)
    assert state.keys() == dict(objective.named_parameters()).keys()
    other.load_state_dict(state)
    batch = Batch(match=torch.arange(4), teacher=Features(image=torch.randn(4, 5), text=torch.randn(4, 5)))
    student = Features(image=torch.randn(4, 3), text=torch.randn(4, 3))
    assert other(batch, student)[0] == objective(batch, student)[0]


def test_all_terms_train_the_shared_head():
    objective = Objective(CLIP_KD[:2], WIDTHS).double()
    batch = Batch(
        match=torch.arange(4), teacher=Features(image=torch.randn(4, 5).double(), text=torch.randn(4, 5).double())
    )
    student = Features(image=torch.randn(4, 3).double(), text=torch.randn(4, 3).double())
    weight = objective.terms["feature_regression"].image_projection.weight
    total, terms = objective(batch, student)
    apart = [torch.autograd.grad(term, weight, retain_graph=True)[0] for term in terms.values()]
    assert all(gradient.norm() > 0 for gradient in apart)
    torch.testing.assert_close(torch.autograd.grad(total, weight)[0], sum(apart))


def test_proteus_levels_share_the_token_head():
    widths = Widths(*({"cls": w, "patches": w, "masked": w} for w in (4, 6)))
    levels = [Term(kind="token_regression", name=level, level=level) for level in ("token", "feature", "patch")]
    terms = Objective(levels, widths).terms
    assert terms["feature"].token_head is terms["token"].token_head
    assert len(list(terms["patch"].parameters())) == 4


@pytest.mark.parametrize("kind", ["fusion", "affinity"])
def test_a_missing_field_is_refused_by_name(kind):
    with pytest.raises(
        RecipeError, match=rf"losses.{kind} needs teacher.text, the teacher gives image; extract that field"
    ):
        Objective([Term(kind=kind)], Widths({"image": 3, "text": 3}, {"image": 3}))
