"""Every loss, student and teacher on a pretend GPU: the same numbers as on the CPU, no wait in a step but one.

New kinds are found by their files. What the pretend GPU sees and what it cannot, tests/pretend says.
"""

import dataclasses
import inspect

import numpy as np
import pytest
import torch

from distillkit.evaluation.numbers import numbers
from distillkit.losses._products import Rounded
from distillkit.recipe import Optim, Term
from distillkit.recipe.registry import kinds, resolve
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from distillkit.types import Batch, Features, Widths
from tests.evals import test_contract as evals
from tests.evals.worlds import Teacher
from tests.losses.test_contract import choices, toy
from tests.pretend import Race, pretend_gpu
from tests.students import test_contract as students
from tests.teachers.test_contract import component, inputs, teacher  # noqa: F401  (fixtures: every kind of teacher)

CUDA = torch.device("cuda")


# The pretend GPU itself: what it must see.


def test_what_cuda_refuses_is_refused():
    with pretend_gpu():
        there, here = torch.ones(2, 3, device="cuda"), torch.ones(2, 3)
        for wrong in (
            lambda: there + here,
            lambda: there @ here.T,
            lambda: here[torch.zeros(1, dtype=torch.int64, device="cuda")],
            lambda: torch.cat([there, here]),
            lambda: torch.randn(2, device="cuda", generator=torch.Generator()),
        ):
            with pytest.raises(RuntimeError, match="device"):
                wrong()
        with pytest.raises(TypeError, match=r"Tensor\.cpu"):
            np.asarray(there)
        assert (there * torch.tensor(2.0)).device.type == "cuda"  # a number of the CPU may take part
    assert not torch.cuda.is_available()


def test_waits_and_pageable_copies_are_told_with_their_place():
    with pretend_gpu() as ledger:
        pinned = torch.ones(4).pin_memory()
        there = pinned.to("cuda", non_blocking=True)
        assert not ledger.waits and not ledger.pageable
        line = inspect.currentframe().f_lineno
        _ = torch.ones(4).to("cuda", non_blocking=True)
        _ = there.sum().item()
        _ = there[there > 0]
    here = "@ test_pretend_gpu.py"
    assert [*ledger.pageable] == [f"[4] {here}:{line + 1}"]
    assert sorted(ledger.waits) == [
        f"_local_scalar_dense {here}:{line + 2}",
        f"an index of booleans {here}:{line + 3}",
    ]


def test_pinned_memory_that_is_overwritten_under_a_copy_is_a_race():
    with pytest.raises(Race, match=r"test_pretend_gpu\.py"), pretend_gpu():
        pinned = torch.ones(4).pin_memory()
        _ = pinned.to("cuda", non_blocking=True)
        pinned.zero_()


def test_autocast_is_that_of_cuda():
    with pretend_gpu(), torch.autocast("cuda", torch.bfloat16):
        x = torch.randn(4, 8, device="cuda")
        assert (x @ x.T).dtype == torch.bfloat16
        assert (x @ x.T).softmax(1).dtype == torch.float32  # on a CPU it would stay in bfloat16
        with torch.autocast("cuda", enabled=False):
            assert (x @ x.T).dtype == torch.float32


# Losses.


def _moved(features: Features, device, dtype=None):
    """Leaves on a device, in a number format; numbers without rows stay as exact as they are."""

    def move(value):
        if value is None or not value.is_floating_point():
            return value if value is None else value.to(device)
        return value.detach().to(device, dtype if value.ndim else None).requires_grad_()

    return features.map(move)


def _judged(kind, knobs, ledger=None, dtype=None, scaler=None):
    """The loss, and its gradients at the student's features; `ledger`: that of a GPU, where it is computed there."""
    device = "cpu" if ledger is None else "cuda"
    torch.manual_seed(0)
    widths, batch, student = toy(kind)
    loss = resolve("losses", kind)(widths, **knobs).to(device)
    batch = dataclasses.replace(batch.to(device), teacher=_moved(batch.teacher, device, dtype))
    student = _moved(student, device, dtype)
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16, init_scale=256.0)
    if ledger is not None:
        _ = scaler.scale(torch.ones(1, device=device))  # which puts the scale there
        ledger.clear()
    value = loss(batch, student)
    scaler.scale(value).backward()
    if ledger is not None:
        assert not ledger.waits + ledger.pageable, f"losses.{kind} waits for the GPU"
    scale = scaler.get_scale()
    leaves = [getattr(student, need.partition(".")[2]) for need in loss.needs if need.startswith("student.")]
    return [value.detach().cpu(), *(leaf.grad.cpu().float() / scale for leaf in leaves)]


@pytest.mark.parametrize(("kind", "knobs"), list(choices()), ids=str)
def test_a_loss_on_a_gpu_is_that_of_the_cpu(kind, knobs):
    ways = [(None, False), (torch.bfloat16, False), (torch.float16, False), (None, True)]
    for dtype, rounded in ways:
        with Rounded(rounded):
            here = _judged(kind, knobs, dtype=dtype)
            with pretend_gpu() as ledger:
                there = _judged(kind, knobs, ledger, dtype)
        torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-6)


