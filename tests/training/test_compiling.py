"""A step that is compiled as a whole is the step, and goes on from a checkpoint as it would have gone on."""

from dataclasses import replace

import pytest
import torch

from distillkit.errors import RecipeError
from distillkit.recipe import Optim, Term
from distillkit.students.timm_image import TimmImage
from distillkit.training import checkpoint
from distillkit.training import learner as compiling_in
from distillkit.training.compiling import whole_step
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from distillkit.types import Widths
from tests.training.test_learner import CPU, SMALL, batch

TERMS = [
    Term(kind="affinity", between="image, teacher image"),
    Term(kind="feature_regression"),
    Term(kind="contrastive", against="teacher image"),
]


@pytest.fixture(autouse=True)
def first_half(monkeypatch):
    """The first half of torch.compile, which is ours to get right; its second half makes C++ of it, in a minute."""
    torch.compiler.reset()
    calls = []

    def compiled(function, **knobs):
        calls.append(knobs)
        return made(function, backend="aot_eager", fullgraph=True)

    made = torch.compile
    monkeypatch.setattr(torch, "compile", compiled)
    return calls


def learner(**optim):
    torch.manual_seed(0)
    student = TimmImage(model="vit_tiny_patch16_224", image_size=32, embed_dim=16, options=SMALL)
    settings = Optim(epochs=1, **({"lr": 1e-3, "precision": "fp32", "clip_grad_norm": 0.5, "eps": 1e-3} | optim))
    rounded = settings.loss_products == "bf16"
    objective = Objective(TERMS, Widths(student.widths, {"image": 16, "scale": 1}), rounded=rounded)
    return Learner(student, objective, settings, seed=0, device=CPU, ranks=Ranks())


@pytest.mark.long
@pytest.mark.parametrize("products", ["fp32", "bf16"])
def test_a_compiled_step_is_the_step_without_a_break(first_half, products):
    """`fullgraph`: nothing of forward, losses and clipping falls back to Python between programs."""
    one, other = learner(loss_products=products), learner(loss_products=products, compile="step")
    for step in range(3):
        told, also = (made.step(batch(step), 1e-3) for made in (one, other))
        torch.testing.assert_close(also, told, rtol=1e-4, atol=1e-5)
    assert len(first_half) == 2
    for (name, here), there in zip(one.model.named_parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-5, msg=lambda told, name=name: f"{name}: {told}")


def test_a_compiled_run_goes_on_to_the_same_bits(tmp_path):
    whole, killed = learner(compile="step"), learner(compile="step")
    for step in range(4):
        whole.step(batch(step), 1e-3)
        if step < 2:
            killed.step(batch(step), 1e-3)
    checkpoint.save(tmp_path, checkpoint.State.of(2, killed.model, killed.optimizer, killed.scaler), keep=1)
    torch.compiler.reset()
    again = learner(compile="step")
    assert checkpoint.restore(tmp_path, again.model, again.optimizer, again.scaler) == 2
    for step in (2, 3):
        again.step(batch(step), 1e-3)
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_in_parts_the_student_alone_is_compiled():
    made = learner(compile="step", accumulate=2)
    assert made._judged == made._judge and made.student._compiled_call_impl is not None


def test_a_knob_that_moves_is_refused():
    ramped = Term(kind="feature_regression", ramp={"weight": {"to": 0.0, "stop": 10}})
    with pytest.raises(RecipeError, match=r'"step": losses\.feature_regression\.weight moves .*optim\.compile = "stud'):
        student = TimmImage(model="vit_tiny_patch16_224", image_size=32, embed_dim=16, options=SMALL)
        objective = Objective([ramped], Widths(student.widths, {"image": 16}))
        Learner(student, objective, Optim(epochs=1, compile="step"), seed=0, device=CPU, ranks=Ranks())


def test_on_a_gpu_each_program_is_a_cuda_graph_and_each_step_is_marked(monkeypatch):
    """Without the mark a graph's memory would be reused while the step before still holds it."""
    asked, marked = [], []
    monkeypatch.setattr(torch, "compile", lambda function, **knobs: asked.append(knobs) or function)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marked.append(1))
    objective = learner().objective
    for device in (torch.device("cuda"), CPU):
        run = whole_step(lambda number: number + 1, objective, device, begins=True)
        assert [run(1), run(2)] == [2, 3]
    assert asked == [{"options": {"triton.cudagraphs": True}}, {}] and len(marked) == 2


def test_no_step_is_marked_while_its_gradients_are_still_to_be_clipped(monkeypatch):
    """At a mark CUDA graphs take back what they gave so far, and clipping would read memory that is not there."""
    held, cuda = [], torch.device("cuda")
    monkeypatch.setattr(torch, "compile", lambda function, **knobs: function)
    monkeypatch.setattr(compiling_in, "whole_step", lambda *given, **knobs: whole_step(*given[:2], cuda, **knobs))
    made = learner(compile="step")
    grads = [parameter for parameter in made.model.parameters() if parameter.requires_grad]
    mark = lambda: held.append(sum(one.grad is not None for one in grads))  # noqa: E731
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", mark)
    for step in range(3):
        made.step(batch(step), 1e-3)
    assert held == [0, 0, 0]


class OnceBack(torch.autograd.Function):
    """As what torch.compile makes: it refuses to be gone back through and kept."""

    @staticmethod
    def forward(ctx, value):
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient):
        assert not torch._C._autograd._get_current_graph_task_keep_graph(), "non-empty donated buffers"
        return gradient


def test_norms_of_gradients_are_told_of_a_compiled_student(monkeypatch):
    plain = learner().gradient_norms(batch(0))
    seen = []

    def compiled(function, **knobs):
        return lambda *given: seen.append(1) or replace(said := function(*given), image=OnceBack.apply(said.image))

    monkeypatch.setattr(torch, "compile", compiled)
    for knobs in ({"compile": "student"}, {"compile": "step", "accumulate": 2}):
        made = learner(**knobs)
        assert made.gradient_norms(batch(0)) == plain and not seen
        made.step(batch(0), 1e-3)
        assert seen, "a step is compiled, as before"
        seen.clear()
