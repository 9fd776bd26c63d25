"""A loss that cannot move the student, and weights that nothing moves, are told at the first step."""

import pytest
import torch
from torch import nn

from distillkit.errors import RecipeError
from distillkit.recipe import Term
from distillkit.training.reached import unmoved_by, unreached
from distillkit.types import Features
from tests.training.test_learner import batch, learner

HOW = {
    "whole": lambda loss, image, theirs: (loss.head(image) - theirs).square().mean(),
    "detached": lambda loss, image, theirs: (loss.head(image) - theirs).square().mean().detach(),
    "item": lambda loss, image, theirs: torch.tensor((loss.head(image) - theirs).square().mean().item()),
    "head": lambda loss, image, theirs: (loss.head(image.detach()) - theirs).square().mean(),
    "beside": lambda loss, image, theirs: (image - theirs).square().mean(),
}


class Mine(nn.Module):
    """A loss of one's own, with a head, that reaches the student or not."""

    needs = ("student.image", "teacher.image")

    def __init__(self, widths, *, name: str | None = None, weight: float = 1.0, how: str = "whole"):
        super().__init__()
        self.name, self.weight, self.how = name, weight, how
        self.head = nn.Linear(widths.student["image"], widths.teacher["image"])

    def forward(self, batch, student):
        return HOW[self.how](self, student.image.float(), batch.teacher.image)


def terms(how, alone):
    mine = Term(kind="tests.training.test_reached:Mine", how=how)
    return [mine] if alone else [Term(kind="affinity", between="image, teacher image"), mine]


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("how", ["detached", "item"])
def test_a_loss_without_gradient_that_stands_alone_is_one_line(how, parts):
    with pytest.raises(RecipeError, match=r"losses.Mine: has no gradient, .*without .item\(\)") as told:
        learner(losses=terms(how, alone=True), accumulate=parts).step(batch(), 1e-3)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("how", ["detached", "item", "head"])
def test_beside_another_term_it_is_told_that_it_teaches_nothing(how, parts):
    made = learner(losses=terms(how, alone=False), accumulate=parts)
    made.step(batch(), 1e-3)
    assert made.remarks[0].startswith("Mine: does not reach the student"), made.remarks
    assert len(made.remarks) == 1 + (how != "head")
    assert made.gradient_norms(batch())["Mine"] == 0


def test_no_rank_waits_for_one_whose_share_a_term_does_not_reach(monkeypatch):
    """All send the gradients of every term: who left one out would answer with another term's."""
    made, sent = learner(losses=terms("item", alone=False)), []
    monkeypatch.setattr(made.averaged, "finish", lambda: sent.append(1))
    assert made.gradient_norms(batch())["Mine"] == 0 and len(sent) == 2


@pytest.mark.parametrize("parts", [1, 2])
def test_a_loss_that_reaches_the_student_says_nothing(parts):
    made = learner(losses=terms("whole", alone=False), accumulate=parts)
    made.step(batch(), 1e-3)
    assert made.remarks == [] and made.gradient_norms(batch())["Mine"] > 0


def test_a_head_of_a_loss_that_never_trains_is_named():
    made = learner(losses=terms("beside", alone=False))
    made.step(batch(), 1e-3)
    line = "losses: no term reaches 272 learned numbers (Mine) at step 1: what no term reaches stays as it began"
    assert made.remarks == [line]


def test_parts_of_a_student_are_named_by_the_largest_that_holds_them():
    student = nn.ModuleDict({"trunk": nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), "text": nn.Linear(3, 5)})
    student.trunk(torch.ones(1, 3)).sum().backward()
    (line,) = unreached("student", student)
    assert line.startswith("student: no term reaches 20 learned numbers (text) at step 1: ")
    student.trunk[1].weight.grad = None
    assert "28 learned numbers (trunk.1.weight, text)" in unreached("student", student)[0]
    student.requires_grad_(False)
    assert unreached("student", student) == []


def test_a_way_through_many_steps_is_found_and_a_student_that_says_no_tensor_of_its_own_is_let_be():
    image = torch.ones(2, 3, requires_grad=True)
    far = image
    for _ in range(3000):
        far = far + 1
    assert unmoved_by({"far": far.sum()}, Features(image=image)) == []
    assert len(unmoved_by({"other": torch.ones(1, requires_grad=True).sum()}, Features(image=image))) == 1
    assert unmoved_by({"any": far.sum()}, Features(image=torch.ones(2, 3))) == []


def test_a_run_tells_it_once(student):
    student.recipe.write_text(
        student.recipe.read_text().replace(
            "[optim]", '[[losses]]\nkind = "tests.training.test_reached:Mine"\nhow = "detached"\n[optim]'
        )
    )
    code, err = student("log.gradient_norms=true", "log.every_steps=1")
    assert code == 0 and err.count("Mine: does not reach the student, which learns nothing from it") == 1, err


class Constant(nn.Module):
    """A student that says a scale that is no weight of it."""

    image_size, widths = 32, {"image": 16, "scale": 1}

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(3, 16)

    def forward(self, batch):
        return Features(image=self.project(batch.pixels.float().mean((2, 3)) / 255), scale=torch.tensor(10.0))


@pytest.mark.parametrize("parts", [1, 3])
def test_a_student_may_say_a_constant_also_where_it_looks_in_parts(parts):
    loss = Term(kind="contrastive", logit_scale="student", against="teacher image")
    made = learner(Constant(), [loss], accumulate=parts)
    made.step(batch(), 1e-3)
    assert made.remarks == []


@pytest.mark.parametrize("parts", [1, 2])
def test_a_student_that_says_something_else_is_one_line(parts, monkeypatch):
    made, seen = learner(accumulate=parts), batch()
    said = made.student(seen)
    changed = {
        "gives Tensor; let it return distillkit.types.Features": said.image,
        "gives dict; ": {"image": said.image},
        r"gives 'image' as \[\d+, \d+\], where its `widths` say \[..., \d+\]": Features(image=said.image[:, :-1]),
    }
    for told, value in changed.items():
        monkeypatch.setattr(made.student, "forward", lambda batch, value=value: value)
        with pytest.raises(RecipeError, match=told):
            made.step(seen, 1e-3)
