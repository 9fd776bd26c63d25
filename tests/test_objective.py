"""The objective sums its terms by name and weight, moves knobs over time, and says what it lacks."""

import pytest
import torch

from distillkit.errors import RecipeError
from distillkit.objective import Objective
from distillkit.recipe import Ramp, Term
from distillkit.types import Batch, Features, Widths

WIDTHS = Widths({"image": 4}, {"image": 4, "text": 4})


def batch():
    torch.manual_seed(0)
    teacher = Features(image=torch.randn(3, 4), text=torch.randn(5, 4))
    return Batch(teacher=teacher), Features(image=torch.randn(3, 4, requires_grad=True))


def test_the_total_is_the_weighted_sum_of_named_terms():
    terms = [Term(kind="affinity", weight=0.7), Term(kind="feature_regression", name="near", weight=2.0)]
    total, values = Objective(terms, WIDTHS)(*batch())
    assert values.keys() == {"affinity", "near"}
    assert total.item() == pytest.approx(0.7 * values["affinity"].item() + 2 * values["near"].item())


def test_a_ramp_moves_a_weight_and_a_temperature():
    ramp = {"weight": Ramp(to=0.0, start=10, stop=20), "temperature": Ramp(to=3.0, stop=4, shape="step")}
    objective = Objective([Term(kind="affinity", weight=0.5, ramp=ramp)], WIDTHS)
    loss = objective.terms["affinity"]
    for step, weight, temperature in ((0, 0.5, 1.0), (10, 0.5, 3.0), (15, 0.25, 3.0), (20, 0.0, 3.0), (99, 0.0, 3.0)):
        objective.at(step)
        assert (loss.weight, loss.temperature) == (weight, temperature)
    objective.at(0)
    assert loss.weight == 0.5


@pytest.mark.parametrize(("shape", "half"), [("linear", 5.0), ("cosine", 5.0), ("step", 0.0)])
def test_shapes_of_a_ramp(shape, half):
    ramp = Ramp(to=10.0, stop=8, shape=shape)
    assert [ramp.at(step, 0.0) for step in (0, 4, 8)] == pytest.approx([0.0, half, 10.0])


def test_two_terms_of_one_name_are_refused():
    with pytest.raises(RecipeError, match="two terms are called 'affinity'"):
        Objective([Term(kind="affinity"), Term(kind="affinity")], WIDTHS)


def test_a_missing_field_is_named_with_what_to_do():
    with pytest.raises(RecipeError, match=r"losses.affinity needs teacher.text, the teacher gives image; extract"):
        Objective([Term(kind="affinity")], Widths({"image": 4}, {"image": 4}))


def test_a_term_without_weight_costs_and_needs_nothing():
    widths = Widths({"image": 4}, {"image": 4})
    objective = Objective([Term(kind="affinity", weight=0.0), Term(kind="feature_regression")], widths)
    assert list(objective.terms) == ["feature_regression"] and "teacher.text" not in objective.needs
    with pytest.raises(RecipeError, match="every term has weight 0"):
        Objective([Term(kind="affinity", weight=0.0)], widths)
