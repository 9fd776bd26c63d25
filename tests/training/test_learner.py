"""A step is a step however it is computed: in parts, with recomputed activations, fused, averaged."""

import copy

import pytest
import torch
from torch import nn

from distillkit.errors import RecipeError
from distillkit.recipe import Optim, Term
from distillkit.students.openclip_pair import OpenclipPair
from distillkit.students.timm_image import TimmImage
from distillkit.training.finite import NotFinite
from distillkit.training.gradcache import no_statistics
from distillkit.training.gradients import Averaged
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from distillkit.types import Batch, Features, Widths
from tests.conftest import TEACHER
from tests.pretend import pretend_gpu

SMALL = {"depth": 2, "embed_dim": 32, "num_heads": 2}
CPU = torch.device("cpu")


def learner(student=None, losses=(), **optim):
    torch.manual_seed(0)
    knobs = {"drop": 0.2} if "drop" in optim else {}
    optim.pop("drop", None)
    student = student or TimmImage(model="vit_tiny_patch16_224", image_size=32, embed_dim=16, options=SMALL, **knobs)
    terms = list(losses) or [Term(kind="affinity", between="image, teacher image"), Term(kind="feature_regression")]
    objective = Objective(terms, Widths(student.widths, {"image": 16, "text": 16, "scale": 1}))
    settings = Optim(epochs=1, **({"lr": 1e-3, "precision": "fp32"} | optim))
    return Learner(student, objective, settings, seed=0, device=CPU, ranks=Ranks())


def batch(step=0, n=12):
    random = torch.Generator().manual_seed(step)
    pixels = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=random)
    said = Features(image=torch.randn(n, 16, generator=random), scale=torch.tensor(10.0))
    return Batch(tuple(f"k{i}" for i in range(n)), pixels, match=torch.arange(n), teacher=said, step=step)


