"""The objective sums its terms by name and weight, moves knobs over time, and says what it lacks."""

import pytest
import torch

from distillkit.errors import RecipeError
from distillkit.recipe import Ramp, Term
from distillkit.training.objective import Objective
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


# Mixed images.


def test_a_mixed_image_has_two_answers_by_their_shares():
    """The student says 3/4 and 1/4 of both images; one is the first class, the other the second."""
    objective = Objective([Term(kind="label_kd")], Widths({"logits": 2}, {"logits": 2}), mixed=True)
    sure = torch.tensor([[40.0, -40.0], [-40.0, 40.0]])
    seen = Features(logits=torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log())
    own, other = (-torch.tensor([0.75, 0.25]).log()).tolist()
    for share, wanted in ((1.0, (own + other) / 2), (0.75, (own + other) / 2)):
        total, _ = objective(Batch(teacher=Features(logits=sure), own_share=share), seen)
        assert total.item() == pytest.approx(wanted)
    one_sided = Features(logits=torch.tensor([[3.0, 1.0], [1.0, 3.0]]).log())  # each sees more of its own class
    total, _ = objective(Batch(teacher=Features(logits=sure), own_share=0.75), one_sided)
    assert total.item() == pytest.approx(0.75 * own + 0.25 * other)


def test_mixed_answers_pull_as_the_mixed_distribution_does():
    torch.manual_seed(0)
    theirs, ours = torch.randn(4, 5), torch.randn(4, 5, requires_grad=True)
    objective = Objective([Term(kind="label_kd")], Widths({"logits": 5}, {"logits": 5}), mixed=True)
    total, _ = objective(Batch(teacher=Features(logits=theirs), own_share=0.7), Features(logits=ours))
    (pull,) = torch.autograd.grad(total, ours)
    target = theirs.softmax(1)
    target = 0.7 * target + 0.3 * target[[1, 0, 3, 2]]
    (wanted,) = torch.autograd.grad(-(target * ours.log_softmax(1)).sum(1).mean(), ours)
    assert torch.allclose(pull, wanted, atol=1e-7)


def test_the_best_classes_and_the_labels_go_with_their_images():
    widths = Widths({"logits": 4, "image": 2}, {"logits": 4, "text": 2})
    best = Features(
        logits=torch.zeros(2, 1), classes=torch.tensor([[3], [0]], dtype=torch.int32), text=torch.eye(2), scale=None
    )
    terms = [Term(kind="label_kd"), Term(kind="contrastive", text="teacher", directions="rows", logit_scale=1.0)]
    objective = Objective(terms, widths, mixed=True)
    seen = Features(logits=torch.tensor([[0.1, 0.2, 0.3, 0.4]] * 2).log(), image=torch.eye(2))
    batch = Batch(match=torch.tensor([0, 1]), teacher=best, own_share=0.9)
    _, values = objective(batch, seen)
    log = -torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    assert values["label_kd"].item() == pytest.approx((log[3] + log[0]).item() / 2)
    own, other = (-torch.tensor([1.0, 0.0]).log_softmax(0)).tolist()
    assert values["contrastive"].item() == pytest.approx(0.9 * own + 0.1 * other)


@pytest.mark.parametrize(
    "term",
    [
        Term(kind="feature_regression", name="FD"),
        Term(kind="contrastive", text="teacher", name="both ways"),
        Term(kind="contrastive", against="teacher image", directions="rows", name="L_cst"),
        Term(kind="affinity", between="image, teacher image", directions="rows", name="L_pvl"),
    ],
)
def test_features_of_mixed_images_nobody_knows(term):
    with pytest.raises(RecipeError, match=rf"losses.{term.knobs['name']}: data.augment mixes images, and no teacher"):
        Objective([term], WIDTHS, mixed=True)
    Objective([term], WIDTHS)


class Given(torch.nn.Module):
    """A loss of one's own that returns what it is told to."""

    needs = ("student.image",)

    def __init__(self, widths, *, name: str | None = None, weight: float = 1.0, what: str = "scalar"):
        super().__init__()
        self.name, self.weight, self.what = name, weight, what

    def forward(self, batch, student):
        whole = student.image.square().mean()
        given = {"scalar": whole, "half": whole.half(), "float64": whole.double(), "number": 0.5, "nothing": None}
        given |= {"one": whole[None], "several": whole.expand(3), "pair": (whole, whole), "count": whole.long()}
        return given[self.what]


def of_ones_own(what):
    return Objective([Term(kind="tests.training.test_objective:Given", what=what)], WIDTHS)(*batch())


@pytest.mark.parametrize("what", ["number", "nothing", "one", "several", "pair", "count"])
def test_a_loss_of_ones_own_that_gives_no_scalar_is_one_line(what):
    with pytest.raises(RecipeError, match=r"losses.Given: its forward gives .*; let it return a scalar tensor") as told:
        of_ones_own(what)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("what", ["scalar", "half", "float64"])
def test_a_scalar_of_any_precision_is_taken(what):
    total, _ = of_ones_own(what)
    assert total.requires_grad and total.item() > 0
