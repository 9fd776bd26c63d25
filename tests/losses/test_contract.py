"""What every loss promises, for every file of the folder and every choice that its knobs offer."""

import dataclasses
import inspect
import typing

import pytest
import torch

from distillkit.recipe import Term
from distillkit.recipe.registry import kinds, resolve
from distillkit.training.objective import Objective
from distillkit.types import Batch, Features, Widths

FIELDS = (
    "image",
    "text",
    "caption",
    "cls",
    "patches",
    "masked",
    "masked_image",
    "logits",
    "label",
    "scale",
    "sparsity",
)
SCALARS = ("scale", "sparsity")
EXCLUSIVE = {"top_k", "agreeing_only", "masked"}  # want other knobs beside them, as here
BESIDE = [
    ("affinity", {"directions": "rows", "top_k": 2}),
    ("affinity", {"directions": "rows", "agreeing_only": True}),
    ("label_kd", {"top_k": 2}),
    ("feature_regression", {"field": "image", "masked": True}),
]


def features(width, seed, dtype=torch.float32):
    """Five images with their texts; four patches each."""
    torch.manual_seed(seed)
    shapes = {name: (5, 4, width) if name in ("patches", "masked") else (5, width) for name in FIELDS}
    values = {name: torch.randn(shape).to(dtype) for name, shape in shapes.items() if name not in SCALARS}
    values["label"] = torch.arange(5) % 3
    return Features(**values, scale=torch.tensor(7.0), sparsity=torch.tensor(0.05))


def toy(kind, student_width=6, teacher_width=8):
    """Widths, batch and student features; class logits must agree in number."""
    student_width = teacher_width if kind == "label_kd" else student_width
    widths = Widths(
        dict.fromkeys(FIELDS, student_width) | dict.fromkeys(SCALARS, 1),
        dict.fromkeys(FIELDS, teacher_width) | dict.fromkeys(SCALARS, 1),
    )
    mask = torch.tensor([[True, False, True, False]] * 2 + [[False] * 4] * 3)
    if shares_the_space(kind):
        teacher_width = student_width
        widths = Widths(widths.student, widths.student)
    batch = Batch(match=torch.arange(5), mask=mask, teacher=features(teacher_width, 2), step=500)
    return widths, batch, features(student_width, 1)


def shares_the_space(kind):
    """Losses that score the student's embeddings against the teacher's want one width."""
    return kind in ("affinity", "contrastive", "sigmoid", "caption_contrast")


def choices():
    """Every kind with its defaults, and with every other choice of a Literal or a bool, one at a time."""
    for kind in kinds("losses"):
        loss = resolve("losses", kind)
        yield kind, {}
        for name, hint in typing.get_type_hints(loss.__init__).items():
            if name in EXCLUSIVE or name == "return":
                continue
            default = inspect.signature(loss).parameters[name].default
            options = [True, False] if hint is bool else literals(hint)
            yield from ((kind, {name: option}) for option in options if option != default)
    yield from BESIDE


def literals(hint):
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    return [option for part in typing.get_args(hint) for option in literals(part)]


every = pytest.mark.parametrize(("kind", "knobs"), list(choices()), ids=str)


def only(side, needs, name):
    """The features of a side without those that are not needed."""
    return dataclasses.replace(side, **{field: None for field in FIELDS if f"{name}.{field}" not in needs})


@every
def test_is_a_finite_scalar_that_trains_its_student_and_its_heads(kind, knobs):
    widths, batch, student = toy(kind)
    loss = resolve("losses", kind)(widths, **knobs)
    needed = [need.split(".") for need in loss.needs]
    sides = {"student": student, "teacher": batch.teacher}
    for side, field in needed:
        if field != "label":
            getattr(sides[side], field).requires_grad_()
    value = loss(batch, student)
    value.backward()

    assert value.shape == ()
    assert value.dtype == torch.float32
    assert value.isfinite()
    for name, parameter in loss.named_parameters():
        assert not parameter.requires_grad or parameter.grad.isfinite().all(), name
    for side, field in needed:
        gradient = getattr(sides[side], field).grad
        assert (gradient is not None and gradient.norm() > 0) == (side == "student"), f"{side}.{field}"


@every
def test_needs_are_enough_and_all_needed(kind, knobs):
    widths, batch, student = toy(kind)
    loss = resolve("losses", kind)(widths, **knobs)
    full = loss(batch, student)
    few = dataclasses.replace(batch, teacher=only(batch.teacher, loss.needs, "teacher"))
    assert torch.equal(loss(few, only(student, loss.needs, "student")), full)
    for need in loss.needs:
        rest = [other for other in loss.needs if other != need]
        fewer = dataclasses.replace(batch, teacher=only(batch.teacher, rest, "teacher"))
        with pytest.raises((AttributeError, TypeError)):
            loss(fewer, only(student, rest, "student"))


@every
def test_half_precision_features_give_a_float32_loss(kind, knobs):
    widths, batch, student = toy(kind)
    loss = resolve("losses", kind)(widths, **knobs)

    def halved(side):
        values = {field: getattr(side, field).bfloat16() for field in FIELDS if field not in SCALARS}
        return dataclasses.replace(side, **values)

    value = loss(dataclasses.replace(batch, teacher=halved(batch.teacher)), halved(student))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(batch, student).item(), rel=0.2, abs=0.02)


@every
def test_builds_from_a_recipe(kind, knobs):
    widths, batch, student = toy(kind)
    component = Term(kind=kind, weight=0.5, name="mine", **knobs)
    component.check("losses", "losses[0]")
    total, terms = Objective([component], widths)(batch, student)
    assert total.item() == pytest.approx(0.5 * terms["mine"].item(), rel=1e-6)