def gradients(made, of):
    made._backward(of)
    return {name: p.grad.clone() for name, p in made.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize("drop", [{}, {"drop": 1}])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(parts, drop):
    """Without dropout, of the same numbers; with it, what each part drops is the same in both of its passes."""
    whole, split = (gradients(learner(accumulate=count, **drop), batch()) for count in (1, parts))
    assert whole.keys() == split.keys()
    agree = [torch.allclose(whole[name], split[name], rtol=1e-3, atol=1e-5) for name in whole]
    assert all(agree) if not drop else not all(agree)


def test_both_towers_and_the_scale_are_trained_in_parts():
    def made(count):
        torch.manual_seed(0)
        student = OpenclipPair(model={**TEACHER, "embed_dim": 16})
        return learner(student, [Term(kind="contrastive", logit_scale="student")], accumulate=count)

    one = made(1)
    pairs = batch()
    tokens = one.student.tokenize([f"a photo of {i}" for i in range(12)])
    with_text = Batch(pairs.keys, pairs.pixels, tokens, pairs.match, teacher=pairs.teacher)
    whole, split = gradients(one, with_text), gradients(made(4), with_text)
    assert any("logit_scale" in name for name in whole)
    assert all(torch.allclose(whole[name], split[name], rtol=1e-3, atol=1e-6) for name in whole)


@pytest.mark.parametrize("parts", [3, 5, 12])
def test_fewer_texts_than_parts(parts):
    """Class prompts that a text tower reads, of which some parts of the images have none."""

    def made(count):
        torch.manual_seed(0)
        student = OpenclipPair(model={**TEACHER, "embed_dim": 16})
        return learner(student, [Term(kind="contrastive", logit_scale="student")], accumulate=count)

    one, pairs = made(1), batch()
    classes = Batch(
        pairs.keys, pairs.pixels, one.student.tokenize(["a cat", "a dog"]), pairs.match % 2, teacher=pairs.teacher
    )
    whole, split = gradients(one, classes), gradients(made(parts), classes)
    assert all(torch.allclose(whole[name], split[name], rtol=1e-3, atol=1e-6) for name in whole)


def test_batch_norm_of_one_image_is_refused():
    student = TimmImage(model="mobilenetv3_small_050", image_size=32, embed_dim=16)
    with pytest.raises(RecipeError, match="batch norm needs several images at once, and here is one; raise"):
        learner(student, accumulate=12).step(batch(), 1e-3)


def test_batch_norm_counts_a_batch_once():
    student = TimmImage(model="mobilenetv3_small_050", image_size=32, embed_dim=16)
    made = learner(student, accumulate=3)
    made.step(batch(), 1e-3)
    norms = [module for module in made.model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {int(norm.num_batches_tracked) for norm in norms} == {3} and norms[0].momentum != 0


@pytest.mark.parametrize("knob", [{"recompute": True}, {"fused": True}, {"clip_grad_norm": 1e9}])
def test_what_only_costs_or_saves_changes_no_step(knob):
    plain, other = learner(), learner(**knob)
    for step in range(3):
        one, two = plain.step(batch(step), 1e-3)[0], other.step(batch(step), 1e-3)[0]
        assert torch.allclose(one, two, rtol=1e-4)


def test_a_student_without_towers_cannot_recompute():
    class Flat(nn.Module):
        image_size, widths = 32, {"image": 16}

    with pytest.raises(RecipeError, match="cannot recompute its activations"):
        learner(Flat(), recompute=True)


def test_the_moving_average_follows_and_is_what_is_kept():
    made = learner(ema=0.5)
    start = copy.deepcopy(made.student.state_dict())
    for step in range(4):
        made.step(batch(step), 1e-2)
    name = "projection.weight"
    first, kept, now = start[name], made.kept.state_dict()[name], made.student.state_dict()[name]
    assert made.kept is not made.student and not torch.equal(kept, now) and not torch.equal(kept, first)
    assert (kept - now).norm() < (first - now).norm()
    assert all(not parameter.requires_grad for parameter in made.kept.parameters())


def test_a_loss_that_is_no_number_stops_before_anything_changes():
    made = learner()
    before = copy.deepcopy(made.student.state_dict())
    broken = batch()
    broken.teacher.image[0, 0] = float("nan")
    with pytest.raises(NotFinite, match=r"affinity = nan, feature_regression = nan"):
        made.step(broken, 1e-3)
    assert all(torch.equal(value, before[name]) for name, value in made.student.state_dict().items())


class SharpAtZero(nn.Module):
    """Finite at the first step, with a gradient that is not: as a root or a norm at zero."""

    needs = ("student.image",)

    def __init__(self, widths, *, name: str | None = None, weight: float = 1.0):
        super().__init__()
        self.name, self.weight = name, weight

    def forward(self, batch, student):
        apart = (student.image - student.image.detach()).square().sum()
        return apart.sqrt() if batch.step == 0 else apart


@pytest.mark.parametrize("optim", [{}, {"clip_grad_norm": 1.0}, {"accumulate": 2}, {"ema": 0.5}, {"precision": "bf16"}])
def test_a_gradient_that_is_no_number_stops_before_anything_changes(optim):
    made = learner(losses=[Term(kind=f"{__name__}:SharpAtZero"), Term(kind="feature_regression")], **optim)
    before = copy.deepcopy(made.model.state_dict())
    with pytest.raises(NotFinite, match=r"the gradient of \S+ is not finite, though the losses are"):
        made.step(batch(), 1e-3)
    moved = {name for name, value in made.model.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name, _ in made.model.named_parameters()} & moved and not made.optimizer.state


def test_in_float16_steps_are_left_out_until_no_scale_is_left():
    made = learner(losses=[Term(kind=f"{__name__}:SharpAtZero")])
    made.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    weights = [one.clone() for one in made.student.parameters()]
    for _ in range(3):
        made.step(batch(), 1e-3)
    with pytest.raises(NotFinite, match="the gradient of"):
        made.step(batch(), 1e-3)
    assert all(torch.equal(one, before) for one, before in zip(made.student.parameters(), weights, strict=True))


def test_weights_that_are_no_numbers_are_found():
    made = learner()
    made.refuse_weights()
    made.step(batch(), 1e39)
    with pytest.raises(NotFinite, match=r"\S+ is not finite after it, though the losses were"):
        made.refuse_weights()


def test_the_pull_of_each_term_is_told_and_changes_nothing():
    made, other = learner(), learner()
    norms = made.gradient_norms(batch())
    assert norms.keys() == {"affinity", "feature_regression"} and all(norm > 0 for norm in norms.values())
    made.step(batch(), 1e-3)
    other.step(batch(), 1e-3)
    assert torch.equal(made.student.projection.weight, other.student.projection.weight)


def test_the_pull_of_a_term_whose_weight_moves_is_that_of_its_step():
    """Also of the first step after a resume, when nothing has moved it yet."""
    ramp = {"weight": {"to": 3.0, "stop": 10}}
    moving, plain = (
        learner(losses=[Term(kind="feature_regression", ramp=ramp)]),
        learner(losses=[Term(kind="feature_regression")]),
    )
    told, whole = (made.gradient_norms(batch(5))["feature_regression"] for made in (moving, plain))
    assert told == pytest.approx(2 * whole, rel=1e-5)


def test_dropout_belongs_to_the_step():
    """So a resumed run, or a student of a sweep, drops what it would have dropped alone."""
    one, other = learner(drop=1), learner(drop=1)
    torch.rand(100)
    assert torch.equal(one.step(batch(7), 1e-3)[0], other.step(batch(7), 1e-3)[0])
    assert not torch.equal(one.see(batch()).image, one.see(batch()).image)


def test_the_pull_of_a_term_belongs_to_the_step():
    """A resumed run, or a student of a sweep, tells of the dropout of its step, not of what was drawn before."""
    one, other = learner(drop=1), learner(drop=1)
    told = one.gradient_norms(batch(7))
    torch.rand(100)
    assert other.gradient_norms(batch(7)) == told != other.gradient_norms(batch(8))


@pytest.mark.slow
def test_what_the_losses_own_is_sent_before_the_last_part(monkeypatch):
    """Heads have their gradients after the first pass: they need not wait for the student's."""
    started, start = [], Averaged.start

    def noted(self, there=()):
        started.append({*map(id, there := [*there])})
        return start(self, there=there)

    monkeypatch.setattr(Averaged, "start", noted)
    wider = TimmImage(model="vit_tiny_patch16_224", image_size=32, embed_dim=24, options=SMALL)  # than the teacher
    made = learner(wider, [Term(kind="feature_regression")], accumulate=2)
    made.step(batch(), 1e-3)
    owned = {*map(id, made.objective.parameters())}
    assert owned and started == [owned]


def test_compiled_it_learns_the_same():
    plain, other = learner(), learner(compile=True)
    for step in range(2):
        one, two = plain.step(batch(step), 1e-3)[0], other.step(batch(step), 1e-3)[0]
        assert torch.allclose(one, two, rtol=1e-3)


def test_the_pull_of_a_term_is_not_lost_in_half_precision():
    """Gradients below float16's least number come through by the scaler's factor, which is taken out again."""
    small = [Term(kind="feature_regression", weight=1e-6)]
    told = learner(losses=small).gradient_norms(batch())
    with pretend_gpu():
        torch.manual_seed(0)
        student = TimmImage(model="vit_tiny_patch16_224", image_size=32, embed_dim=16, options=SMALL)
        objective = Objective(small, Widths(student.widths, {"image": 16}))
        settings = Optim(epochs=1, precision="fp16")
        made = Learner(student, objective, settings, seed=0, device=torch.device("cuda"), ranks=Ranks())
        half = made.gradient_norms(batch().to(made.device))
    assert half["feature_regression"] == pytest.approx(told["feature_regression"], rel=0.05)


class Running(nn.Module):
    """A loss of one's own that keeps what it has seen; `way`: how it writes it down."""

    needs = ("student.image",)

    def __init__(self, widths, *, name: str | None = None, weight: float = 1.0, way: str = "in place"):
        super().__init__()
        self.name, self.weight, self.way = name, weight, way
        self.register_buffer("centre", torch.zeros(widths.student["image"]))

    def forward(self, batch, student):
        image = student.image.float()
        moved = 0.5 * self.centre + 0.5 * image.detach().mean(0)
        if self.way == "in place":
            self.centre.copy_(moved)
        else:
            self.centre = moved
        return ((image - self.centre) * self.centre).square().mean()


class Counting(nn.Module):
    """A student of one's own that counts how often it looked."""

    image_size, widths = 32, {"image": 16}

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.project = nn.Linear(3, 16)
        self.register_buffer("looks", torch.zeros(()))

    def forward(self, batch):
        self.looks += 1
        return Features(image=self.project(batch.pixels.float().mean((2, 3)) / 255))


def own_norm():
    """A batch norm of one's own: PyTorch writes what it keeps, and does not mark that it did."""

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))
            self.register_buffer("var", torch.ones(3))

        def forward(self, x):
            return nn.functional.batch_norm(x, self.mean, self.var, training=True)

    return Norm()