# Students, step by step.


class Everything(torch.nn.Module):
    """Draws all that a student says towards nothing."""

    def __init__(self, widths: Widths, *, name: str | None = None, weight: float = 1.0):
        super().__init__()
        self.name, self.weight = "everything", weight
        self.needs = tuple(f"student.{field}" for field in widths.student)

    def forward(self, batch: Batch, student: Features) -> torch.Tensor:
        said = [getattr(student, need.partition(".")[2]).float() for need in self.needs]
        return torch.stack([one.square().mean() for one in said]).sum()


WAYS = {
    "fp32": {"precision": "fp32", "eps": 0.01},
    "bf16, clipped, averaged": {"precision": "bf16", "eps": 0.01, "clip_grad_norm": 1.0, "ema": 0.9},
    "fp16 in parts": {"precision": "fp16", "accumulate": 2},
    "sgd, not fused": {"precision": "fp32", "kind": "sgd", "fused": False},
}


def _pinned(batch):
    return dataclasses.replace(
        batch,
        **{
            name: getattr(batch, name).pin_memory()
            for name in ("pixels", "tokens", "match", "mask")
            if getattr(batch, name) is not None
        },
    )


def _trained(kind, extras, device, optim, ledger=None):
    """The weights after three steps; from the second on, a step waits once, to see that its loss is finite."""
    student = students.build(kind, extras)
    of = students.batch(student)
    objective = Objective([Term(kind=f"{__name__}:Everything")], Widths(student.widths, {}))
    settings = Optim(epochs=1, lr=1e-3, **optim)
    learner = Learner(student, objective, settings, seed=0, device=torch.device(device), ranks=Ranks())
    for step in range(3):
        moved = dataclasses.replace(of if ledger is None else _pinned(of), step=step).to(learner.device)
        if ledger is not None:
            ledger.clear()
        learner.step(moved, 1e-3)
        if ledger is not None and step:
            assert sum(ledger.waits.values()) <= 1 and not ledger.pageable, dict(ledger.waits + ledger.pageable)
    return {name: value.detach().cpu() for name, value in learner.model.state_dict().items()}


@pytest.mark.parametrize("kind", kinds("students"))
@pytest.mark.parametrize("way", WAYS)
def test_a_student_on_a_gpu_is_that_of_the_cpu(kind, way):
    """In fp32 and bfloat16 to the last digits that these keep; in fp16 the CPU has no such kernels: it trains."""
    if way != "fp16 in parts":
        here = _trained(kind, students.EXTRAS, "cpu", WAYS[way])
    with pretend_gpu() as ledger:
        there = _trained(kind, students.EXTRAS, "cuda", WAYS[way], ledger)
    for name, value in there.items():
        assert value.isfinite().all(), name
        if way != "fp16 in parts":
            close = {"rtol": 1e-3, "atol": 1e-5} if "fp32" in way or "sgd" in way else {"rtol": 0.1, "atol": 5e-3}
            torch.testing.assert_close(value, here[name], **close, msg=lambda told, name=name: f"{name}: {told}")


# Teachers.


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_teacher_on_a_gpu_says_what_it_says_on_a_cpu(component, inputs, teacher, precision):  # noqa: F811
    here = teacher.forward(**inputs)
    with pretend_gpu() as ledger:
        there = component.model_copy(update={"device": "cuda", "precision": precision}).build("teachers")
        batch = {name: value.pin_memory() for name, value in inputs.items()}
        _ = there.forward(**batch)  # constants go to the device once
        ledger.clear()
        said = there.forward(**batch)
        # What it says comes back, all fields together, into pinned memory; nothing else is waited for.
        assert sum(ledger.waits.values()) <= 1 and not ledger.pageable, dict(ledger.waits)
        assert all(key.startswith("an event's synchronize") for key in ledger.waits), dict(ledger.waits)
        ledger.clear()
        stays = there.forward(**batch, stay=True)
        assert not ledger.waits and all(getattr(stays, name).is_cuda for name in there.fields), dict(ledger.waits)
    for name in there.fields:
        close = {"rtol": 1e-4, "atol": 1e-5} if precision == "fp32" else {"rtol": 0.1, "atol": 0.1}
        torch.testing.assert_close(getattr(said, name), getattr(here, name), **close)


# Evaluations.


class _OnTheGpu(Teacher):
    device = CUDA


@pytest.mark.parametrize("kind", kinds("evals"))
def test_an_evaluation_beside_a_gpu_is_that_of_the_cpu(kind, tmp_path):
    """What is learned and looked for may be there; numbers are the same."""
    asked = evals.component_of(kind, tmp_path)
    here = numbers(asked.build("evals").run(Teacher(), evals.STORES.__getitem__))
    with pretend_gpu():
        there = numbers(asked.build("evals").run(_OnTheGpu(), evals.STORES.__getitem__))
    assert there == pytest.approx(here, abs=1e-5)