@pytest.mark.parametrize(
    "make",
    [own_norm, lambda: nn.InstanceNorm1d(3, track_running_stats=True), lambda: nn.Linear(3, 3)],
    ids=["own", "of instances", "none"],
)
def test_what_norms_of_any_kind_keep_stays(make):
    norm = make()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with no_statistics(norm):
        norm(torch.randn(4, 3, 3, requires_grad=True)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_buffers_that_nobody_can_write_and_those_that_are_made_later_are_as_they_were():
    """A number that was expanded; one of an inference; one that stands under two names, or under none as yet."""
    module = nn.Module()
    with torch.inference_mode():
        module.register_buffer("still", torch.zeros(2))
    module.register_buffer("wide", torch.zeros(1).expand(3))
    module.register_buffer("one", torch.zeros(2))
    module.register_buffer("other", module.one)
    module.register_buffer("later", None)
    one = module.one
    with no_statistics(module):
        module.one += 1
        module.other = module.other + 1
        module.later = torch.ones(1)
    assert module.one is one and module.other is one and one.sum() == 0 and module.later is None


@pytest.mark.parametrize("way", ["in place", "anew"])
def test_norms_that_are_logged_leave_what_a_loss_of_ones_own_keeps(way):
    """Else a run would be another one for being looked at."""
    loss = Term(kind="tests.training.test_learner:Running", way=way)
    looked, plain = (learner(Counting(), [loss]) for _ in range(2))
    for step in range(3):
        assert looked.gradient_norms(batch(step))["Running"] > 0
        for one in (looked, plain):
            one.step(batch(step), 1e-3)
    ours, theirs = looked.model.state_dict(), plain.model.state_dict()
    assert {name for name in ours if not torch.equal(ours[name], theirs[name])} == set()
    assert plain.student.looks == 3 and plain.objective.terms["Running"].centre.abs().sum() > 0


def test_what_a_student_keeps_is_kept_once_a_part():
    made = learner(Counting(), [Term(kind="feature_regression")], accumulate=3)
    made.step(batch(), 1e-3)
    assert made.student.looks == 3
